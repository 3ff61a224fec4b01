/** The WebSocket: parses messages, sees when nothing comes, and comes back by itself. */

const RETRY_MS = 1000;
const SILENT_MS = 1500; // without a frame or a heartbeat for so long there is no signal
const GIVE_UP_MS = 5000; // then another connection is tried
const LOOK_MS = 250;
const BEAT_MS = 900;
const CONFIRMED = new Set(["frame", "carm", "tracking"]); // the server waits until they are shown

export class Link {
  /** States: `connecting`, `live`, `silent`, `lost`, and `locked` where the token is missing. */
  constructor(url) {
    this.url = url;
    this.handlers = {};
    this.state = "connecting";
    this.onState = () => {};
    this.lookedAt = this.beatAt = performance.now();
    setInterval(() => this.#look(), LOOK_MS);
  }

  get live() {
    return this.state === "live";
  }

  on(kind, handler) {
    this.handlers[kind] = handler;
  }

  open() {
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.parts = {};
    this.closed = false;
    this.heardAt = performance.now();
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.sendAnyway({});
    socket.onmessage = ({ data }) => socket === this.socket && this.#receive(data);
    socket.onclose = () => socket === this.socket && this.#lost();
  }

  /** Send while there is a signal; false: there is none, and nothing is kept for later. */
  send(message) {
    return this.live && this.sendAnyway(message);
  }

  /** Send also into a silence: only what does no harm when it comes late. */
  sendAnyway(message) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify({ ...message, at_ms: performance.now() }));
    return true;
  }

  #receive(data) {
    this.heardAt = performance.now();
    this.#become("live");
    if (typeof data === "string") return this.#hand(JSON.parse(data));
    const start = 4 + new DataView(data).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, start - 4)));
    if ((header.of ?? header.kind) === "body") this.send({ got: "body" }); // part by part
    if (header.kind !== "part") return this.#hand(header, { data, start });
    const parts = (this.parts[header.of] ??= []);
    parts.push(new Uint8Array(data, start));
    if (header.more) return undefined;
    delete this.parts[header.of];
    return this.#receive(joined(parts));
  }

  async #hand(message, payload) {
    try {
      await this.handlers[message.kind]?.(message, payload);
    } finally {
      if (CONFIRMED.has(message.kind)) this.send({ got: message.kind });
    }
  }

  /** A stamp, by which the server knows how quick the way is. */
  #beat(now) {
    this.beatAt = now;
    this.send({});
  }

  #look() {
    const now = performance.now();
    const slept = now - this.lookedAt > SILENT_MS / 2; // what came meanwhile is not yet handled
    this.lookedAt = now;
    if (slept || this.closed) return;
    if (now - this.beatAt > BEAT_MS) this.#beat(now);
    if (now - this.heardAt > SILENT_MS) this.#become("silent");
    if (now - this.heardAt > GIVE_UP_MS) {
      this.socket.close();
      this.open();
    }
  }

  async #lost() {
    this.closed = true;
    if (this.state !== "locked") this.#become("lost");
    setTimeout(() => this.open(), RETRY_MS);
    const answer = await fetch("index.html").catch(() => null);
    if (this.closed) this.#become(answer?.status === 403 ? "locked" : "lost");
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.onState(state);
  }
}

/** One buffer from several. */
function joined(parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  parts.forEach((part) => {
    all.set(part, at);
    at += part.length;
  });
  return all.buffer;
}
