"""Which device renders: the one asked for, or the best one there is; never a silent fallback."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import sys
from dataclasses import dataclass
from typing import Any

from fluoro.errors import DeviceError, InputError
from fluoro.rendering.cpu_device import CpuDevice
from fluoro.rendering.devices import ComputeDevice
from fluoro.rendering.load_slangpy import load_slangpy

__all__ = ["DEVICES", "DeviceChoice", "choose_device", "open_device"]

log = logging.getLogger(__name__)

DEVICES = ("auto", "cuda", "vulkan", "metal", "cpu", "llvmpipe")
SOFTWARE_ADAPTERS = ("llvmpipe", "lavapipe", "swiftshader", "softpipe")
"""Vulkan adapters that compute on the CPU; used only when named."""


@dataclass(frozen=True, kw_only=True)
class DeviceChoice:
    """A device and why it was taken.

    Attributes:
        kind: "cuda", "vulkan", "metal" or "cpu".
        adapter: The adapter's name for vulkan and metal, else "".
        reason: One clause for the user.
    """

    kind: str
    adapter: str = ""
    reason: str


def choose_device(requested: str = "auto") -> DeviceChoice:
    """Resolve `auto`, or check that the requested device is there.

    Args:
        requested: One of `DEVICES`; "llvmpipe" is Vulkan on a software adapter.

    Raises:
        InputError: An unknown name.
        DeviceError: The requested device is not there; the message says what was looked for.
    """
    if requested not in DEVICES:
        raise InputError(f"renderer.device must be one of {', '.join(DEVICES)}, got {requested!r}")
    if requested == "auto":
        return _best()
    choice = _find(requested)
    if choice is None:
        raise DeviceError(f"renderer.device: {requested} is not available: {_why_not(requested)}")
    return choice


def open_device(requested: str = "auto", *, workers: int = 0) -> ComputeDevice:
    """Choose a device and open it.

    Args:
        requested: One of `DEVICES`.
        workers: CPU threads that render; 0: one per core. Without effect on a GPU.

    Raises:
        InputError: An unknown name.
        DeviceError: The device is not there or does not open.
    """
    choice = choose_device(requested)
    device = _open(choice, workers)
    log.info("rendering on %s (%s)", device.name, choice.reason)
    return device


def _open(choice: DeviceChoice, workers: int) -> ComputeDevice:
    if choice.kind == "cpu":
        return CpuDevice(workers)
    if choice.kind == "cuda":
        from fluoro.rendering.cuda_device import CudaDevice

        return CudaDevice()
    from fluoro.rendering.graphics_device import GraphicsDevice

    return GraphicsDevice(choice.kind, choice.adapter)


def _best() -> DeviceChoice:
    if _driver_gpu_count() and importlib.util.find_spec("cupy") is None:
        log.warning("the NVIDIA GPU is left alone: %s", _why_not("cuda"))
    for kind in ("cuda", "metal" if sys.platform == "darwin" else "vulkan"):
        choice = _find(kind)
        if choice:
            return choice
    return DeviceChoice(kind="cpu", reason="no NVIDIA GPU and no Vulkan or Metal GPU found")


def _find(requested: str) -> DeviceChoice | None:
    if requested == "cpu":
        return DeviceChoice(kind="cpu", reason="asked for")
    if requested == "cuda":
        count = _cuda_device_count()
        return DeviceChoice(kind="cuda", reason=f"{count} NVIDIA GPU(s)") if count else None
    software = requested == "llvmpipe"
    kind = "vulkan" if software else requested
    names = [name for name in _adapters(kind) if _is_software(name) == software]
    return DeviceChoice(kind=kind, adapter=names[0], reason=f"{kind} adapter") if names else None


def _is_software(adapter: str) -> bool:
    return any(word in adapter.lower() for word in SOFTWARE_ADAPTERS)


def _driver_gpu_count() -> int:
    """NVIDIA GPUs as their driver counts them, which takes no package."""
    count = ctypes.c_int()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0


def _cuda_device_count() -> int:
    if importlib.util.find_spec("cupy") is None:
        return 0
    import cupy

    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0


def _adapters(kind: str) -> list[str]:
    spy: Any = load_slangpy()
    if kind == "metal" and sys.platform != "darwin":
        return []
    spy.Logger.get().level = spy.LogLevel.none
    return [
        adapter.name for adapter in spy.Device.enumerate_adapters(getattr(spy.DeviceType, kind))
    ]


def _why_not(requested: str) -> str:
    if requested == "cuda" and importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (pip install cupy-cuda12x, or cupy-cuda13x for CUDA 13)"
    if requested == "cuda":
        return "no NVIDIA GPU, or no driver for it"
    if requested == "llvmpipe":
        return "no software Vulkan driver (Debian: apt install mesa-vulkan-drivers, Mesa >= 25)"
    return f"no {requested} adapter that is a GPU"
