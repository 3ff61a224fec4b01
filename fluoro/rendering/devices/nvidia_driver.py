"""What the NVIDIA driver says about itself, asked without any package."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

from fluoro.errors import DeviceError, NoDeviceError

__all__ = ["NvidiaDriver", "NvidiaGpu", "driver_file", "has_driver", "read_driver"]

DRIVER = "libcuda.so.1"
NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE."""
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*."""


@dataclass(frozen=True, kw_only=True)
class NvidiaGpu:
    """One GPU.

    Attributes:
        index: Its number among those that CUDA_VISIBLE_DEVICES leaves.
        name: What the driver calls it.
        capability: Its compute capability.
        memory_bytes: All of its memory [bytes].
    """

    index: int
    name: str
    capability: tuple[int, int]
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class NvidiaDriver:
    """The driver.

    Attributes:
        version: The newest CUDA that it supports, e.g. (12, 2).
        gpus: At least one.
    """

    version: tuple[int, int]
    gpus: tuple[NvidiaGpu, ...]

    def gpu(self, index: int) -> NvidiaGpu:
        """Return the GPU with this number.

        Raises:
            DeviceError: There are fewer.
        """
        if index >= len(self.gpus):
            there = ", ".join(f"cuda:{gpu.index} ({gpu.name})" for gpu in self.gpus)
            raise DeviceError(f"renderer.device: cuda:{index} is not there, only {there}")
        return self.gpus[index]


def has_driver() -> bool:
    """Return whether the driver's library loads; nothing of the driver is started."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def driver_file() -> Path | None:
    """Return the loaded driver's file, whose name has the driver's version; None: not loaded."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    names = (line.split(maxsplit=5)[-1] for line in lines)
    return next((Path(name) for name in names if Path(name).name.startswith("libcuda.so")), None)


def read_driver() -> NvidiaDriver:
    """Return the driver's version and its GPUs.

    Raises:
        DeviceError: There is no driver, it does not start, or it has no GPU; the message names
            the fix.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        raise NoDeviceError(
            f"no NVIDIA GPU, or no driver for it ({DRIVER} does not load)"
        ) from None
    _require_gpus(driver)
    version = _number(driver.cuDriverGetVersion)
    count = _number(driver.cuDeviceGetCount)
    return NvidiaDriver(
        version=(version // 1000, version % 1000 // 10),
        gpus=tuple(_gpu(driver, index) for index in range(count)),
    )


def _require_gpus(driver: ctypes.CDLL) -> None:
    code = driver.cuInit(0)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if code == 0 and _number(driver.cuDeviceGetCount):
        return
    if code in (0, NO_DEVICE) and hidden is not None:
        raise DeviceError(
            f"CUDA_VISIBLE_DEVICES={hidden!r} hides every NVIDIA GPU: unset it, or set it to the "
            "number of a GPU that nvidia-smi lists"
        )
    if code in (0, NO_DEVICE):
        raise NoDeviceError("the NVIDIA driver finds no GPU: see what nvidia-smi says")
    raise DeviceError(
        f"the NVIDIA driver does not start (cuInit gives {code}): see what nvidia-smi says; "
        "after an update of the driver, restart the machine"
    )


def _gpu(driver: ctypes.CDLL, index: int) -> NvidiaGpu:
    device, size, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    major, minor = (
        _number(driver.cuDeviceGetAttribute, attribute, device)
        for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR)
    )
    return NvidiaGpu(
        index=index,
        name=name.value.decode(errors="replace"),
        capability=(major, minor),
        memory_bytes=size.value,
    )


def _number(function: object, *arguments: object) -> int:
    """Return the int that a function of the driver gives through its first argument; 0: none."""
    value = ctypes.c_int()
    code = function(ctypes.byref(value), *arguments)  # type: ignore[operator]
    return value.value if code == 0 else 0
