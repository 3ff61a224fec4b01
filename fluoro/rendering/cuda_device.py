"""An NVIDIA GPU: CuPy arrays, kernels in CuPy's own CUDA context."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import override

from fluoro.rendering.load_slangpy import load_slangpy
from fluoro.rendering.slang_device import SlangDevice

__all__ = ["CudaDevice"]


class CudaDevice(SlangDevice):
    """Kernels write into CuPy arrays through their pointers; slangpy joins CuPy's context."""

    kind = "cuda"
    exact_arguments = (
        "--fmad=false",
    )  # slangpy 0.43 passes them to no compiler yet, later ones do

    def __init__(self) -> None:
        import cupy

        spy: Any = load_slangpy()
        self._cupy = cupy
        cupy.zeros(1)  # makes CuPy's context current, for slangpy to join
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.name = properties["name"].decode()
        spy.Logger.get().level = spy.LogLevel.error
        super().__init__(
            spy.Device(
                type=spy.DeviceType.cuda,
                enable_hot_reload=False,
                existing_device_handles=spy.get_cuda_current_context_native_handles(),
            )
        )

    @override
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Any:
        return self._cupy.empty(shape, dtype)

    @override
    def to_device(self, values: ArrayLike) -> Any:
        return self._cupy.ascontiguousarray(self._cupy.asarray(values))

    @override
    def to_host(self, array: Any) -> NDArray[Any]:
        return np.asarray(self._cupy.asnumpy(array))

    @override
    def owns(self, array: Any) -> bool:
        return isinstance(array, self._cupy.ndarray) and bool(array.flags.c_contiguous)

    def _pointer(self, array: Any) -> int:
        return int(array.data.ptr)

    @override
    def submit(self, encoder: Any) -> Any:
        super().submit(encoder)
        event = self._cupy.cuda.Event(block=True, disable_timing=True)
        event.record(self._cupy.cuda.Stream.null)
        return event

    @override
    def wait_for(self, mark: Any) -> None:
        mark.synchronize()

    @override
    def _order(self, encoder: Any) -> None:
        """Launches are on the null stream, in order; what CuPy does on another one comes first."""
        stream = self._cupy.cuda.get_current_stream()
        if stream.ptr:
            stream.synchronize()
