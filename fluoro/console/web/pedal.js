/** The pedal: a dead-man's switch, held by a pointer's main button or by the space bar. */

const BEAT_MS = 200; // the server takes a second of silence for a release

export class Pedal {
  /** `send` takes `down`, `held` or `up`, and says whether it went out; `focus` is a Focus. */
  constructor(button, focus, send) {
    this.button = button;
    this.focus = focus;
    this.send = send;
    this.holders = new Set(); // "space", and pointers by number
    this.#listenToPointers();
    this.#listenToKeys();
    addEventListener("blur", () => this.release());
    addEventListener("pagehide", () => this.release());
    document.addEventListener("visibilitychange", () => document.hidden && this.release());
  }

  /** Release it, however it is held on this page. */
  release() {
    this.holders.clear();
    this.#ended();
  }

  #press(holder) {
    if (!this.holders.size) {
      if (!this.send("down")) return;
      this.beat = setInterval(() => this.send("held"), BEAT_MS);
      this.button.classList.add("down");
    }
    this.holders.add(holder);
  }

  #letGo(holder) {
    if (this.holders.delete(holder) && !this.holders.size) this.#ended();
  }

  #ended() {
    if (!this.beat) return;
    clearInterval(this.beat);
    this.beat = 0;
    this.button.classList.remove("down");
    this.send("up");
  }

  #listenToPointers() {
    const { button } = this;
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.#press(event.pointerId);
    });
    button.addEventListener("pointermove", (event) => { // another button may still be down
      if (!(event.buttons & 1)) this.#letGo(event.pointerId);
    });
    ["pointerup", "pointercancel", "lostpointercapture"].forEach((kind) => {
      button.addEventListener(kind, (event) => this.#letGo(event.pointerId));
    });
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  #listenToKeys() {
    addEventListener("keydown", (event) => {
      if (event.code !== "Space" || this.focus.keeps(event.target, this.button)) return;
      event.preventDefault();
      const plain = !(event.repeat || event.ctrlKey || event.altKey || event.metaKey);
      if (plain) this.#press("space");
    });
    addEventListener("keyup", (event) => {
      if (event.code !== "Space") return;
      if (this.holders.has("space")) event.preventDefault(); // no click of what has the focus
      this.#letGo("space");
    });
  }
}
