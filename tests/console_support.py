"""What the console's tests share: small configurations, frames, a scene, consoles that close."""

import io
import json
import socket
import struct
import time

import numpy as np
from PIL import Image
from websockets.sync.client import connect

from fluoro.config import Config, ConsoleConfig
from fluoro.console.controls import LiveControls
from fluoro.console.scene_view import SceneModel
from fluoro.console.server import Console
from fluoro.console.stream_status import StreamStatus
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.triangles import Surface, box
from fluoro.imaging.frame import FluoroFrame

ISOCENTER = (10.0, -20.0, 30.0)
STATUS = StreamStatus(fps=30.0, target_fps=30.0, device="a test")


def make_config(**sections):
    sweep = {"volume": {"phantom": "thorax"}, "pose_source": {"kind": "sweep"}}
    return Config.model_validate({**sweep, **sections})


def make_controls(**sections):
    return LiveControls.from_config(make_config(**sections))


def make_frame(number=0, value=0.5, pose=None, size=64):
    ramp = np.linspace(-0.1, 0.1, size, dtype=np.float32)
    return FluoroFrame(
        image=np.broadcast_to(value + ramp, (size, size)).astype(np.float32),
        number=number,
        pose=pose or CarmPose(),
        geometry=CarmGeometry(detector_width_px=size, detector_height_px=size),
        stamps_ns={},
    )


def make_scene():
    return SceneModel(
        isocenter_xyz_mm=ISOCENTER,
        skin=box(ISOCENTER, np.diag([150.0, 100.0, 200.0])),
        bone=box(ISOCENTER, np.diag([30.0, 30.0, 180.0])),
    )


def large_body(rings=160):
    """An ellipsoid of 2 rings^2 triangles, which takes half a minute over a slow link."""
    turn, rise = np.meshgrid(np.arange(rings), np.linspace(0.01, np.pi - 0.01, rings))
    angle = 2 * np.pi * turn / rings
    axes = [np.sin(rise) * np.cos(angle), np.sin(rise) * np.sin(angle), np.cos(rise)]
    corners = np.stack(axes, axis=-1).reshape(-1, 3) * (150.0, 100.0, 200.0) + ISOCENTER
    here = np.arange(rings * (rings - 1))
    beside, above = here - here % rings + (here + 1) % rings, here + rings
    faces = np.concatenate([
        np.stack([here, beside, above], axis=1),
        np.stack([beside, above - here % rings + (here + 1) % rings, above], axis=1),
    ])  # fmt: skip
    surface = Surface(vertices_xyz_mm=corners.astype(np.float32), faces=faces.astype(np.int32))
    return SceneModel(isocenter_xyz_mm=ISOCENTER, skin=surface)


def wait_until(holds, what, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.01)


def pixels(page, selector):
    """What the user sees of an element, grey, display values 0 to 1."""
    shot = Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("L")
    return np.asarray(shot, float) / 255


def grey(page):
    """Mean of the image's middle, where nothing is written on it."""
    image = pixels(page, "#image")
    height, width = image.shape
    return image[height // 4 : height // 3, width // 4 : 3 * width // 4].mean()


class Consoles:
    """Starts consoles at a free port and closes them together."""

    def __init__(self):
        self._started = []

    def start(self, controls=None, *, scene=None, surfaces=None, on_save=None, **config):
        """A started console and its address."""
        settings = ConsoleConfig(**{"port": 0, **config})
        parts = {"scene": scene, "surfaces": surfaces, "on_save": on_save}
        console = Console(settings, controls or make_controls(), **parts)
        self._started.append(console)
        return console, console.start()

    def close(self):
        for console in self._started:
            console.close()


class Peer:
    """A browser's end of the WebSocket."""

    def __init__(self, url, **options):
        page, _, query = url.partition("?")
        live = page.replace("http", "ws", 1) + "live"
        address = f"{live}?{query}" if query else live
        self.socket = connect(address, max_size=None, close_timeout=1, **options)

    def next(self, kind):
        """The next message of that kind: its fields, and for a binary one the payload."""
        while True:
            fields, payload = self.receive()
            if fields["kind"] == kind:
                return (fields, payload) if payload else fields

    def next_whole(self, kind):
        """The same of a message that may come in parts."""
        payloads = []
        while True:
            fields, payload = self.receive()
            if fields["kind"] == kind:
                return fields, payload
            if fields["kind"] == "part" and fields["of"] == kind:
                payloads.append(payload)
                if not fields["more"]:
                    return unpacked(b"".join(payloads))

    def receive(self):
        """The fields of the next message, and its payload, empty for a text."""
        data = self.socket.recv(timeout=60)
        return (json.loads(data), b"") if isinstance(data, str) else unpacked(data)

    def send(self, **request):
        self.socket.send(json.dumps(request))


def unpacked(message):
    (length,) = struct.unpack_from("<I", message)
    return json.loads(message[4 : 4 + length]), message[4 + length :]


def request(url, path="/", host=None, **headers):
    """Status, head and body of a plain HTTP GET; headers by name, with _ for -."""
    address, port = url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((address, int(port)), timeout=60) as connection:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host or f'{address}:{port}'}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body
