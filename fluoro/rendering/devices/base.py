"""Compute devices: where arrays are stored and where kernels run.

One set of Slang sources serves all of them. On CUDA and the CPU a kernel works directly on the
caller's CuPy or NumPy arrays through their pointers; on Vulkan and Metal arrays are device
buffers, and a result comes to the host through one copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fluoro.errors import InputError

__all__ = ["ComputeDevice", "Fence", "Interval", "KernelText", "Launch", "Uniform"]

Uniform = Any
"""A Python int or float, a tuple of three of a kind, or an array of the device."""

Threads = tuple[int, int, int]


@dataclass(frozen=True)
class KernelText:
    """A kernel that is put together in Python.

    Attributes:
        slang: Its source; files of shaders/ can be included.
        name: For messages.
        scatters: Its threads add to the same numbers: one ray a thread, and on a CPU one thread.
    """

    slang: str
    name: str = "a kernel put together"
    scatters: bool = False

    def __str__(self) -> str:
        return self.name


class Launch(NamedTuple):
    """One run of an entry point: the arguments of `ComputeDevice.launch`."""

    module: str | KernelText
    entry: str
    threads: Threads
    uniforms: Mapping[str, Uniform]
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Interval:
    """When launches ran.

    Attributes:
        begun_ns: When the first one began, Unix time [ns].
        ended_ns: When the last one ended, Unix time [ns].
    """

    begun_ns: int
    ended_ns: int


class Fence:
    """Stands for launches that may not be done; this one for launches that waited themselves."""

    def wait(self) -> Interval | None:
        """Return when the launches are done: when they ran, if that is known."""
        return None


class ComputeDevice(ABC):
    """What the renderer and the image chain need of a device.

    Attributes:
        kind: "cpu", "cuda", "vulkan" or "metal".
        name: What a user would call it, e.g. the adapter's name.
        rays_per_thread: Neighbouring pixels of a row that one thread of a projector carries.
        packet_pixels: The same of a kernel of the image chain whose threads carry packets.
        on_host: Whether arrays lie in the machine's own memory, so that `to_host` copies nothing.
        one_order: Whether the launches of all queues run in the order in which they are launched;
            of others `after` puts one behind those of another queue.
    """

    kind: str
    name: str
    rays_per_thread: int = 1
    packet_pixels: int = 1
    on_host: bool = False
    one_order: bool = True

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        """Return the device itself: what is copied goes on using it."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, in one line."""
        raise TypeError(
            f"{type(self).__name__} cannot be pickled: a device belongs to its process, open it "
            "and make what uses it again"
        )

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Any:
        """Return an uninitialised C-contiguous array of the device."""

    @abstractmethod
    def to_device(self, values: ArrayLike) -> Any:
        """Return the values as an array of the device; no copy where they already are one."""

    @abstractmethod
    def to_host(self, array: Any, *, settled: bool = False) -> NDArray[Any]:
        """Return the array as NumPy; on the CPU the same memory.

        Args:
            array: Of the device.
            settled: The launches that write the array are known to be done, so that others which
                are lined up need not be waited for.
        """

    @abstractmethod
    def owns(self, array: Any) -> bool:
        """Return whether kernels of this device can work on `array` as it is."""

    def launch(
        self,
        module: str | KernelText,
        entry: str,
        threads: Threads,
        uniforms: Mapping[str, Uniform],
        *,
        exact: bool = False,
    ) -> None:
        """Run an entry point and return when its results can be read; a `LaunchQueue` lines it up.

        Args:
            module: Slang file in shaders/ or a folder in it, without suffix; or the kernel's text.
            entry: Compute entry point in it.
            threads: Number of threads along columns, rows and layers.
            uniforms: Value of every uniform by name; of a member of a struct by `struct.member`,
                and by `member` alone where the struct is the only one with such a member
                (`fluoro.rendering.devices.uniforms.BARE`).
            exact: IEEE arithmetic without reordering or contraction, for equal photon counts.

        Raises:
            DeviceError: The kernel does not compile or fails.
        """
        self.run(Launch(module, entry, threads, uniforms, exact))

    @abstractmethod
    def run(self, launch: Launch) -> None:
        """`launch`, with its arguments in one."""

    def fence(self) -> Fence:
        """Of the launches since the last fence."""
        return Fence()

    def after(self, fence: Fence) -> None:
        """Have the next launch begin when those of another queue's fence are done.

        Launches that wait themselves, or that all keep one order, need nothing done for that.
        """
        del fence

    def finish(self) -> None:
        """Return when the results of all launches can be read."""
        self.fence().wait()

    def watch(self, tell: Callable[[int, int], None]) -> None:
        """Have `tell` called with the numbers of kernels compiled so far and of those to compile.

        A device whose kernels are compiled one by one, when they are launched, calls nothing.
        """
        del tell

    @abstractmethod
    def queue(self) -> ComputeDevice:
        """A `LaunchQueue` on the device, whose launches line up; close it before the device."""

    def texture(self, mu_zyx: NDArray[np.float32]) -> dict[str, Uniform]:
        """Return values in a 3D texture and how it is sampled: uniforms `volume` and `trilinear`.

        Args:
            mu_zyx: Shape (z, y, x).

        Raises:
            InputError: The device has no textures, or none as large.
        """
        del mu_zyx
        raise InputError(
            f"the {self.kind} device has no textures: render without (renderer.texture: false)"
        )

    @abstractmethod
    def close(self) -> None:
        """Give back what the device holds; arrays of it must not be used afterwards."""
