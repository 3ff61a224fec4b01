"""Selection of the device: the requested one, or the best that works; no silent fallback."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from fluoro.errors import DeviceError, InputError
from fluoro.names import DeviceName
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.devices.load_slangpy import load_slangpy
from fluoro.rendering.devices.nvidia_driver import has_driver, read_driver
from fluoro.rendering.devices.trial import try_device
from fluoro.rendering.devices.vulkan_adapters import vulkan_adapters

__all__ = [
    "DEVICES",
    "DeviceChoice",
    "choose_device",
    "examined_devices",
    "on_first_device",
    "open_choice",
    "open_device",
]

log = logging.getLogger(__name__)

DEVICES = get_args(DeviceName)
"""Names of devices; "cuda:1" is the second NVIDIA GPU."""
NUMBERED = re.compile(r"cuda:(\d{1,2})")
SOFTWARE_ADAPTERS = ("llvmpipe", "lavapipe", "swiftshader", "softpipe")
"""Vulkan adapters that compute on the CPU; used only when named."""
WHY_CPU = "no NVIDIA GPU and no Vulkan or Metal GPU found"

Sections = Mapping[str, Any]
"""Of a configuration, what a device is tried with: see `fluoro.diagnostics.device_trial.Trial`."""
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class DeviceChoice:
    """A device and why it was taken.

    Attributes:
        kind: "cuda", "vulkan", "metal" or "cpu".
        adapter: The adapter's name for vulkan and metal, else "".
        index: Number of the NVIDIA GPU.
        reason: One clause for the user.
    """

    kind: str
    adapter: str = ""
    index: int = 0
    reason: str

    @property
    def name(self) -> str:
        """What `renderer.device` calls it."""
        if self.kind == "cuda" and self.index:
            return f"cuda:{self.index}"
        return "llvmpipe" if _is_software(self.adapter) else self.kind

    @property
    def label(self) -> str:
        """What to call it in a message."""
        return self.name + (f" ({self.adapter})" if self.adapter else "")


def choose_device(requested: str = "auto", sections: Sections | None = None) -> DeviceChoice:
    """Resolve `auto`, or check that the requested device is there.

    `auto` takes the first device that renders a small scene as it should, which a process of its
    own tries; each device that is passed over is a warning in the log. The CPU is not tried.

    Args:
        requested: One of `DEVICES`, or "cuda:1"; "llvmpipe" is Vulkan on a software adapter.
        sections: What `auto` tries the devices with; None: the defaults.

    Raises:
        InputError: An unknown name.
        DeviceError: The requested device is not there; the message says what was looked for.
    """
    if requested not in DEVICES and not NUMBERED.fullmatch(str(requested)):
        known = ", ".join(DEVICES)
        raise InputError(f"renderer.device must be one of {known}, cuda:1, got {requested!r}")
    if requested == "auto":
        return next(_working(sections or {}))
    choice = _find(requested)
    if choice is None:
        raise DeviceError(f"renderer.device: {requested} is not available: {_why_not(requested)}")
    return choice


def open_device(
    requested: str = "auto", *, workers: int = 0, sections: Sections | None = None
) -> ComputeDevice:
    """Choose a device and open it.

    Args:
        requested: As for `choose_device`.
        workers: CPU threads that render; 0: one per core. Without effect on a GPU.
        sections: As for `choose_device`.

    Raises:
        InputError: An unknown name.
        DeviceError: The device is not there or does not open.
    """
    device, _ = on_first_device(requested, lambda _: None, workers=workers, sections=sections)
    return device


def on_first_device(
    requested: str,
    prepare: Callable[[ComputeDevice], Made],
    *,
    workers: int = 0,
    sections: Sections | None = None,
) -> tuple[ComputeDevice, Made]:
    """Open the first device that can be prepared, and prepare it.

    Args:
        requested: As for `choose_device`; a named device is the only one.
        prepare: What is done on the device, which may fail for lack of memory.
        workers: As for `open_device`.
        sections: As for `choose_device`.

    Returns:
        The device, and what `prepare` returned.

    Raises:
        InputError: An unknown name.
        DeviceError: The device is not there, does not open, or `prepare` failed on it.
    """
    if requested != "auto":
        return _prepared(choose_device(requested), prepare, workers)
    for choice in _working(sections or {}):
        try:
            return _prepared(choice, prepare, workers)
        except DeviceError as error:
            if choice.kind == "cpu":
                raise
            _warn(choice, str(error))
    raise AssertionError("the CPU is always among the devices")


def open_choice(choice: DeviceChoice, workers: int = 0) -> ComputeDevice:
    """Open a device that was chosen.

    Raises:
        DeviceError: It does not open.
    """
    if choice.kind == "cpu":
        return CpuDevice(workers)
    if choice.kind == "cuda":
        from fluoro.rendering.devices.cuda import CudaDevice

        return CudaDevice(choice.index)
    from fluoro.rendering.devices.graphics import GraphicsDevice

    return GraphicsDevice(choice.kind, choice.adapter)


def examined_devices() -> list[DeviceChoice]:
    """Return every device that `app.py doctor` looks at, the best one first; none is opened."""
    found = list(_gpus())
    software = _find("llvmpipe") if sys.platform != "darwin" else None
    found += [software] if software else []
    first = {choice.name: choice for choice in reversed(found)}
    return [*reversed(first.values()), DeviceChoice(kind="cpu", reason="always there")]


def _prepared(
    choice: DeviceChoice, prepare: Callable[[ComputeDevice], Made], workers: int
) -> tuple[ComputeDevice, Made]:
    device = open_choice(choice, workers)
    log.info("rendering on %s (%s)", device.name, choice.reason)
    try:
        return device, prepare(device)
    except BaseException:
        device.close()
        raise


def _working(sections: Sections) -> Iterator[DeviceChoice]:
    """GPUs that pass a trial, the best one first, and the CPU."""
    for choice in _gpus():
        parts = {"kind": choice.kind, "adapter": choice.adapter, "index": choice.index}
        result = try_device(parts, sections)
        if result.fault is None:
            yield choice
        elif result.absent:
            log.info("%s: %s", choice.label, result.fault)
        else:
            _warn(choice, result.fault)
    yield DeviceChoice(kind="cpu", reason=WHY_CPU)


def _gpus() -> Iterator[DeviceChoice]:
    """What there is beside the CPU; nothing of it is opened."""
    if has_driver():
        if importlib.util.find_spec("cupy"):
            yield DeviceChoice(kind="cuda", reason="an NVIDIA GPU that renders the trial scene")
        elif _driver_gpu_count():
            log.warning("the NVIDIA GPU is left alone: %s", _why_not("cuda"))
    kind = "metal" if sys.platform == "darwin" else "vulkan"
    for name in _adapters(kind):
        if not _is_software(name):
            yield DeviceChoice(kind=kind, adapter=name, reason=f"{kind} adapter")


def _warn(choice: DeviceChoice, fault: str) -> None:
    log.warning(
        "renderer.device: auto leaves out %s: %s; the next device is taken. `app.py doctor` looks "
        "for the reason and tries it again; renderer.device: cpu uses no GPU",
        choice.label,
        fault,
    )


def _find(requested: str) -> DeviceChoice | None:
    if requested == "cpu":
        return DeviceChoice(kind="cpu", reason="requested")
    if requested.startswith("cuda"):
        count = _cuda_device_count()
        number = NUMBERED.fullmatch(requested)
        index = int(number[1]) if number else 0
        found = DeviceChoice(kind="cuda", index=index, reason=f"{count} NVIDIA GPU(s)")
        return found if index < count else None
    software = requested == "llvmpipe"
    kind = "vulkan" if software else requested
    names = [name for name in _adapters(kind) if _is_software(name) == software]
    return DeviceChoice(kind=kind, adapter=names[0], reason=f"{kind} adapter") if names else None


def _is_software(adapter: str) -> bool:
    return any(word in adapter.lower() for word in SOFTWARE_ADAPTERS)


def _driver_gpu_count() -> int:
    """NVIDIA GPUs as their driver counts them, which takes no package."""
    try:
        return len(read_driver().gpus)
    except DeviceError:
        return 0


def _cuda_device_count() -> int:
    """NVIDIA GPUs that CuPy could use."""
    return 0 if importlib.util.find_spec("cupy") is None else _driver_gpu_count()


def _adapters(kind: str) -> list[str]:
    """Names of the adapters; on Vulkan those with memory of their own come first."""
    if kind == "vulkan":
        return [adapter.name for adapter in vulkan_adapters()]
    if sys.platform != "darwin":
        return []
    spy: Any = load_slangpy()
    spy.Logger.get().level = spy.LogLevel.none
    return [adapter.name for adapter in spy.Device.enumerate_adapters(spy.DeviceType.metal)]


def _why_not(requested: str) -> str:
    if requested.startswith("cuda") and importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (pip install cupy-cuda12x, or cupy-cuda13x for CUDA 13)"
    if requested.startswith("cuda"):
        return _why_no_gpu(requested)
    if requested == "llvmpipe":
        return "no software Vulkan driver (Debian: apt install mesa-vulkan-drivers, Mesa >= 25)"
    return f"no {requested} adapter that is a GPU"


def _why_no_gpu(requested: str) -> str:
    try:
        there = read_driver().gpus
    except DeviceError as error:
        return str(error)
    names = ", ".join(f"cuda:{gpu.index} ({gpu.name})" for gpu in there)
    return f"there is {names}, not {requested}"
