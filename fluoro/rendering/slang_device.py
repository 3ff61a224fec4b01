"""What CUDA, Vulkan and Metal share: kernels through slangpy's own dispatch."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from fluoro.errors import DeviceError, InputError
from fluoro.paths import shader_dir
from fluoro.rendering.devices import ComputeDevice, KernelText, Launch, Span, Uniform
from fluoro.rendering.launch_queue import LaunchQueue
from fluoro.rendering.uniforms import nested, uniform_places

__all__ = ["SlangDevice", "as_bytes"]

DEFINES = {"RAY_LANES": "1", "FUSED_PIXELS": "1"}

_Paths = dict[str, tuple[str, ...]]
"""Where a kernel's uniforms are, by name: in which structs."""

POLL_S = 5e-5
"""How often a wait looks whether a launch is done."""


class SlangDevice(ComputeDevice):
    """Compiles entry points with Slang for the device and dispatches them.

    Subclasses own the arrays: `_pointer` gives an array's device address.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._kernels: dict[tuple[str | KernelText, str, bool], tuple[Any, _Paths]] = {}
        self._lock = threading.Lock()
        self._submitted = 0

    @override
    def run(self, launch: Launch) -> None:
        self.wait_for(self.submit(launch))

    def submit(self, launch: Launch) -> Any:
        """Launch behind what was launched before, without waiting; keep the arrays until then.

        Returns:
            What `wait_for` knows the launch by.
        """
        module, entry, threads, uniforms, exact = launch
        kernel, paths = self._kernel(module, entry, exact)
        values = nested({name: self._value(each) for name, each in uniforms.items()}, paths)
        import slangpy as spy

        with self._lock:  # the newest one is the one that was submitted last
            encoder = self._device.create_command_encoder()
            self._order(encoder)
            kernel.dispatch(thread_count=spy.uint3(*threads), vars=values, command_encoder=encoder)
            self._submitted = self._device.submit_command_buffer(encoder.finish())
            return self._submitted

    def wait_for(self, mark: Any) -> None:
        """Return when a launch is done, and with it all before.

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

    def _order(self, encoder: Any) -> None:
        """Have what is encoded next begin when all that was launched before is done."""
        encoder.global_barrier()

    def _pointer(self, array: Any) -> int:
        raise NotImplementedError

    def _value(self, value: Uniform) -> Any:
        import slangpy as spy

        if isinstance(value, tuple):
            is_float = isinstance(value[0], float)
            return spy.float3(*value) if is_float else spy.int3(*value)
        if isinstance(value, int | float | spy.Texture | spy.Sampler):
            return value
        return self._pointer(value)

    def _kernel(self, module: str | KernelText, entry: str, exact: bool) -> tuple[Any, _Paths]:
        key = (module, entry, exact)
        if key not in self._kernels:
            self._kernels[key] = self._compile(module, entry, exact)
        return self._kernels[key]

    def _compile(self, module: str | KernelText, entry: str, exact: bool) -> tuple[Any, _Paths]:
        import slangpy as spy

        mode = spy.SlangFloatingPointMode.precise if exact else spy.SlangFloatingPointMode.fast
        options = {
            "include_paths": [shader_dir()],
            "defines": DEFINES,
            "floating_point_mode": mode,
            "optimization": spy.SlangOptimizationLevel.maximal,
        }
        try:
            session = self._device.create_slang_session(compiler_options=options)
            program = _program(session, module, entry)
            paths = {name: place.path for name, place in uniform_places(program).items()}
            return self._device.create_compute_kernel(program), paths
        except (RuntimeError, spy.SlangCompileError) as error:
            first = next((line for line in str(error).splitlines() if "error" in line), str(error))
            raise DeviceError(f"Slang cannot compile {entry} for {self.name}: {first}") from None

    @override
    def close(self) -> None:
        self._kernels.clear()
        self._device.close()


class SlangQueue(LaunchQueue):
    """Launches on the device's own command queue, in the order in which all queues launch."""

    def __init__(self, device: SlangDevice) -> None:
        super().__init__(device)
        self._slang = device
        self._begun_ns: int | None = None
        self._ended_ns = 0
        self._last: Any = None

    @override
    def _push(self, launch: Launch) -> None:
        self._begun_ns = self._begun_ns or time.time_ns()
        self._last = self._slang.submit(launch)

    @override
    def _mark(self) -> tuple[int, Any]:
        begun_ns, self._begun_ns = self._begun_ns or time.time_ns(), None
        return begun_ns, self._last

    @override
    def wait_for(self, mark: tuple[int, Any]) -> Span:
        """As the base class has it; the span begins with the launch, or the last wait's end."""
        begun_ns, launched = mark
        if launched is not None:
            self._slang.wait_for(launched)
        begun_ns = max(begun_ns, self._ended_ns)
        self._ended_ns = time.time_ns()
        return Span(begun_ns=begun_ns, ended_ns=self._ended_ns)


def _program(session: Any, module: str | KernelText, entry: str) -> Any:
    if isinstance(module, str):
        return session.load_program(f"{module}.slang", [entry])
    loaded = session.load_module_from_source(entry, module.slang)
    return session.link_program([loaded], [loaded.entry_point(entry)])


def as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The array's own memory as bytes: slangpy refuses read-only arrays, as maps of files are."""
    memory = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    return np.ctypeslib.as_array(memory)
