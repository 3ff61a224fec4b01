/** The console's page: one WebSocket, one image, the controls and the 3D view. */

import { Focus } from "./focus.js";
import { ImagePane } from "./image_pane.js";
import { Keys } from "./keys.js";
import { Link } from "./link.js";
import { Panel } from "./panel.js";
import { Pedal } from "./pedal.js";
import { Room } from "./room.js";
import { download, drawn, fileName, localTime } from "./snapshot.js";
import { Speaker } from "./speaker.js";
import { Tracking } from "./tracking.js";
import { Truth } from "./truth.js";

const NO_SIGNAL = { // message by the link's state
  connecting: "Connecting to the simulator ...",
  silent: "No data from the simulator. The controls are disabled until the link is back.",
  lost: "No connection to the simulator; trying again ...",
  locked: "This console needs its token: open the address that the simulator printed.",
};
const SPOKEN_STATES = { tracked: "Tracked", "in doubt": "Pose in doubt", lost: "Tracking lost" };
const KEEPS_UP = 0.8; // share of the stream's frames from which on a browser is not called slow
const byId = (id) => document.getElementById(id);

const link = new Link(new URL("live", location.href.replace(/^http/, "ws")));
const truth = new Truth(byId("truth"), byId("truth-switch"), byId("show-truth"));
const imagePane = new ImagePane(byId("pane"), byId("frame"), byId("image"));
const speaker = new Speaker(byId("spoken"));
const panel = new Panel(
  byId("panel"),
  (values) => link.send({ set: values }),
  (text) => notice(text, { error: true, forMs: 8000 }),
);
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
  byId("keep").hidden = !message.can_save;
});

link.on("controls", ({ values }) => {
  controls = values;
  showControls();
});

link.on("frame", async (message, payload) => {
  await imagePane.showFrame(message, payload);
  await truth.show(message.truth);
  showDose(message.dose);
  if (following) panel.show(message.pose, { withPose: true, measured: true });
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
link.on("tracking", (message, payload) => {
  speaker.say("tracking", SPOKEN_STATES[message.state]);
  return tracking.show(message, payload);
});
link.on("notice", ({ text, error }) => notice(text, { error, forMs: 8000 }));
link.on("pedal", ({ held }) => held || pedal.release());
link.onState = (state) => {
  if (!link.live) pedal.release();
  document.body.classList.toggle("no-signal", !link.live);
  byId("no-signal").textContent = state === "connecting" ? "CONNECTING" : "NO SIGNAL";
  speaker.say("signal", link.live ? "Connected" : NO_SIGNAL[state]);
  panel.forget();
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
byId("keep").addEventListener("click", () => link.send({ save: true }));
byId("save").addEventListener("click", save);
byId("fullscreen").addEventListener("click", toggleFullScreen);
byId("help").addEventListener("click", () => keys.toggleHelp());
byId("windowing").addEventListener("click", () => setWindowing(!imagePane.windowing));
byId("beam").addEventListener("click", () => {
  link.send({ set: { beam_on: byId("beam").getAttribute("aria-pressed") !== "true" } });
});
imagePane.onWindow = (changes) => link.live && panel.nudge(changes);
const keys = new Keys(byId("keys"), byId("use-keys"), {
  p: () => panel.toggle("polarity"),
  w: () => setWindowing(!imagePane.windowing),
  h: () => panel.toggle("last_image_hold"),
  a: () => byId("show-truth").click(),
  s: save,
  f: toggleFullScreen,
}, (changes) => link.live && panel.turn(changes));
setWindowing(!matchMedia("(pointer: coarse)").matches); // a finger's swipe scrolls at first
setInterval(showReason, 500);
panel.enable(false);
link.open();

const threeDigits = (value) => Number(value.toPrecision(3));

/** Whether a drag on the image sets the window, on the pane and on its button. */
function setWindowing(on) {
  imagePane.setWindowing(on);
  byId("windowing").setAttribute("aria-pressed", String(on));
}

function toggleFullScreen() {
  if (document.fullscreenElement) return document.exitFullscreen();
  return byId("pane").requestFullscreen().catch(() => (
    notice("This browser does not allow the full screen here.", { error: true, forMs: 8000 })
  ));
}

/** Download the image on show, with letters, pose and time. */
function save() {
  const words = imagePane.words();
  const blank = document.body.classList.contains("blank");
  if (!words.number || blank) return notice("There is no image on show to save.", { error: true, forMs: 8000 });
  const time = localTime();
  const annotated = byId("truth").hidden ? null : byId("truth");
  const file = fileName(words, time);
  notice(`Saved as ${file} in this browser's downloads`, { forMs: 8000 });
  return download(drawn({ image: byId("image"), truth: annotated, words, time }), file);
}

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
  imagePane.showControls(controls);
  if (link.live) speaker.say("beam", controls.beam_on ? "Beam on" : "Beam off");
  document.body.classList.toggle("blank", !controls.beam_on && !controls.last_image_hold);
  if (link.live) byId("beam").textContent = controls.beam_on ? "Beam on" : "Beam off";
  byId("beam").setAttribute("aria-pressed", String(controls.beam_on));
}

let alarms = 0;

/** Each five minutes of beam raise an alarm; another run starts from 0. */
function callOut(count) {
  if (count > alarms) notice(`${5 * count} minutes of beam`, { error: true, forMs: 10000 });
  alarms = count;
}

/** What the image on show was made with, and what the run has cost so far. */
function showDose(dose) {
  byId("dose").hidden = !dose;
  if (!dose) return;
  callOut(dose.alarms);
  const text = {
    pulse: `${threeDigits(dose.dose_ngy)} nGy`,
    tube: tubeText(dose),
    kap: `${threeDigits(dose.kerma_area_mgycm2 / 1000)} Gy cm²`,
    kerma: `${threeDigits(dose.reference_kerma_mgy)} mGy`,
    rate: `${threeDigits(dose.rate_mgy_per_min)} mGy/min`,
    skin: `${threeDigits(dose.skin_dose_mgy)} mGy`,
    time: `${dose.beam_s.toFixed(1)} s`,
  };
  Object.entries(text).forEach(([name, words]) => { byId(`dose-${name}`).textContent = words; });
}

function notice(text, { error = false, forMs = 0 } = {}) {
  clearTimeout(noticeTimer);
  const box = byId("notice");
  speaker.say("notice", text);
  box.textContent = text;
  box.hidden = !text;
  box.classList.toggle("error", error);
  if (forMs) noticeTimer = setTimeout(() => { box.hidden = true; }, forMs);
}

function showReason() {
  const reason = status.reason || slowBrowser();
  byId("reason").textContent = reason;
  speaker.say("reason", reason.replace(/[\d.]+ (ms|fps|s)\b/g, "").trim()); // figures change
}

/** That this browser does not keep up, where the stream itself does. */
function slowBrowser() {
  const shown = imagePane.framesPerSecond();
  const slow = shown !== null && shown < KEEPS_UP * status.fps;
  return slow ? `this browser ${shown} fps` : "";
}

function details() {
  const stages = Object.entries(status.latency_ms ?? {}).map(([name, ms]) => `${name}: ${ms} ms`);
  const drops = Object.entries(status.dropped ?? {}).map(([sink, n]) => `${sink} dropped ${n}`);
  return [...stages, ...drops].join("\n");
}
