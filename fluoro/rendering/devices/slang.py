"""What CUDA, Vulkan and Metal share: kernels through slangpy's own dispatch."""

from __future__ import annotations

import ctypes
import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import override

from fluoro.errors import DeviceError, InputError
from fluoro.paths import shader_dirs
from fluoro.rendering.devices.base import ComputeDevice, Interval, KernelText, Launch, Uniform
from fluoro.rendering.devices.launch_queue import LaunchQueue
from fluoro.rendering.devices.slang_errors import first_error
from fluoro.rendering.devices.uniforms import UniformBlock, uniform_places
from fluoro.steady_clock import steady_ns

__all__ = ["Kernel", "SlangDevice", "as_bytes", "load_program"]

_Resources = list[tuple[tuple[str, ...], Any]]
"""Path and texture or sampler."""

DEFINES = {"RAY_LANES": "1", "PACKET_PIXELS": "1"}

POLL_S = 5e-5
"""How often a wait looks whether a launch is done."""


class Kernel:
    """A compiled entry point and where its uniforms lie."""

    def __init__(self, program: Any, pipeline: Any, address: Callable[[Any], int]) -> None:
        self.pipeline = pipeline
        places = uniform_places(program)
        self._resources = {name: p.path for name, p in places.items() if not p.code}
        self._block = UniformBlock(
            {n: (p.offset, p.code) for n, p in places.items() if p.code}, address
        )

    def values(self, uniforms: Mapping[str, Uniform]) -> tuple[_Resources, NDArray[np.uint8]]:
        """Textures and samplers, and the block of all other uniforms."""
        resources = [(path, uniforms[name]) for name, path in self._resources.items()]
        if resources:
            uniforms = {n: each for n, each in uniforms.items() if n not in self._resources}
        return resources, np.frombuffer(bytearray(self._block.pack(uniforms)), np.uint8)


def _bind(cursor: Any, path: Sequence[str], resource: Any) -> None:
    """Set a texture or sampler, which may be in a struct."""
    *structs, last = path
    for each in structs:
        cursor = cursor[each]
    cursor[last] = resource


class SlangDevice(ComputeDevice):
    """Compiles entry points with Slang for the device and dispatches them.

    Subclasses own the arrays: `_pointer` gives an array's device address.

    Attributes:
        exact_arguments: For the compiler that Slang hands a kernel with IEEE arithmetic to.
    """

    exact_arguments: tuple[str, ...] = ()

    def __init__(self, device: Any) -> None:
        self._device = device
        self._kernels: dict[tuple[str | KernelText, str, bool], Kernel] = {}
        self._sessions: dict[tuple[Any, ...], Any] = {}
        self._compiling = threading.Lock()
        self._lock = threading.Lock()
        self._submitted = 0

    @override
    def run(self, launch: Launch) -> None:
        encoder = self.encoder()
        self.encode(encoder, launch)
        self.wait_for(self.submit(encoder))

    def encoder(self) -> Any:
        """Return what takes launches that are submitted together."""
        with self._lock:
            return self._device.create_command_encoder()

    def encode(self, encoder: Any, launch: Launch) -> None:
        """Put a launch behind those that an encoder has; keep the arrays until it is done."""
        import slangpy as spy

        kernel = self._kernel(launch.module, launch.entry, launch.exact)
        resources, block = kernel.values(launch.uniforms)
        with self._lock:
            self._order(encoder)
            with encoder.begin_compute_pass() as compute:
                cursor = spy.ShaderCursor(compute.bind_pipeline(kernel.pipeline))
                cursor.set_data(block)
                for path, resource in resources:
                    _bind(cursor, path, resource)
                compute.dispatch(spy.uint3(*launch.threads))

    def submit(self, encoder: Any) -> Any:
        """Begin with what an encoder has, behind what was submitted before, without waiting.

        Returns:
            The mark that `wait_for` takes.
        """
        with self._lock:  # the newest one is the one that was submitted last
            self._submitted = self._device.submit_command_buffer(encoder.finish())
            return self._submitted

    def wait_for(self, mark: Any) -> None:
        """Return when what was submitted is done, and with it all before.

        slangpy's own ways to wait keep the interpreter's lock: nothing of Python would go on.
        """
        while not self._device.is_submit_finished(mark):
            time.sleep(POLL_S)

    @override
    def queue(self) -> SlangQueue:
        return SlangQueue(self)

    @override
    def texture(self, mu_zyx: NDArray[np.float32]) -> dict[str, Uniform]:
        """As the base class has it.

        Raises:
            InputError: The volume is longer than the device's textures.
        """
        import slangpy as spy

        depth, height, width = mu_zyx.shape
        longest = self._device.info.limits.max_texture_dimension_3d
        if max(mu_zyx.shape) > longest:
            raise InputError(
                f"{self.name} holds textures of up to {longest} voxels a side, the volume has "
                f"{width} x {height} x {depth}: render without (renderer.texture: false)"
            )
        hold = spy.TextureAddressingMode.clamp_to_edge
        linear = spy.TextureFilteringMode.linear
        sampler = self._device.create_sampler(
            min_filter=linear, mag_filter=linear, address_u=hold, address_v=hold, address_w=hold
        )
        texture = self._device.create_texture(
            type=spy.TextureType.texture_3d,
            format=spy.Format.r32_float,
            width=width,
            height=height,
            depth=depth,
            usage=spy.TextureUsage.shader_resource,
            sampler=sampler,
            data=as_bytes(np.ascontiguousarray(mu_zyx)).view(np.float32).reshape(mu_zyx.shape),
        )
        return {"volume": texture, "trilinear": sampler}

    def upload(self, encoder: Any, values: NDArray[Any]) -> Any:
        """The values as an array of the device, for launches that the encoder takes after it."""
        del encoder
        return self.to_device(values)

    def _order(self, encoder: Any) -> None:
        """Have what is encoded next begin when all that was encoded before is done."""
        encoder.global_barrier()

    def _pointer(self, array: Any) -> int:
        raise NotImplementedError

    def _kernel(self, module: str | KernelText, entry: str, exact: bool) -> Kernel:
        key = (module, entry, exact)
        if key not in self._kernels:
            with self._compiling:
                if key not in self._kernels:
                    self._kernels[key] = self._compile(module, entry, exact)
        return self._kernels[key]

    def _session(self, exact: bool) -> Any:
        """What compiles: one for all kernels, so that files which they share are read once."""
        import slangpy as spy

        folders = shader_dirs()
        key = (exact, *folders)
        if key not in self._sessions:
            precise, fast = spy.SlangFloatingPointMode.precise, spy.SlangFloatingPointMode.fast
            options = {
                "include_paths": folders,
                "defines": DEFINES,
                "floating_point_mode": precise if exact else fast,
                "optimization": spy.SlangOptimizationLevel.maximal,
                "downstream_args": list(self.exact_arguments if exact else ()),
            }
            self._sessions[key] = self._device.create_slang_session(compiler_options=options)
        return self._sessions[key]

    def _compile(self, module: str | KernelText, entry: str, exact: bool) -> Kernel:
        import slangpy as spy

        try:
            program = load_program(self._session(exact), module, entry)
            pipeline = self._device.create_compute_pipeline(program)
        except (RuntimeError, spy.SlangCompileError) as error:
            what = first_error(str(error))
            raise DeviceError(f"Slang cannot compile {entry} for {self.name}: {what}") from None
        return Kernel(program, pipeline, self._pointer)

    @override
    def close(self) -> None:
        self._kernels.clear()
        self._sessions.clear()
        self._device.close()


