/** Sliders, switches and buttons: they send what the user does and show what the server says. */

const POSE_KEYS = ["lao_deg", "cra_deg", "roll_deg", "table_x_mm", "table_y_mm", "table_z_mm"];
const QUIET_MS = 400; // after the user's last touch the server's echo does not move a control

export class Panel {
  /** `send` takes an object of changed values. */
  constructor(form, send) {
    this.form = form;
    this.send = send;
    this.sliders = {};
    this.pending = {};
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelectorAll("[data-slider]").forEach((row) => {
      this.sliders[row.dataset.slider] = new Slider(row, (value) => {
        this.#change({ [row.dataset.slider]: value });
      });
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
  }

  /** Show values by key; the pose only where the caller says that it is the C-arm's. */
  show(values, { withPose }) {
    Object.entries(values).forEach(([key, value]) => {
      const slider = this.sliders[key];
      if (slider?.limit && (withPose || !POSE_KEYS.includes(key))) slider.show(value);
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

  #change(values) {
    if (!Object.keys(this.pending).length) requestAnimationFrame(() => this.#flush());
    Object.assign(this.pending, values);
  }

  #flush() {
    const values = this.pending;
    this.pending = {};
    this.send(values);
  }
}

/** A range and a number for the same value; a logarithmic one moves in decades. */
class Slider {
  constructor(row, changed) {
    const { slider, label, unit, hint } = row.dataset;
    this.row = row;
    this.changed = changed;
    this.touched = -Infinity;
    row.className = "slider";
    row.title = hint;
    row.innerHTML = '<label></label><input type="range"><input type="number">'
      + '<span class="unit"></span>';
    [this.label, this.range, this.number, this.unit] = row.children;
    this.label.textContent = label;
    this.label.htmlFor = this.range.id = `${slider}-range`;
    this.number.id = `${slider}-number`;
    this.number.setAttribute("aria-label", label);
    this.unit.textContent = unit;
    this.range.addEventListener("input", () => this.#set(this.#fromRange()));
    this.number.addEventListener("change", () => this.#typed());
  }

  setLimit(limit) {
    this.limit = limit;
    const scale = limit.logarithmic ? Math.log10 : (value) => value;
    this.range.min = scale(limit.low);
    this.range.max = scale(limit.high);
    this.range.step = limit.step;
    this.number.min = limit.low;
    this.number.max = limit.high;
    this.number.step = limit.logarithmic ? "any" : limit.step;
    this.digits = limit.logarithmic ? 1 : Math.max(0, Math.ceil(-Math.log10(limit.step)));
  }

  enable(on, reason) {
    this.range.disabled = this.number.disabled = !on;
    this.row.classList.toggle("off", !on);
    if (!on) this.row.title = reason;
  }

  /** The server's value, unless the user has a hand on it. */
  show(value) {
    if (performance.now() - this.touched > QUIET_MS) this.#display(value);
  }

  nudge(steps) {
    if (steps) this.#set(this.value + steps * this.limit.step);
  }

  #display(value) {
    this.value = value;
    this.range.value = this.limit.logarithmic ? Math.log10(value) : value;
    if (document.activeElement !== this.number || performance.now() - this.touched < QUIET_MS) {
      this.number.value = value.toFixed(this.digits);
    }
  }

  #fromRange() {
    const position = this.range.valueAsNumber;
    return this.limit.logarithmic ? 10 ** position : position;
  }

  #typed() {
    if (Number.isFinite(this.number.valueAsNumber)) this.#set(this.number.valueAsNumber);
  }

  #set(value) {
    this.touched = performance.now();
    this.#display(Math.min(this.limit.high, Math.max(this.limit.low, value)));
    this.changed(this.value);
  }
}
