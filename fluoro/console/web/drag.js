/** Drags of a mouse or a finger, whose events carry no movement in all browsers. */

/** Call `moved` with the way of each pointer that is down on `element` [CSS pixels]. */
export function onDrag(element, moved, wanted = () => true) {
  const last = new Map();
  element.addEventListener("pointerdown", (event) => {
    if (!wanted()) return;
    element.setPointerCapture(event.pointerId);
    last.set(event.pointerId, [event.clientX, event.clientY]);
  });
  element.addEventListener("pointermove", (event) => {
    const before = last.get(event.pointerId);
    if (!before) return;
    last.set(event.pointerId, [event.clientX, event.clientY]);
    moved(event.clientX - before[0], event.clientY - before[1]);
  });
  ["pointerup", "pointercancel", "lostpointercapture"].forEach((kind) => {
    element.addEventListener(kind, (event) => last.delete(event.pointerId));
  });
}