class SlangQueue(LaunchQueue):
    """Launches on the device's own command queue; those of one fence are submitted together.

    So a frame costs one submission, however many launches it is. An array that `to_device` gives is
    there for the queue's own launches, and for others when a fence that is made later is done.
    """

    def __init__(self, device: SlangDevice) -> None:
        super().__init__(device)
        self._slang = device
        self._encoder: Any = None
        self._ended_ns = 0
        self._last: Any = None

    @override
    def to_device(self, values: ArrayLike) -> Any:
        if self._slang.owns(values):
            return values
        return self._slang.upload(self._open_encoder(), np.ascontiguousarray(values))

    @override
    def _push(self, launch: Launch) -> None:
        self._slang.encode(self._open_encoder(), launch)

    def _open_encoder(self) -> Any:
        if self._encoder is None:
            self._encoder = self._slang.encoder()
        return self._encoder

    @override
    def _mark(self) -> tuple[int, Any]:
        begun_ns = steady_ns()
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            self._last = self._slang.submit(encoder)
        return begun_ns, self._last

    @override
    def wait_for(self, mark: tuple[int, Any]) -> Interval:
        """As in the base class; the interval begins with submission, or the last wait's end."""
        begun_ns, submitted = mark
        if submitted is not None:
            self._slang.wait_for(submitted)
        begun_ns = max(begun_ns, self._ended_ns)
        self._ended_ns = steady_ns()
        return Interval(begun_ns=begun_ns, ended_ns=self._ended_ns)


def load_program(session: Any, module: str | KernelText, entry: str) -> Any:
    """Return an entry point as a program of slangpy; a session knows a text by its content."""
    if isinstance(module, str):
        return session.load_program(f"{module}.slang", [entry])
    name = f"{entry}_{hashlib.sha256(module.slang.encode()).hexdigest()[:16]}"
    loaded = session.load_module_from_source(name, module.slang)
    return session.link_program([loaded], [loaded.entry_point(entry)])


def as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The array's own memory as bytes: slangpy refuses read-only arrays, as maps of files are."""
    memory = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    return np.ctypeslib.as_array(memory)
