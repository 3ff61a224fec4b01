/** The console's page: one WebSocket, one picture, the controls and the 3D view. */

import { Focus } from "./focus.js";
import { Link } from "./link.js";
import { Panel } from "./panel.js";
import { Pedal } from "./pedal.js";
import { Picture } from "./picture.js";
import { Truth } from "./truth.js";
import { Room } from "./room.js";
import { Tracking } from "./tracking.js";

const NO_SIGNAL = { // message by the link's state
  connecting: "Connecting to the simulator ...",
  silent: "No data from the simulator. The controls are disabled until the link is back.",
  lost: "No connection to the simulator; trying again ...",
  locked: "This console needs its token: open the address that the simulator printed.",
};
const KEEPS_UP = 0.8; // share of the stream's frames from which on a browser is not called slow
const byId = (id) => document.getElementById(id);

const link = new Link(new URL("live", location.href.replace(/^http/, "ws")));
const truth = new Truth(byId("truth"), byId("truth-switch"), byId("show-truth"));
const picture = new Picture(byId("picture"), byId("frame"), byId("image"));
const panel = new Panel(byId("panel"), (values) => link.send({ set: values }));
const room = new Room(byId("scene"), byId("no-scene"), byId("image"));
const tracking = new Tracking(byId("tracking"), byId("overlay"), byId("error-curve"));
const pedal = new Pedal(byId("pedal"), new Focus(), (word) => (
  word === "up" ? link.sendAnyway({ pedal: word }) : link.send({ pedal: word })
));
let following = false;
let controls = null;
let status = { fps: 0, reason: "" };
let noticeTimer = 0;

link.on("hello", (message) => {
  panel.setUp(message);
  byId("save").hidden = !message.can_save;
});

link.on("controls", ({ values }) => {
  controls = values;
  showControls();
});

link.on("frame", async (message, payload) => {
  await picture.showFrame(message, payload);
  await truth.show(message.truth);
  showDose(message.dose);
  if (following) panel.show(message.pose, { withPose: true });
});

link.on("status", (news) => {
  status = news;
  const target = status.target_fps ? ` / ${status.target_fps.toFixed(0)}` : "";
  byId("rate").textContent = `${status.fps.toFixed(1)}${target} fps`;
  byId("rate").title = details();
  byId("device").textContent = status.device ?? "";
  showReason();
});

link.on("body", (message, payload) => room.setBody(message, payload));
link.on("carm", (message, payload) => room.setCarm(message, payload));
link.on("tracking", (message, payload) => tracking.show(message, payload));
link.on("notice", ({ text, error }) => notice(text, { error, forMs: 8000 }));
link.on("pedal", ({ held }) => held || pedal.release());
link.onState = (state) => {
  if (!link.live) pedal.release();
  document.body.classList.toggle("no-signal", !link.live);
  byId("no-signal").textContent = state === "connecting" ? "CONNECTING" : "NO SIGNAL";
  panel.enable(link.live);
  if (state === "lost") controls = null;
  showControls();
  if (link.live) return notice("");
  byId("rate").textContent = "";
  status = { fps: 0, reason: "" };
  showReason();
  return notice(NO_SIGNAL[state], { error: true });
};

document.querySelectorAll("[data-press]").forEach((button) => {
  button.addEventListener("click", () => link.send({ press: button.dataset.press }));
});
byId("save").addEventListener("click", () => link.send({ save: true }));
byId("beam").addEventListener("click", () => {
  link.send({ set: { beam_on: byId("beam").getAttribute("aria-pressed") !== "true" } });
});
picture.onWindow = (changes) => link.live && panel.nudge(changes);
setInterval(showReason, 500);
panel.enable(false);
link.open();

const threeDigits = (value) => Number(value.toPrecision(3));

/** The tube's voltage, current and charge, as far as they are known. */
function tubeText({ tube_voltage_kv, tube_current_ma, charge_mas }) {
  const parts = [[tube_voltage_kv, "kV"], [tube_current_ma, "mA"], [charge_mas, "mAs"]];
  const known = parts.filter(([value]) => value !== null);
  return known.map(([value, unit]) => `${threeDigits(value)} ${unit}`).join(" · ") || "–";
}

/** What the server says of the controls; without a signal the beam's state is not known. */
function showControls() {
  const on = link.live && Boolean(controls?.beam_on);
  document.body.classList.toggle("beam-on", on);
  room.setBeam(on);
  if (!link.live) byId("beam").textContent = "Beam";
  if (!controls) return;
  following = !controls.manual_pose;
  panel.show(controls, { withPose: controls.manual_pose });
  picture.showControls(controls);
  document.body.classList.toggle("blank", !controls.beam_on && !controls.last_image_hold);
  if (link.live) byId("beam").textContent = controls.beam_on ? "Beam on" : "Beam off";
  byId("beam").setAttribute("aria-pressed", String(controls.beam_on));
}

/** What the picture on show was made with, and what the run has cost so far. */
function showDose(dose) {
  byId("dose").hidden = !dose;
  if (!dose) return;
  const text = {
    pulse: `${threeDigits(dose.dose_ngy)} nGy`,
    tube: tubeText(dose),
    kap: `${threeDigits(dose.kerma_area_mgycm2 / 1000)} Gy cm²`,
    kerma: `${threeDigits(dose.reference_kerma_mgy)} mGy`,
    skin: `${threeDigits(dose.skin_dose_mgy)} mGy`,
    time: `${dose.beam_s.toFixed(1)} s`,
  };
  Object.entries(text).forEach(([name, words]) => { byId(`dose-${name}`).textContent = words; });
}

function notice(text, { error = false, forMs = 0 } = {}) {
  clearTimeout(noticeTimer);
  const box = byId("notice");
  box.textContent = text;
  box.hidden = !text;
  box.classList.toggle("error", error);
  if (forMs) noticeTimer = setTimeout(() => { box.hidden = true; }, forMs);
}

function showReason() {
  byId("reason").textContent = status.reason || slowBrowser();
}

/** That this browser does not keep up, where the stream itself does. */
function slowBrowser() {
  const shown = picture.framesPerSecond();
  const slow = shown !== null && shown < KEEPS_UP * status.fps;
  return slow ? `this browser ${shown} fps` : "";
}

function details() {
  const stages = Object.entries(status.latency_ms ?? {}).map(([name, ms]) => `${name}: ${ms} ms`);
  const drops = Object.entries(status.dropped ?? {}).map(([sink, n]) => `${sink} dropped ${n}`);
  return [...stages, ...drops].join("\n");
}
