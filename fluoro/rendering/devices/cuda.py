"""An NVIDIA GPU: CuPy arrays, kernels in CuPy's own CUDA context."""

from __future__ import annotations

import hashlib
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import override

from fluoro.errors import DeviceError, DeviceMemoryError, OutputError
from fluoro.paths import cache_dir, shader_files
from fluoro.rendering.devices.base import KernelText
from fluoro.rendering.devices.load_slangpy import load_slangpy
from fluoro.rendering.devices.nvidia_driver import NvidiaDriver, NvidiaGpu, driver_file, read_driver
from fluoro.rendering.devices.nvrtc import Nvrtc, find_nvrtc, kept_locale, serve_nvrtc
from fluoro.rendering.devices.slang import Kernel, SlangDevice

__all__ = ["CudaDevice"]

MOST_PINNED_BYTES = 1 << 26
"""Larger results are volumes, for which pages that cannot be swapped out would be too many."""

RESERVED_BYTES = 1 << 28
"""slangpy keeps so much for its own buffers; a launch without it silently renders nothing."""

GIB = 1 << 30


class CudaDevice(SlangDevice):
    """Kernels write into CuPy arrays through their pointers; slangpy joins CuPy's context.

    Args:
        index: Number of the GPU, among those that CUDA_VISIBLE_DEVICES leaves.

    Raises:
        DeviceError: There is no such GPU, or driver, NVRTC, CuPy or slangpy do not go with each
            other; the message names the fix.
        OutputError: The cache's folder cannot be written.
    """

    kind = "cuda"
    exact_arguments = (
        "--fmad=false",
    )  # slangpy 0.43 passes them to no compiler yet, later ones do

    def __init__(self, index: int = 0) -> None:
        driver = read_driver()
        gpu = driver.gpu(index)
        nvrtc = find_nvrtc(driver.version)
        self.name = gpu.name
        try:
            import cupy

            self._cupy, self._index = cupy, index
            with self._gpu(), serve_nvrtc(nvrtc), kept_locale():
                cupy.zeros(1)  # makes CuPy's context current, for slangpy to join
                self._copies = cupy.cuda.Stream(non_blocking=True)
                super().__init__(_open(_kernel_folder(driver, gpu, nvrtc)))
                self._reserve()
        except MemoryError:
            raise self._too_little_memory(0) from None
        except (RuntimeError, ImportError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise DeviceError(
                f"{gpu.name} does not open: {first}; `app.py doctor` looks for the reason"
            ) from None

    def _reserve(self) -> None:
        """Have slangpy take its memory now, before a volume takes all that is left."""
        import slangpy as spy

        if self._gpu().mem_info[0] <= RESERVED_BYTES:
            raise self._too_little_memory(RESERVED_BYTES)
        self._first = self._device.create_buffer(size=16, usage=spy.BufferUsage.shader_resource)

    @override
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Any:
        """As the base class has it.

        Raises:
            DeviceMemoryError: The GPU's memory does not suffice.
        """
        size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            with self._gpu():
                return self._cupy.empty(shape, dtype)
        except MemoryError:
            raise self._too_little_memory(size_bytes) from None

    @override
    def to_device(self, values: ArrayLike) -> Any:
        """As the base class has it.

        Raises:
            DeviceMemoryError: The GPU's memory does not suffice.
        """
        try:
            with self._gpu():
                return self._cupy.ascontiguousarray(self._cupy.asarray(values))
        except MemoryError:
            raise self._too_little_memory(np.asarray(values).nbytes) from None

    @override
    def to_host(self, array: Any, *, settled: bool = False) -> NDArray[Any]:
        """As the base class has it, through pinned memory and on a stream of its own.

        So a copy waits neither for launches that are lined up later, where `settled` allows that,
        nor they for it.
        """
        cuda = self._cupy.cuda
        with self._gpu():
            if array.nbytes > MOST_PINNED_BYTES or not array.flags.c_contiguous:
                return np.asarray(self._cupy.asnumpy(array))
            found = self._pinned(array)
            if not settled:
                written = cuda.Event(block=True, disable_timing=True)
                written.record(cuda.Stream.null)
                self._copies.wait_event(written)
            array.get(stream=self._copies, out=found, blocking=False)
            copied = cuda.Event(block=True, disable_timing=True)
            copied.record(self._copies)
            copied.synchronize()
        return found

    @override
    def owns(self, array: Any) -> bool:
        return isinstance(array, self._cupy.ndarray) and bool(array.flags.c_contiguous)

    def _gpu(self) -> Any:
        """CuPy's current device is each thread's own; this makes it this GPU for a while."""
        return self._cupy.cuda.Device(self._index)

    def _pinned(self, like: Any) -> NDArray[Any]:
        memory = self._cupy.cuda.alloc_pinned_memory(max(like.nbytes, 1))
        return np.frombuffer(memory, like.dtype, like.size).reshape(like.shape)

    @override
    def _compile(self, module: str | KernelText, entry: str, exact: bool) -> Kernel:
        with kept_locale():
            return super()._compile(module, entry, exact)

    def _too_little_memory(self, wanted_bytes: int) -> DeviceMemoryError:
        free, total = self._gpu().mem_info
        return DeviceMemoryError(
            f"{self.name} has too little memory: {wanted_bytes / GIB:.1f} GiB more are wanted, "
            f"{free / GIB:.1f} of {total / GIB:.1f} GiB are free; make the volume smaller "
            "(volume.spacing_mm, volume.crop_mm), close what else uses the GPU, or set "
            "renderer.device: cpu"
        )

    def _pointer(self, array: Any) -> int:
        return int(array.data.ptr)

    @override
    def submit(self, encoder: Any) -> Any:
        super().submit(encoder)
        with self._gpu():
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


def _open(kernels: Path) -> Any:
    """A device of slangpy in the current CUDA context; compiled kernels are kept in a folder."""
    spy: Any = load_slangpy()
    spy.Logger.get().level = spy.LogLevel.error
    return spy.Device(
        type=spy.DeviceType.cuda,
        enable_hot_reload=False,
        shader_cache_path=kernels,
        existing_device_handles=spy.get_cuda_current_context_native_handles(),
    )


def _kernel_folder(driver: NvidiaDriver, gpu: NvidiaGpu, nvrtc: Nvrtc) -> Path:
    """Return the folder of the kernels' PTX; slangpy separates sources and options in it.

    Raises:
        OutputError: It cannot be written.
    """
    folder = cache_dir() / "kernels-cuda" / _kernel_key(driver, gpu, nvrtc)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write compiled kernels to {folder}: {error.strerror}; "
            "name another folder in FLUORO_CACHE_DIR"
        ) from None
    return folder


def _kernel_key(driver: NvidiaDriver, gpu: NvidiaGpu, nvrtc: Nvrtc) -> str:
    """Of all that kernels depend on beside what slangpy looks at: driver, NVRTC, GPU, sources."""
    known = hashlib.sha256()
    facts = (driver_file(), driver.version, nvrtc.library, nvrtc.version, gpu.name, gpu.capability)
    for fact in facts:
        known.update(f"{fact}\0".encode())
    known.update(version("slangpy").encode())
    for source in shader_files():
        known.update(source.read_bytes())
    return known.hexdigest()[:16]
