/** The WebSocket: parses messages, comes back by itself when the server does. */

const RETRY_MS = 1000;

export class Link {
  constructor(url) {
    this.url = url;
    this.handlers = {};
    this.onOpen = () => {};
    this.onLost = () => {};
  }

  on(kind, handler) {
    this.handlers[kind] = handler;
  }

  open() {
    this.socket = new WebSocket(this.url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.onOpen();
    this.socket.onmessage = ({ data }) => this.#receive(data);
    this.socket.onclose = () => {
      this.onLost();
      setTimeout(() => this.open(), RETRY_MS);
    };
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #receive(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      this.handlers[message.kind]?.(message);
      return;
    }
    const start = 4 + new DataView(data).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, start - 4)));
    this.handlers[header.kind]?.(header, { data, start });
  }
}
