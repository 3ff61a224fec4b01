/** What a screen reader says by itself: one live region, whose text changes every 2 s at most. */

const APART_MS = 2000;

export class Speaker {
  constructor(region) {
    this.region = region;
    this.waiting = {};
    this.last = {};
    this.spokenAt = -Infinity;
    this.timer = 0;
  }

  /** Speak of a subject: the newest text waits for its time; the same text is not repeated. */
  say(subject, text) {
    if (this.last[subject] === text) return;
    this.last[subject] = text;
    this.waiting[subject] = text;
    if (!this.timer) this.timer = setTimeout(() => this.#speak(), this.#waitMs());
  }

  #waitMs() {
    return Math.max(0, this.spokenAt + APART_MS - performance.now());
  }

  #speak() {
    this.timer = 0;
    const text = Object.values(this.waiting).filter(Boolean).join(". ");
    this.waiting = {};
    if (!text) return;
    this.spokenAt = performance.now();
    this.region.textContent = text;
  }
}
