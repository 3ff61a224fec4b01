/**
 * The 3D view: patient, C-arm and table, the live image on the detector.
 *
 * Room coordinates are patient LPS in mm about the C-arm's isocentre; up is anterior (-y), so the
 * patient lies supine. The C-arm stays, the patient moves with the table.
 */

import { onDrag } from "./drag.js";
import { Painter } from "./painter.js";
import * as m from "./matrices.js";

const IVORY = [0.93, 0.9, 0.8, 1];
const SKIN = [0.86, 0.66, 0.56, 0.34];
const METAL = [0.78, 0.81, 0.84, 1];
const TUBE = [0.42, 0.5, 0.58, 1];
const TABLE = [0.45, 0.52, 0.58, 0.55];
const BEAM = [1, 0.83, 0.25, 0.16];
const EDGE = [1, 0.83, 0.25, 0.8];
const UNLIT_EDGE = [0.6, 0.65, 0.7, 0.5];
const HOUSING_DEPTH = 1.03; // the image on the housing's back lies just outside of it
const FIELD_OF_VIEW = 0.55;

export class Room {
  constructor(canvas, apology, image) {
    this.canvas = canvas;
    this.apology = apology;
    this.image = image;
    this.camera = { yaw: 0.72, pitch: 0.42, distance: 2650 };
    this.meshes = {};
    this.offset = [0, 0, 0];
    this.beamOn = true;
    new ResizeObserver(() => this.#later()).observe(canvas);
    this.#listen();
  }

  setBody({ parts }, { data, start }) {
    if (!this.#hasPainter()) return;
    const reader = new Reader(data, start);
    Object.entries(parts).forEach(([name, [vertices, faces]]) => {
      const mesh = [reader.floats(vertices), reader.floats(vertices), reader.indices(faces)];
      this.meshes[name] = this.painter.mesh(...mesh, this.meshes[name]);
    });
    this.#later();
  }

  setCarm({ parts, patient_offset_mm }, { data, start }) {
    if (!this.#hasPainter()) return;
    const reader = new Reader(data, start);
    const source = reader.floats(1);
    const corners = m.rows(reader.floats(4));
    Object.entries(parts).forEach(([name, [vertices, faces]]) => {
      const solid = flat(reader.floats(vertices), reader.indices(faces));
      this.meshes[name] = this.painter.mesh(...solid, this.meshes[name]);
      if (name === "detector") this.back = this.#onTheBack(corners, solid[0], source);
    });
    this.#setBeam(source, corners);
    this.front = corners;
    this.offset = patient_offset_mm;
    this.painter.setImage(this.image);
    this.#later();
  }

  setBeam(on) {
    this.beamOn = on;
    this.#later();
  }

  /** Made with the first thing to draw: the start of WebGL is not to hold the first frame up. */
  #hasPainter() {
    if (this.painter === undefined) this.#start();
    return this.painter !== null;
  }

  #start() {
    this.painter = null;
    const gl = this.canvas.getContext("webgl2", { antialias: true });
    if (!gl) return this.#apologise("The 3D view needs WebGL 2, which is off here.");
    this.painter = new Painter(gl);
    this.canvas.addEventListener("webglcontextlost", () => {
      this.painter = null;
      this.#apologise("The 3D view was lost; reload the page to have it back.");
    });
    return undefined;
  }

  #apologise(text) {
    this.apology.textContent = text;
    this.apology.hidden = false;
  }

