/** Vectors of three numbers and column-major 4x4 matrices, as WebGL takes them. */

export const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const subtract = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const scale = (a, factor) => [a[0] * factor, a[1] * factor, a[2] * factor];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const unit = (a) => scale(a, 1 / (Math.hypot(...a) || 1));
export const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0],
];

/** A flat array of numbers as points of three. */
export function rows(numbers) {
  const points = [];
  for (let i = 0; i < numbers.length; i += 3) points.push(Array.from(numbers.subarray(i, i + 3)));
  return points;
}

/** The product a b. */
export function multiply(a, b) {
  const product = new Float32Array(16);
  for (let column = 0; column < 4; column += 1) {
    for (let row = 0; row < 4; row += 1) {
      for (let k = 0; k < 4; k += 1) {
        product[4 * column + row] += a[4 * k + row] * b[4 * column + k];
      }
    }
  }
  return product;
}

/** Clip space from eye space; `angle` is the smaller field of view [rad]. */
export function perspective(angle, aspect, near, far) {
  const focal = 1 / Math.tan(angle / 2);
  const [fx, fy] = aspect > 1 ? [focal / aspect, focal] : [focal, focal * aspect];
  const depth = 1 / (near - far);
  return [fx, 0, 0, 0, 0, fy, 0, 0, 0, 0, (far + near) * depth, -1, 0, 0, 2 * far * near * depth, 0];
}

/** Eye space (x right, y up, z towards the viewer) from room space. */
export function lookAt(eye, target, up) {
  const z = unit(subtract(eye, target));
  const x = unit(cross(up, z));
  const y = cross(z, x);
  return [
    x[0], y[0], z[0], 0, x[1], y[1], z[1], 0, x[2], y[2], z[2], 0,
    -dot(x, eye), -dot(y, eye), -dot(z, eye), 1,
  ];
}
