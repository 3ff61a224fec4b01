/** Numbers as text: what is set is shown as it is set. */

const SIGNIFICANT = 6;

/** At least `digits` after the point, and those that the value has beyond. */
export function exact(value, digits) {
  const short = value.toFixed(digits);
  const whole = Number(value.toPrecision(SIGNIFICANT)) + 0;
  return Number(short) === whole ? short : String(whole);
}

/** The number of digits after the point that a step has. */
export const digitsOf = (step) => Math.max(0, Math.ceil(-Math.log10(step)));
