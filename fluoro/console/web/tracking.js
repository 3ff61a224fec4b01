/** The tracked pose: frame and rendered image over each other, figures, and the error's curve. */

const MODES = {
  blend: (frame, rendered) => [frame, rendered, rendered],
  checker: (frame, rendered, x, y, tile) => {
    const grey = (Math.floor(x / tile) + Math.floor(y / tile)) % 2 ? rendered : frame;
    return [grey, grey, grey];
  },
  frame: (frame) => [frame, frame, frame],
  rendered: (_frame, rendered) => [rendered, rendered, rendered],
};
const TILES = 8; // along each edge of the chessboard
const LEAST_MM = 0.001;
const GOOD_MM = 1;
const TEXT = 0.85; // of the page's text size

export class Tracking {
  constructor(section, overlay, curve) {
    this.section = section;
    this.overlay = overlay;
    this.curve = curve;
    this.mode = "blend";
    section.querySelectorAll("[data-overlay]").forEach((button) => {
      button.addEventListener("click", () => this.#choose(button.dataset.overlay));
    });
    new ResizeObserver(() => this.#drawCurve()).observe(curve);
  }

  /** One estimate; the payload holds frame and rendered image side by side. */
  async show(message, { data, start }) {
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, start)]));
    const width = bitmap.width / 2;
    const scratch = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = scratch.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const both = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
    this.images = { width, height: bitmap.height, both };
    bitmap.close();
    this.message = message;
    this.section.hidden = false;
    document.body.classList.add("tracked");
    this.#write();
    this.#drawOverlay();
    this.#drawCurve();
  }

  #choose(mode) {
    this.mode = mode;
    this.section.querySelectorAll("[data-overlay]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.overlay === mode));
    });
    this.#drawOverlay();
  }

  #write() {
    const { angles, pose, number, mtre_mm, ncc, seconds, converged, state } = this.message;
    const { reason, next_step: next, confidence } = this.message;
    const why = `${reason}; confidence ${confidence.toFixed(2)}`;
    const shift = ["table_x_mm", "table_y_mm", "table_z_mm"].map((key) => tenths(pose[key]));
    const figures = {
      "track-pose": `${angles}  ROLL ${tenths(pose.roll_deg)}`,
      "track-table": `${shift.join(", ")} mm`,
      "track-error": `${mtre_mm.toFixed(2)} mm`,
      "track-ncc": ncc.toFixed(3),
      "track-time": `${seconds.toFixed(2)} s`,
      "track-state": `${state}, frame ${number}`,
    };
    Object.entries(figures).forEach(([id, text]) => {
      document.getElementById(id).textContent = text;
    });
    this.section.classList.toggle("lost", !converged);
    document.getElementById("track-state").title = next ? `${why}; try: ${next}` : why;
  }

  #drawOverlay() {
    if (!this.images) return;
    const { width, height, both } = this.images;
    this.overlay.width = width;
    this.overlay.height = height;
    const context = this.overlay.getContext("2d");
    const image = context.createImageData(width, height);
    const tile = Math.max(1, Math.ceil(width / TILES));
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = 4 * (y * 2 * width + x);
        const rgb = MODES[this.mode](both[at], both[at + 4 * width], x, y, tile);
        image.data.set([...rgb, 255], 4 * (y * width + x));
      }
    }
    context.putImageData(image, 0, 0);
  }

  /** mTRE over the frames, logarithmic, from 0.001 or 0.01 mm up. */
  #drawCurve() {
    const points = this.message?.curve ?? [];
    const { clientWidth, clientHeight } = this.curve;
    if (!points.length || !clientWidth) return;
    const scale = devicePixelRatio;
    this.curve.width = clientWidth * scale;
    this.curve.height = clientHeight * scale;
    const context = this.curve.getContext("2d");
    context.scale(scale, scale);
    const axes = new Axes(points, clientWidth, clientHeight);
    axes.draw(context);
    context.strokeStyle = "#5fb3d9";
    context.lineWidth = 1.5;
    context.beginPath();
    points.forEach(([number, mm]) => context.lineTo(axes.x(number), axes.y(mm)));
    context.stroke();
    points.forEach(([number, mm, converged]) => {
      context.fillStyle = converged ? "#5fb3d9" : "#e2604c";
      context.fillRect(axes.x(number) - 1.5, axes.y(mm) - 1.5, 3, 3);
    });
  }
}

/** One digit after the point, and no minus before a zero. */
function tenths(value) {
  return (Math.round(value * 10) / 10 + 0).toFixed(1);
}

class Axes {
  constructor(points, width, height) {
    const numbers = points.map(([number]) => number);
    const decades = points.map(([, mm]) => Math.log10(Math.max(mm, LEAST_MM)));
    this.first = numbers[0];
    this.last = Math.max(numbers.at(-1), this.first + 1);
    this.low = Math.floor(Math.min(...decades, -1));
    this.high = Math.max(Math.ceil(Math.max(...decades)), 1);
    const text = TEXT * parseFloat(getComputedStyle(document.documentElement).fontSize);
    const bottom = height - 1.8 * text;
    Object.assign(this, { width, height, text, left: 4.2 * text, top: 8, bottom });
  }

  x(number) {
    return this.left + (number - this.first) / (this.last - this.first) * (this.width - 12 - this.left);
  }

  y(mm) {
    const share = (Math.log10(Math.max(mm, LEAST_MM)) - this.low) / (this.high - this.low);
    return this.bottom - share * (this.bottom - this.top);
  }

  draw(context) {
    context.font = `${this.text}px system-ui, sans-serif`;
    context.fillStyle = "#88939b";
    context.lineWidth = 1;
    for (let decade = this.low; decade <= this.high; decade++) {
      const mm = 10 ** decade;
      context.strokeStyle = mm === GOOD_MM ? "#f2b84b88" : "#2a3136";
      context.beginPath();
      context.moveTo(this.left, this.y(mm));
      context.lineTo(this.width - 12, this.y(mm));
      context.stroke();
      context.textAlign = "right";
      context.fillText(`${Number(mm.toPrecision(1))}`, this.left - 6, this.y(mm) + 4);
    }
    context.textAlign = "left";
    context.fillText(`frame ${this.first}`, this.left, this.height - 5);
    context.textAlign = "right";
    context.fillText(`${this.last}`, this.width - 12, this.height - 5);
  }
}
