"""Checks of arrays from callers, before a kernel works on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoro.errors import InputError
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["require_array", "require_out"]


def require_array(device: ComputeDevice, name: str, array: Any, shape: tuple[int, ...]) -> Any:
    """Return the array, if the device's kernels can read it as it is.

    Raises:
        InputError: Another device's, of another shape or type, or not C-contiguous.
    """
    fits = device.owns(array) and array.shape == shape and array.dtype == np.float32
    if not fits:
        raise InputError(
            f"{name} must be a C-contiguous float32 array of the {device.kind} device with "
            f"shape {shape}, got {type(array).__name__} {getattr(array, 'shape', '')} "
            f"{getattr(array, 'dtype', '')}"
        )
    return array


def require_out(device: ComputeDevice, out: Any, shape: tuple[int, ...]) -> Any:
    """Return the array, if the device's kernels can write into it.

    Raises:
        InputError: As for `require_array`, or it is read-only, such as a file mapped for reading.
    """
    array = require_array(device, "out", out, shape)
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise InputError(f"out must be an array to write into, got a read-only {shape}")
    return array
