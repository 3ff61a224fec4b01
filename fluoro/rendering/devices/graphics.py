"""A Vulkan or Metal adapter: arrays in device buffers, one copy to the host."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import override

from fluoro.errors import DeviceError
from fluoro.rendering.devices.buffer_pool import BufferPool
from fluoro.rendering.devices.load_slangpy import load_slangpy
from fluoro.rendering.devices.slang import SlangDevice, as_bytes

__all__ = ["DeviceArray", "GraphicsDevice"]

UPLOAD_BYTES = 1 << 16
"""Up to so much is uploaded on the way to a launch, more in a submission of its own."""


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """A C-contiguous array in a device buffer."""

    buffer: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class GraphicsDevice(SlangDevice):
    """Kernels reach buffers through their device addresses.

    Args:
        kind: "vulkan" or "metal".
        adapter: Name of the adapter, as slangpy lists it.

    Raises:
        DeviceError: The adapter is gone or does not open.
    """

    def __init__(self, kind: str, adapter: str) -> None:
        spy: Any = load_slangpy()
        self.kind, self.name = kind, f"{adapter} ({kind})"
        device_type = getattr(spy.DeviceType, kind)
        adapters = {entry.name: entry for entry in spy.Device.enumerate_adapters(device_type)}
        if adapter not in adapters:
            raise DeviceError(f"{kind} adapter {adapter!r} is not there, only {sorted(adapters)}")
        spy.Logger.get().level = spy.LogLevel.error
        try:
            device = spy.Device(
                type=device_type, enable_hot_reload=False, adapter_luid=adapters[adapter].luid
            )
        except RuntimeError as error:
            raise DeviceError(f"{self.name} does not open: {str(error).splitlines()[0]}") from None
        usage = spy.BufferUsage.shader_resource | spy.BufferUsage.unordered_access
        self._pool = BufferPool(lambda size: device.create_buffer(size=size, usage=usage))
        super().__init__(device)

    @override
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> DeviceArray:
        kind = np.dtype(dtype)
        buffer, size_bytes = self._pool.take(math.prod(shape) * kind.itemsize)
        array = DeviceArray(buffer, tuple(shape), kind)
        weakref.finalize(array, self._pool.give, buffer, size_bytes).atexit = False
        return array

    @override
    def to_device(self, values: ArrayLike | DeviceArray) -> DeviceArray:
        if isinstance(values, DeviceArray):
            return values
        host = np.ascontiguousarray(values)
        array = self.empty(host.shape, host.dtype)
        array.buffer.copy_from_numpy(as_bytes(host))
        return array

    @override
    def upload(self, encoder: Any, values: NDArray[Any]) -> DeviceArray:
        if values.nbytes > UPLOAD_BYTES or not values.nbytes:
            return self.to_device(values)
        array = self.empty(values.shape, values.dtype)
        with self._lock:
            encoder.upload_buffer_data(array.buffer, 0, as_bytes(values))
        return array

    @override
    def to_host(self, array: DeviceArray, *, settled: bool = False) -> NDArray[Any]:
        del settled
        self.wait_for(self._submitted)  # the copy would wait with the interpreter's lock
        raw = array.buffer.to_numpy().view(np.uint8).reshape(-1)
        size = int(np.prod(array.shape)) * array.dtype.itemsize
        return np.asarray(raw[:size].view(array.dtype).reshape(array.shape))

    @override
    def owns(self, array: Any) -> bool:
        return isinstance(array, DeviceArray)

    @override
    def close(self) -> None:
        self._pool.close()
        super().close()

    def _pointer(self, array: DeviceArray) -> int:
        return int(array.buffer.device_address)
