/** The X-ray image: as large as the pane allows, with letters, angles and the window on it. */

import { onDrag } from "./drag.js";
import { exact } from "./numbers.js";

const DRAG_STEPS_PER_PIXEL = 0.4;
const WINDOW_DIGITS = 2;
const WRITTEN = ["angles", "distance", "window", "number", "left", "right", "top", "bottom"];

export class ImagePane {
  constructor(pane, frame, canvas) {
    this.pane = pane;
    this.frame = frame;
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.times = [];
    this.windowing = false;
    this.onWindow = () => {};
    new ResizeObserver(() => this.#fit()).observe(pane);
    onDrag(frame, (right, down) => this.onWindow({
      window_width: right * DRAG_STEPS_PER_PIXEL,
      window_level: down * DRAG_STEPS_PER_PIXEL,
    }), () => this.windowing);
  }

  /** Whether a drag sets the window; else a swipe scrolls the page. */
  setWindowing(on) {
    this.windowing = on;
    this.frame.classList.toggle("windowing", on);
  }

  /** Draw one frame; resolves once it is on the canvas. */
  async showFrame(message, { data, start }) {
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, start)]));
    if (bitmap.width !== this.canvas.width || bitmap.height !== this.canvas.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
      this.#fit();
    }
    this.context.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.#write(message);
    const now = performance.now();
    this.times = [...this.times.filter((time) => now - time < 2000), now];
  }

  /** What the controls say on the image: the window, and that it is not live. */
  showControls({ window_level, window_width, beam_on, last_image_hold }) {
    const [level, width] = [window_level, window_width].map((each) => exact(each, WINDOW_DIGITS));
    write("window", `L ${level}  W ${width}`);
    const hold = document.getElementById("hold");
    hold.hidden = beam_on;
    hold.textContent = last_image_hold ? "BEAM OFF · LAST IMAGE HOLD" : "BEAM OFF";
  }

  /** What is written on the image, by place. */
  words() {
    const text = (id) => document.getElementById(id).textContent;
    return Object.fromEntries(WRITTEN.map((id) => [id, text(id)]));
  }

  /** Frames drawn in the last second; null where none was drawn in the second before it. */
  framesPerSecond() {
    const ages = this.times.map((time) => performance.now() - time);
    const earlier = ages.some((age) => age >= 1000 && age < 2000);
    return earlier ? ages.filter((age) => age < 1000).length : null;
  }

  #write({ angles, letters, number, pose, source_to_detector_mm }) {
    const [left, right, top, bottom] = letters;
    Object.entries({ left, right, top, bottom }).forEach(([id, letter]) => write(id, letter));
    write("angles", pose.roll_deg ? `${angles}  ROLL ${pose.roll_deg.toFixed(0)}` : angles);
    write("distance", `SID ${source_to_detector_mm.toFixed(0)} mm`);
    write("number", `frame ${number}`);
    const letterText = `left edge ${left}, right ${right}, top ${top}, bottom ${bottom}`;
    this.canvas.setAttribute("aria-label", `X-ray image, ${angles}; ${letterText}`);
  }

  #fit() {
    const { width, height } = this.canvas;
    const scale = Math.min(this.pane.clientWidth / width, this.pane.clientHeight / height);
    this.frame.style.width = `${width * scale}px`;
    this.frame.style.height = `${height * scale}px`;
  }
}

function write(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}
