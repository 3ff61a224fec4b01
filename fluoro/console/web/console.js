/** The console's page: one WebSocket, one picture, the controls and the 3D view. */

import { Link } from "./link.js";
import { Panel } from "./panel.js";
import { Picture } from "./picture.js";
import { Room } from "./room.js";

const byId = (id) => document.getElementById(id);

const link = new Link(new URL("live", location.href.replace(/^http/, "ws")));
const picture = new Picture(byId("picture"), byId("frame"), byId("image"));
const panel = new Panel(byId("panel"), (values) => link.send({ set: values }));
const room = new Room(byId("scene"), byId("no-scene"), byId("image"));
let following = false;
let noticeTimer = 0;

link.on("hello", (message) => {
  panel.setUp(message);
  byId("save").hidden = !message.can_save;
});

link.on("controls", ({ values }) => {
  following = !values.manual_pose;
  panel.show(values, { withPose: values.manual_pose });
  picture.showControls(values);
  document.body.classList.toggle("beam-on", values.beam_on);
  document.body.classList.toggle("blank", !values.beam_on && !values.last_image_hold);
  byId("beam").textContent = values.beam_on ? "Beam on" : "Beam off";
  byId("beam").setAttribute("aria-pressed", String(values.beam_on));
  room.setBeam(values.beam_on);
});

link.on("frame", async (message, payload) => {
  try {
    await picture.showFrame(message, payload);
  } finally {
    link.send({ shown: message.number });
  }
  if (following) panel.show(message.pose, { withPose: true });
});

link.on("status", (status) => {
  const target = status.target_fps ? ` / ${status.target_fps.toFixed(0)}` : "";
  byId("rate").textContent = `${status.fps.toFixed(1)}${target} fps`;
  byId("rate").title = details(status);
  byId("device").textContent = status.device ?? "";
  byId("reason").textContent = status.reason || slowBrowser(status.fps);
});

link.on("body", (message, payload) => room.setBody(message, payload));
link.on("carm", (message, payload) => room.setCarm(message, payload));
link.on("notice", ({ text, error }) => notice(text, { error, forMs: 8000 }));
link.onOpen = () => notice("");
link.onLost = () => {
  byId("rate").textContent = "";
  byId("reason").textContent = "";
  document.body.classList.remove("beam-on");
  notice("No connection to the simulator; trying again ...", { error: true });
};

byId("save").addEventListener("click", () => link.send({ save: true }));
byId("beam").addEventListener("click", () => {
  link.send({ set: { beam_on: byId("beam").getAttribute("aria-pressed") !== "true" } });
});
picture.onWindow = (changes) => panel.nudge(changes);
link.open();

function notice(text, { error = false, forMs = 0 } = {}) {
  clearTimeout(noticeTimer);
  const box = byId("notice");
  box.textContent = text;
  box.hidden = !text;
  box.classList.toggle("error", error);
  if (forMs) noticeTimer = setTimeout(() => { box.hidden = true; }, forMs);
}

function slowBrowser(fps) {
  const shown = picture.framesPerSecond();
  return fps > 2 && shown < 0.8 * fps ? `this browser ${shown.toFixed(0)} fps` : "";
}

function details(status) {
  const stages = Object.entries(status.latency_ms ?? {}).map(([name, ms]) => `${name}: ${ms} ms`);
  const drops = Object.entries(status.dropped ?? {}).map(([sink, n]) => `${sink} dropped ${n}`);
  return [...stages, ...drops].join("\n");
}
