"""The load of an NVIDIA GPU, from its driver."""

from __future__ import annotations

import ctypes

__all__ = ["gpu_memory_mb", "gpu_utilization_percent"]


def gpu_memory_mb() -> float | None:
    """Memory in use on CuPy's current device by all processes [MB]; None without CUDA."""
    try:
        import cupy

        free, total = cupy.cuda.runtime.memGetInfo()
    except ImportError:
        return None
    except cupy.cuda.runtime.CUDARuntimeError:
        return None
    return float(total - free) / 1e6


class _Utilization(ctypes.Structure):
    """nvmlUtilization_t."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def gpu_utilization_percent(index: int = 0) -> float | None:
    """Return the share of the last moment in which a kernel ran [%], by NVML; None: unknown."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    device, found = ctypes.c_void_p(), _Utilization()
    asked = (
        nvml.nvmlInit_v2() == 0
        and nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device)) == 0
        and nvml.nvmlDeviceGetUtilizationRates(device, ctypes.byref(found)) == 0
    )
    nvml.nvmlShutdown()
    return float(found.gpu) if asked else None