  /** The active area's corners moved along its normal to the housing's far side. */
  #onTheBack(corners, housing, source) {
    const across = m.subtract(corners[1], corners[0]);
    const down = m.subtract(corners[3], corners[0]);
    const normal = m.unit(m.cross(down, across));
    const away = m.dot(normal, m.subtract(corners[0], source)) > 0 ? normal : m.scale(normal, -1);
    const depths = m.rows(housing).map((p) => m.dot(away, m.subtract(p, corners[0])));
    const shift = m.scale(away, Math.max(...depths) * HOUSING_DEPTH);
    return corners.map((corner) => m.add(corner, shift));
  }

  #setBeam(source, corners) {
    const apex = Array.from(source);
    const sides = corners.map((corner, i) => [apex, corner, corners[(i + 1) % 4]]).flat();
    const triangles = flat(new Float32Array(sides.flat()), Uint32Array.from(sides.keys()));
    this.meshes.beam = this.painter.mesh(...triangles, this.meshes.beam);
    const edges = corners.map((corner, i) => [apex, corner, corner, corners[(i + 1) % 4]]);
    const points = new Float32Array(edges.flat(2));
    const order = Uint32Array.from({ length: points.length / 3 }, (_, i) => i);
    this.meshes.edges = this.painter.mesh(points, points, order, this.meshes.edges);
  }

  #listen() {
    onDrag(this.canvas, (right, down) => {
      this.camera.yaw += right * 0.008;
      this.camera.pitch += down * 0.008;
      this.camera.pitch = Math.min(1.5, Math.max(-1.5, this.camera.pitch));
      this.#later();
    });
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const distance = this.camera.distance * Math.exp(event.deltaY * 0.001);
      this.camera.distance = Math.min(6000, Math.max(800, distance));
      this.#later();
    }, { passive: false });
  }

  #later() {
    if (this.waiting || !this.painter) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      if (this.painter) this.#draw();
    });
  }

  /** Eye on a sphere about the isocentre: yaw from the feet towards the left, pitch upwards. */
  #eye() {
    const { yaw, pitch, distance } = this.camera;
    const level = Math.cos(pitch) * distance;
    return [Math.sin(yaw) * level, -Math.sin(pitch) * distance, -Math.cos(yaw) * level];
  }

  #draw() {
    const { painter, meshes } = this;
    const scale = Math.min(2, window.devicePixelRatio || 1);
    const width = Math.max(1, Math.round(this.canvas.clientWidth * scale));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * scale));
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const eye = this.#eye();
    const lens = m.perspective(FIELD_OF_VIEW, width / height, 100, 9000);
    painter.begin(m.multiply(lens, m.lookAt(eye, [0, 0, 0], [0, -1, 0])), eye);
    painter.solid(meshes.bone, IVORY, { offset: this.offset });
    painter.solid(meshes.arc, METAL);
    painter.solid(meshes.detector, METAL);
    painter.solid(meshes.tube, TUBE);
    [this.front, this.back].forEach((corners) => corners && painter.image(corners));
    painter.glass(meshes.table, TABLE);
    painter.glass(meshes.skin, SKIN, { offset: this.offset, rim: 1 });
    if (this.beamOn) painter.glass(meshes.beam, BEAM);
    painter.lines(meshes.edges, this.beamOn ? EDGE : UNLIT_EDGE);
  }
}

/** Reads the arrays of a message one after another, without a copy. */
class Reader {
  constructor(data, start) {
    this.data = data;
    this.at = start;
  }

  floats(points) {
    return this.#next(Float32Array, points * 3);
  }

  indices(faces) {
    return this.#next(Uint32Array, faces * 3);
  }

  #next(Kind, length) {
    const array = new Kind(this.data, this.at, length);
    this.at += array.byteLength;
    return array;
  }
}

/** Triangles of their own corners, each with its own normal: edges stay sharp. */
function flat(points, indices) {
  const corners = m.rows(points);
  const positions = new Float32Array(indices.length * 3);
  const normals = new Float32Array(indices.length * 3);
  for (let i = 0; i < indices.length; i += 3) {
    const [a, b, c] = [0, 1, 2].map((k) => corners[indices[i + k]]);
    const normal = m.unit(m.cross(m.subtract(b, a), m.subtract(c, a)));
    [a, b, c].forEach((corner, k) => {
      positions.set(corner, 3 * (i + k));
      normals.set(normal, 3 * (i + k));
    });
  }
  return [positions, normals, Uint32Array.from({ length: indices.length }, (_, i) => i)];
}
