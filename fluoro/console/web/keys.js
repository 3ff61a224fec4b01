/** Keys of one character: each has one function; a dialog lists them and switches them off. */

const STEP_DEG = 1;

export class Keys {
  /** `actions` by the key; `turn` takes changes of angles [degrees]. */
  constructor(dialog, box, actions, turn) {
    this.dialog = dialog;
    this.box = box;
    this.actions = { ...actions, "?": () => this.toggleHelp() };
    this.turn = turn;
    addEventListener("keydown", (event) => this.#pressed(event));
    dialog.querySelector("button").addEventListener("click", () => dialog.close());
  }

  toggleHelp() {
    if (this.dialog.open) this.dialog.close();
    else this.dialog.showModal();
  }

  #pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !isFree(event.target)) return;
    const angle = ARROWS[event.key];
    const action = this.actions[event.key.toLowerCase()];
    if (!angle && !action) return;
    if (event.key !== "?" && (!this.box.checked || this.dialog.open)) return;
    event.preventDefault();
    if (angle) this.turn(angle);
    else if (!event.repeat) action();
  }
}

const ARROWS = {
  ArrowLeft: { lao_deg: -STEP_DEG },
  ArrowRight: { lao_deg: STEP_DEG },
  ArrowUp: { cra_deg: STEP_DEG },
  ArrowDown: { cra_deg: -STEP_DEG },
};

/** Whether a target does nothing with keys itself. */
function isFree(target) {
  return !target.closest?.("input:not([type=checkbox]), textarea, select");
}
