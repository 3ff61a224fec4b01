/** The image on show as a PNG file of this browser, with what is written on it. */

const MARGIN = 0.02; // of the image's height
const SIZE = 0.032;
const LEAST_PX = 9;
const COLOR = "#ffe9a8";

/** Draw image, annotations, letters and texts on a new canvas. */
export function drawn({ image, truth, words, time }) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", { alpha: false });
  context.drawImage(image, 0, 0);
  if (truth) context.drawImage(truth, 0, 0, image.width, image.height);
  const { width, height } = image;
  const margin = MARGIN * height;
  const [right, bottom] = [width - margin, height - margin];
  const write = writer(context, Math.max(LEAST_PX, SIZE * height));
  write(words.angles, margin, margin, "left", "top");
  write(words.distance, right, margin, "right", "top");
  write(words.window, margin, bottom, "left", "bottom");
  write(`${words.number}  ${time}`, right, bottom, "right", "bottom");
  write(words.left, margin, height / 2, "left", "middle");
  write(words.right, right, height / 2, "right", "middle");
  write(words.top, width / 2, margin, "center", "top");
  write(words.bottom, width / 2, bottom - SIZE * height * 1.3, "center", "bottom");
  return canvas;
}

/** Hand a canvas to the browser's downloads. */
export async function download(canvas, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await canvas.convertToBlob({ type: "image/png" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Local time, to the second: 2026-05-01 14:03:59. */
export function localTime(date = new Date()) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")}`;
}

/** A file's name of frame, pose and time: fluoro_000012_LAO_30_CRA_0_2026-05-01_140359.png. */
export function fileName({ number, angles }, time) {
  const digits = number.replace(/\D/g, "").padStart(6, "0");
  const words = `${digits}_${angles}_${time.replaceAll(":", "")}`;
  return `fluoro_${words.replace(/[^A-Za-z0-9.-]+/g, "_")}.png`;
}

function writer(context, size) {
  context.font = `600 ${size}px system-ui, "DejaVu Sans", sans-serif`;
  context.lineWidth = Math.max(2, size / 5);
  context.lineJoin = "round";
  context.strokeStyle = "#000";
  context.fillStyle = COLOR;
  return (text, x, y, align, baseline) => {
    context.textAlign = align;
    context.textBaseline = baseline;
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  };
}
