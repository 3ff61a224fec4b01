/** Who has the keyboard: a click does not keep the focus, so that the space bar stays the pedal. */

const TEXT = "input[type=number], input[type=text], textarea";

export class Focus {
  constructor() {
    this.byPointer = false;
    this.byKeyboard = null; // the control that the keyboard was moved to
    addEventListener("pointerdown", () => { this.byPointer = true; }, true);
    addEventListener("keydown", () => { this.byPointer = false; }, true);
    addEventListener("focusin", ({ target }) => {
      this.byKeyboard = this.byPointer ? null : target;
    });
    ["pointerup", "pointercancel", "click"].forEach((kind) => {
      addEventListener(kind, () => setTimeout(() => this.#giveBack()));
    });
  }

  /** Whether a control needs the space bar for itself; `pedal` is the one that does not. */
  keeps(target, pedal) {
    if (!(target instanceof Element) || target === pedal) return false;
    return target.matches(TEXT) || (target === this.byKeyboard && target !== document.body);
  }

  #giveBack() {
    const active = document.activeElement;
    if (this.byPointer && active && !active.matches(TEXT)) active.blur();
  }
}
