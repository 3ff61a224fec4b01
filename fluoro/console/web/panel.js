/** Sliders, switches and buttons: they send what the user does and show what the server says. */

import { digitsOf, exact } from "./numbers.js";

const POSE_KEYS = ["lao_deg", "cra_deg", "roll_deg", "table_x_mm", "table_y_mm", "table_z_mm"];
const QUIET_MS = 400; // after the user's last touch the server's echo does not move a control
const LOGARITHMIC_DIGITS = 3; // significant ones, of a logarithmic slider's values
const SENT_DIGITS = 6;

export class Panel {
  /** `send` takes an object of changed values, `clamped` a text about a value beyond its limits. */
  constructor(form, send, clamped) {
    this.form = form;
    this.send = send;
    this.sliders = {};
    this.pending = {};
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelectorAll("[data-slider]").forEach((row) => {
      this.sliders[row.dataset.slider] = new Slider(row, (value) => {
        this.#change({ [row.dataset.slider]: value });
      }, clamped);
    });
    form.querySelectorAll("[data-key]").forEach((box) => {
      box.addEventListener("change", () => this.#change({ [box.dataset.key]: box.checked }));
    });
    form.querySelectorAll("[name=polarity]").forEach((radio) => {
      radio.addEventListener("change", () => this.#change({ polarity: radio.value }));
    });
    form.querySelectorAll("[data-view]").forEach((button) => {
      const [lao_deg, cra_deg] = button.dataset.view.split(",").map(Number);
      button.addEventListener("click", () => this.#change({ lao_deg, cra_deg, roll_deg: 0 }));
    });
    form.querySelectorAll("[data-pulses]").forEach((button) => {
      const pulse_rate_hz = Number(button.dataset.pulses);
      button.addEventListener("click", () => this.#change({ pulse_rate_hz }));
    });
  }

  setUp({ limits, follows_stream, dose_has_effect, features }) {
    this.form.querySelectorAll("[data-feature]").forEach((part) => {
      part.hidden = !part.dataset.feature.split(" ").some((name) => features.includes(name));
    });
    Object.entries(this.sliders).forEach(([key, slider]) => {
      if (limits[key]) slider.setLimit(limits[key]);
      else slider.row.hidden = true;
    });
    this.form.querySelectorAll("[data-pulses]").forEach((button) => {
      button.hidden = Number(button.dataset.pulses) > (limits.pulse_rate_hz?.high ?? 0);
    });
    this.sliders.dose_ngy.enable(
      dose_has_effect, "No effect: image_chain.poisson is false, or brightness sets the dose",
    );
    document.getElementById("manual").hidden = !follows_stream;
  }

  /** Whether anything can be set. */
  enable(on) {
    // A disabled fieldset does not disable what stands in its legend.
    this.form.querySelectorAll("fieldset, legend input").forEach((part) => {
      part.disabled = !on;
    });
    if (on) this.form.removeAttribute("tabindex");
    else this.form.tabIndex = 0; // so that the keyboard scrolls it
  }

  /** Nothing that was typed or sent before counts any more: the next values are shown. */
  forget() {
    this.pending = {};
    Object.values(this.sliders).forEach((slider) => slider.forget());
  }

  /**
   * Show values by key; the pose only where the caller says that it is the C-arm's. Values that are
   * measured, not set, are shown with the digits of a step.
   */
  show(values, { withPose, measured = false }) {
    Object.entries(values).forEach(([key, value]) => {
      const slider = this.sliders[key];
      if (slider?.limit && (withPose || !POSE_KEYS.includes(key))) slider.show(value, measured);
      const box = this.form.querySelector(`[data-key=${key}]`);
      if (box) box.checked = value;
    });
    this.form.querySelectorAll("[name=polarity]").forEach((radio) => {
      if ("polarity" in values) radio.checked = radio.value === values.polarity;
    });
  }

  /** Move sliders by a number of their steps. */
  nudge(changes) {
    Object.entries(changes).forEach(([key, steps]) => this.sliders[key].nudge(steps));
  }

  /** Add to values by key, in their units. */
  turn(changes) {
    Object.entries(changes).forEach(([key, by]) => this.sliders[key].add(by));
  }

  /** Change switches and polarity to what they are not. */
  toggle(key) {
    const box = this.form.querySelector(`[data-key=${key}]`);
    if (box) return box.disabled || box.click();
    return this.form.querySelector("[name=polarity]:not(:checked)")?.click();
  }

  #change(values) {
    if (!Object.keys(this.pending).length) requestAnimationFrame(() => this.#flush());
    Object.assign(this.pending, values);
  }

  #flush() {
    const values = this.pending;
    this.pending = {};
    if (Object.keys(values).length) this.send(values);
  }
}

/** A range and a number for the same value; a logarithmic one moves in decades. */
class Slider {
  constructor(row, changed, clamped) {
    const { slider, label, unit, spoken = unit, name = label, signs, hint } = row.dataset;
    Object.assign(this, { row, changed, clamped, label, unit, spoken, hint });
    this.signs = signs?.split(",");
    row.className = "slider";
    row.innerHTML = '<label></label><input type="range"><input type="number">'
      + '<span class="unit" aria-hidden="true"></span>';
    const [labelPart, range, number, unitPart] = row.children;
    Object.assign(this, { range, number });
    labelPart.textContent = label;
    labelPart.htmlFor = range.id = `${slider}-range`;
    range.setAttribute("aria-label", name);
    number.id = `${slider}-number`;
    number.step = "any"; // a value between two steps is valid
    number.setAttribute("aria-label", spoken ? `${name}, ${spoken}` : name);
    unitPart.textContent = unit;
    this.enable(true);
    this.forget();
    this.#listen();
  }

  setLimit(limit) {
    this.limit = limit;
    const scale = limit.logarithmic ? Math.log10 : (value) => value;
    this.range.min = scale(limit.low);
    this.range.max = scale(limit.high);
    this.range.step = limit.step;
    this.number.min = limit.low;
    this.number.max = limit.high;
    this.digits = limit.logarithmic ? 1 : digitsOf(limit.step);
  }

  enable(on, reason) {
    this.range.disabled = this.number.disabled = !on;
    this.row.classList.toggle("off", !on);
    this.row.title = on ? this.hint : reason;
  }

  /** What the user does now is over: the server's next value is shown. */
  forget() {
    this.touched = -Infinity;
    this.editing = false;
  }

  /** The server's value, unless the user has a hand on it. */
  show(value, measured) {
    if (performance.now() - this.touched > QUIET_MS) this.#display(value, measured);
  }

  nudge(steps) {
    if (steps) this.add(steps * this.limit.step);
  }

  /** Move by a number in the value's unit; ends at the limits. */
  add(by) {
    if (this.value !== undefined && !this.range.disabled) this.#set(this.value + by);
  }

  #listen() {
    this.range.addEventListener("input", () => this.#set(this.#fromRange()));
    // A field with the focus is about to be typed in: a new text would drop what is selected there.
    for (const begun of ["focus", "pointerdown", "input"]) {
      this.number.addEventListener(begun, () => { this.editing = true; });
    }
    this.number.addEventListener("change", () => this.#typed());
    this.number.addEventListener("blur", () => this.#left());
    this.number.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (event.key === "Escape") this.#left();
      if (!steps) return;
      event.preventDefault();
      if (this.limit.logarithmic) this.#set(this.value * 10 ** (steps * this.limit.step));
      else this.add(steps * this.limit.step);
    });
  }

  #display(value, measured = false) {
    this.value = value;
    this.text = measured ? value.toFixed(this.digits) : exact(value, this.digits);
    this.range.value = this.limit.logarithmic ? Math.log10(value) : value;
    const spoken = this.#spoken();
    if (this.range.ariaValueText !== spoken) this.range.ariaValueText = spoken;
    if (!this.editing) this.number.value = this.text;
  }

  /** The value in words: 5 nGy; 30 degrees RAO. */
  #spoken() {
    if (!this.signs) return `${this.text} ${this.spoken}`.trim();
    const sign = Math.sign(this.value);
    const side = sign ? ` ${this.signs[sign > 0 ? 0 : 1]}` : "";
    return `${this.text.replace("-", "")} ${this.spoken}${side}`;
  }

  #fromRange() {
    const position = this.range.valueAsNumber;
    if (!this.limit.logarithmic) return position;
    return Number((10 ** position).toPrecision(LOGARITHMIC_DIGITS));
  }

  /** What was typed but not entered is dropped. */
  #left() {
    this.editing = false;
    if (this.value !== undefined) this.#display(this.value);
  }

  #typed() {
    this.editing = false;
    const typed = this.number.valueAsNumber;
    if (!Number.isFinite(typed)) return this.#left();
    this.#set(typed);
    if (this.value !== Number(typed.toPrecision(SENT_DIGITS))) this.#sayClamped(typed);
    return undefined;
  }

  #sayClamped(typed) {
    const { low, high } = this.limit;
    const unit = this.unit && ` ${this.unit}`;
    const reach = `${exact(low, 0)} to ${exact(high, 0)}${unit}`;
    this.clamped(`${this.label} must be ${reach}: ${typed} was set to ${this.text}`);
  }

  #set(value) {
    this.touched = performance.now();
    const rounded = Number(value.toPrecision(SENT_DIGITS));
    this.#display(Math.min(this.limit.high, Math.max(this.limit.low, rounded)));
    this.changed(this.value);
  }
}
