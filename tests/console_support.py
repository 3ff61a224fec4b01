"""What the console's tests share: small configurations, frames, a scene, consoles that close."""

import time

import numpy as np

from fluoro.config import Config, ConsoleConfig
from fluoro.console.controls import LiveControls
from fluoro.console.scene import SceneModel
from fluoro.console.server import Console
from fluoro.console.status import StreamStatus
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.surface import box
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


def wait_until(holds, what, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.01)


class Consoles:
    """Starts consoles at a free port and closes them together."""

    def __init__(self):
        self._started = []

    def start(self, controls=None, *, scene=None, on_save=None, **config):
        """A started console and its address."""
        settings = ConsoleConfig(**{"port": 0, **config})
        console = Console(settings, controls or make_controls(), scene=scene, on_save=on_save)
        self._started.append(console)
        return console, console.start()

    def close(self):
        for console in self._started:
            console.close()
