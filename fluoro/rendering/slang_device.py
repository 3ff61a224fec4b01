"""What CUDA, Vulkan and Metal share: kernels through slangpy's own dispatch."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from fluoro.errors import DeviceError, InputError
from fluoro.paths import shader_dir
from fluoro.rendering.devices import ComputeDevice, Threads, Uniform

__all__ = ["SlangDevice", "as_bytes"]

DEFINES = {"RAY_LANES": "1"}


class SlangDevice(ComputeDevice):
    """Compiles entry points with Slang for the device and dispatches them.

    Subclasses own the arrays: `_pointer` gives an array's device address.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._kernels: dict[tuple[str, str, bool], Any] = {}

    @override
    def launch(
        self,
        module: str,
        entry: str,
        threads: Threads,
        uniforms: Mapping[str, Uniform],
        *,
        exact: bool = False,
    ) -> None:
        kernel = self._kernel(module, entry, exact)
        values = {name: self._value(value) for name, value in uniforms.items()}
        import slangpy as spy

        self._before()
        kernel.dispatch(thread_count=spy.uint3(*threads), vars=values)
        self._after()

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

    def _before(self) -> None:
        """Called before a dispatch."""

    def _after(self) -> None:
        """Called after a dispatch; returns when results are there."""
        self._device.wait_for_idle()

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

    def _kernel(self, module: str, entry: str, exact: bool) -> Any:
        key = (module, entry, exact)
        if key not in self._kernels:
            self._kernels[key] = self._compile(module, entry, exact)
        return self._kernels[key]

    def _compile(self, module: str, entry: str, exact: bool) -> Any:
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
            program = session.load_program(f"{module}.slang", [entry])
            return self._device.create_compute_kernel(program)
        except RuntimeError as error:
            first = next((line for line in str(error).splitlines() if "error" in line), str(error))
            raise DeviceError(f"Slang cannot compile {entry} for {self.name}: {first}") from None

    @override
    def close(self) -> None:
        self._kernels.clear()
        self._device.close()


def as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The array's own memory as bytes: slangpy refuses read-only arrays, as maps of files are."""
    memory = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    return np.ctypeslib.as_array(memory)
