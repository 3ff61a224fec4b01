/** WebGL 2: solid, translucent and textured triangles, and lines, under a lamp at the eye. */

const VERTEX = `#version 300 es
uniform mat4 clip_from_room;
uniform vec3 offset;
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
out vec3 at;
out vec3 facing;
void main() {
  at = position + offset;
  facing = normal;
  gl_Position = clip_from_room * vec4(at, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
uniform vec4 color;
uniform vec3 eye;
uniform float rim;
uniform float lit;
in vec3 at;
in vec3 facing;
out vec4 pixel;
void main() {
  vec3 view = normalize(eye - at);
  vec3 normal = normalize(facing);
  float headlight = abs(dot(view, normal));
  float sky = 0.5 - 0.5 * normal.y * sign(dot(view, normal));
  vec3 shaded = color.rgb * mix(1.0, 0.28 + 0.5 * headlight + 0.25 * sky, lit);
  float alpha = color.a * mix(1.0, 0.35 + 1.3 * (1.0 - headlight), rim);
  pixel = vec4(shaded, min(alpha, 1.0));
}`;

const IMAGE_VERTEX = `#version 300 es
uniform mat4 clip_from_room;
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 texel;
out vec2 uv;
void main() {
  uv = texel.xy;
  gl_Position = clip_from_room * vec4(position, 1.0);
}`;

const IMAGE_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D image;
in vec2 uv;
out vec4 pixel;
void main() {
  pixel = vec4(texture(image, uv).rgb, 1.0);
}`;

const TEXELS = new Float32Array([0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0]);
const QUAD = new Uint32Array([0, 1, 2, 0, 2, 3]);

export class Painter {
  constructor(gl) {
    this.gl = gl;
    this.plain = program(gl, VERTEX, FRAGMENT);
    this.textured = program(gl, IMAGE_VERTEX, IMAGE_FRAGMENT);
    this.texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.enable(gl.DEPTH_TEST);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(0, 0, 0, 0);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  }

  /** Upload triangles; into the buffers of `old` where given. */
  mesh(positions, normals, indices, old) {
    const { gl } = this;
    const mesh = old ?? {
      array: gl.createVertexArray(), buffers: [0, 1, 2].map(() => gl.createBuffer()),
    };
    gl.bindVertexArray(mesh.array);
    [positions, normals].forEach((data, location) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, mesh.buffers[location]);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, 3, gl.FLOAT, false, 0, 0);
    });
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, mesh.buffers[2]);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.DYNAMIC_DRAW);
    gl.bindVertexArray(null);
    return Object.assign(mesh, { count: indices.length });
  }

  setImage(canvas) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, canvas);
    gl.generateMipmap(gl.TEXTURE_2D);
  }

  begin(clipFromRoom, eye) {
    const { gl } = this;
    this.clipFromRoom = clipFromRoom;
    this.eye = eye;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  }

  solid(mesh, color, options = {}) {
    this.#paint(mesh, color, { lit: 1, ...options });
  }

  /** Translucent: both its far and its near side tint what lies behind. */
  glass(mesh, color, options = {}) {
    const { gl } = this;
    gl.enable(gl.BLEND);
    gl.depthMask(false);
    this.#paint(mesh, color, { lit: 1, ...options });
    gl.depthMask(true);
    gl.disable(gl.BLEND);
  }

  lines(mesh, color) {
    const { gl } = this;
    gl.enable(gl.BLEND);
    this.#paint(mesh, color, { mode: gl.LINES });
    gl.disable(gl.BLEND);
  }

  /** The image between four corners: its top left, top right, bottom right, bottom left. */
  image(corners) {
    const { gl } = this;
    this.quad = this.mesh(new Float32Array(corners.flat()), TEXELS, QUAD, this.quad);
    gl.useProgram(this.textured.program);
    gl.uniformMatrix4fv(this.textured.at("clip_from_room"), false, this.clipFromRoom);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    this.#draw(this.quad, gl.TRIANGLES);
  }

  #paint(mesh, color, { offset = [0, 0, 0], rim = 0, lit = 0, mode = this.gl.TRIANGLES }) {
    if (!mesh) return;
    const { gl, plain } = this;
    gl.useProgram(plain.program);
    gl.uniformMatrix4fv(plain.at("clip_from_room"), false, this.clipFromRoom);
    gl.uniform3fv(plain.at("eye"), this.eye);
    gl.uniform3fv(plain.at("offset"), offset);
    gl.uniform4fv(plain.at("color"), color);
    gl.uniform1f(plain.at("rim"), rim);
    gl.uniform1f(plain.at("lit"), lit);
    this.#draw(mesh, mode);
  }

  #draw(mesh, mode) {
    const { gl } = this;
    gl.bindVertexArray(mesh.array);
    gl.drawElements(mode, mesh.count, gl.UNSIGNED_INT, 0);
    gl.bindVertexArray(null);
  }
}

function program(gl, vertex, fragment) {
  const linked = gl.createProgram();
  [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]].forEach(([kind, source]) => {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) {
      throw new Error(gl.getShaderInfoLog(shader));
    }
    gl.attachShader(linked, shader);
  });
  gl.linkProgram(linked);
  const places = {};
  return {
    program: linked,
    at: (name) => (places[name] ??= gl.getUniformLocation(linked, name)),
  };
}
