/** What is in the image, drawn over it: structures in their colours, boxes, names, landmarks. */

const ALPHA = 0.35;
const CROSS_PX = 5;

export class Truth {
  constructor(canvas, row, box) {
    this.canvas = canvas;
    this.row = row;
    this.box = box;
    this.context = canvas.getContext("2d");
    box.addEventListener("change", () => this.show(this.last));
  }

  /** Draw the truth of one frame; null: there is none. */
  async show(truth) {
    this.last = truth;
    this.row.hidden = !truth;
    this.canvas.hidden = !truth || !this.box.checked;
    if (this.canvas.hidden) return;
    const labels = truth.labels ? await this.#decoded(truth.labels) : null;
    [this.canvas.width, this.canvas.height] = truth.size;
    if (labels) {
      this.context.globalAlpha = ALPHA;
      this.context.drawImage(labels, 0, 0);
      labels.close();
    }
    this.context.globalAlpha = 1;
    this.context.font = `${Math.max(9, Math.round(truth.size[1] / 48))}px sans-serif`;
    this.context.textBaseline = "bottom";
    truth.structures.filter(({ seen }) => seen).forEach((each) => this.#structure(each));
    truth.landmarks.forEach((each) => this.#landmark(each));
  }

  async #decoded(base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    return createImageBitmap(new Blob([bytes], { type: "image/png" }));
  }

  #structure({ name, colour, box }) {
    if (!box) return;
    const [left, top, right, bottom] = box;
    this.context.strokeStyle = this.context.fillStyle = `rgb(${colour.join(",")})`;
    this.context.strokeRect(left, top, right - left, bottom - top);
    this.context.fillText(name, left + 2, bottom - 1);
  }

  #landmark({ name, at: [u, v] }) {
    this.context.strokeStyle = this.context.fillStyle = "#ff0";
    this.context.beginPath();
    this.context.moveTo(u - CROSS_PX, v);
    this.context.lineTo(u + CROSS_PX, v);
    this.context.moveTo(u, v - CROSS_PX);
    this.context.lineTo(u, v + CROSS_PX);
    this.context.stroke();
    this.context.fillText(name, u + CROSS_PX, v);
  }
}
