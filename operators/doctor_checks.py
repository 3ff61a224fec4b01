"""Checks of `app.py doctor` that may end the process: each runs as `python -m ... NAME [DEVICE]`.

A check prints lines; one that raises has failed. The last line of standard error is the reason.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CHECKS", "Silent", "small_run"]

FRAMES = 10
DDS_DOMAIN = 99


def say(text: str) -> None:
    """One line of what was found."""
    sys.stdout.write(f"{text}\n")


def libraries(_device: str) -> None:
    """Import what renders and what reads and writes files."""
    from importlib import import_module
    from importlib.metadata import version

    from fluoro.rendering.devices.load_slangpy import load_slangpy

    load_slangpy()
    for module in ("SimpleITK", "av", "PIL", "pydicom", "scipy", "websockets"):
        import_module(module)
    say(f"slangpy {version('slangpy')}, NumPy {version('numpy')}, Python {sys.version.split()[0]}")


def holoscan(_device: str) -> None:
    """Import Holoscan."""
    import operators.runtime  # noqa: F401  (prepares the next import)

    # isort: split

    import holoscan

    say(f"Holoscan {holoscan.__version__}")


def driver(_device: str) -> None:
    """Ask the NVIDIA driver for its version and GPUs."""
    from fluoro.rendering.devices.nvidia_driver import read_driver

    found = read_driver()
    gpus = ", ".join(
        f"cuda:{gpu.index} {gpu.name} (compute capability {gpu.capability[0]}."
        f"{gpu.capability[1]}, {gpu.memory_bytes / 2**30:.0f} GiB)"
        for gpu in found.gpus
    )
    say(f"up to CUDA {found.version[0]}.{found.version[1]}: {gpus}")


def nvrtc(_device: str) -> None:
    """Look for an NVRTC that goes with the driver, and load it as slangpy and Slang do."""
    from fluoro.rendering.devices.nvidia_driver import read_driver
    from fluoro.rendering.devices.nvrtc import find_nvrtc, serve_nvrtc

    found = find_nvrtc(read_driver().version)
    with serve_nvrtc(found):
        say(f"{found.version[0]}.{found.version[1]}, {found.library}; headers {found.include}")


def cupy(_device: str) -> None:
    """An array there and back."""
    import cupy
    import numpy as np

    sent = np.arange(1000, dtype=np.float32)
    if not np.array_equal(cupy.asnumpy(cupy.asarray(sent)), sent):
        raise RuntimeError("an array came back changed: update the driver")
    say(f"CuPy {cupy.__version__}: an array went there and back")


def graph(device: str) -> None:
    """Ten frames of a small CT through the real graph."""
    import operators.runtime  # noqa: F401  (prepares the next import)

    # isort: split

    from fluoro.config import Config
    from operators.session import run_session

    with tempfile.TemporaryDirectory() as folder:
        config = Config.model_validate(small_run(device, Path(folder)))
        summary = run_session(config, "doctor", Silent()).summary
    took = f", {summary['latency_ms']['pose_to_frame']['p50']:.1f} ms from pose to frame"
    say(f"{FRAMES} frames on {summary['device']}{took}")


def holoviz(device: str) -> None:
    """Ten frames into Holoviz without a window."""
    import operators.runtime  # noqa: F401  (prepares the next import)

    # isort: split

    from fluoro.config import Config
    from operators.session import run_session

    with tempfile.TemporaryDirectory() as folder:
        document = small_run(device, Path(folder))
        document["holoviz"] = {"enabled": True, "headless": True}
        run_session(Config.model_validate(document), "doctor", Silent())
    say(f"{FRAMES} frames shown without a window")


def dds(_device: str) -> None:
    """A participant that stays on this machine."""
    from fluoro.config import DdsConfig
    from fluoro.interop.dds.installed import require_cyclonedds

    require_cyclonedds("doctor")
    from fluoro.interop.dds.node import DdsNode

    DdsNode(DdsConfig(domain=DDS_DOMAIN)).close()
    say("a participant opened on this machine's own interface")


def small_run(device: str, folder: Path) -> dict[str, Any]:
    """Return settings of a run of ten frames that writes nothing."""
    return {
        "volume": {"phantom": "thorax", "spacing_mm": 8},
        "carm": {"detector_width_px": 128, "detector_height_px": 128, "pixel_spacing_mm": 3.0},
        "pose_source": {"kind": "sweep", "period_s": 1.0},
        "renderer": {"device": device},
        "console": {"enabled": False},
        "recorder": {"enabled": False},
        "run": {"frames": FRAMES, "fps": 30, "output_dir": str(folder)},
    }


class Silent:
    """A reporter without output."""

    def stage(self, what: str, fraction: float) -> None:
        """As `operators.session.Reporter`."""

    def started(
        self, *, console_url: str | None, device: str, folder: Path | None, links: Sequence[str]
    ) -> None:
        """As `operators.session.Reporter`."""

    def streaming(self, frames: int, status: object) -> None:
        """As `operators.session.Reporter`."""


CHECKS: dict[str, Callable[[str], None]] = {
    check.__name__: check
    for check in (libraries, holoscan, driver, nvrtc, cupy, graph, holoviz, dds)
}


if __name__ == "__main__":
    CHECKS[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else "cpu")
