"""Stages of single pixels put together: one kernel that runs them one after the other.

A stage that looks at no other pixel is a struct in shaders/stages/<stage>.slang, its uniforms the
members. Alone it has an entry point there; here the structs of several stages become one kernel's
text. The values are bit-identical to those of separate stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from fluoro.errors import InputError
from fluoro.rendering.deferred_integrals import PixelStage
from fluoro.rendering.devices.base import ComputeDevice, KernelText

__all__ = ["FUSED_ENTRY", "SlopeRunner", "Stage", "StageRunner", "fused_kernel"]

FUSED_ENTRY = "pixel_stages"
"""Entry point of every kernel that is put together here."""

Uniforms = Mapping[str, Any]
Stage = str | PixelStage
"""A struct of shaders/stages/, by its file's name, or one that is put together elsewhere."""
Size = tuple[int, int, int]
"""Columns, rows, 1."""


class StageRunner:
    """Runs stages on images, one launch a stage, or one for neighbours that can be put together.

    Args:
        device: Where the images are.
        fused: Let stages of single pixels wait for those that follow on the same image. They
            run when another stage comes, or at `finish`.
    """

    def __init__(self, device: ComputeDevice, *, fused: bool) -> None:
        self._device, self._fused = device, fused
        self._waiting: list[tuple[Stage, Uniforms]] = []
        self._image: Any = None
        self._size = (0, 0, 1)

    def run(self, stage: Stage, image: Any, size: Size, uniforms: Uniforms) -> None:
        """A stage that looks at no other pixel of the image: a struct with RUNS_ALONE.

        That others of its size are read at the same pixel, or a small one of cells, or the volume
        along the pixel's ray, is no hindrance: they are complete before.
        """
        if image is not self._image:
            self.finish()
            self._image, self._size = image, size
        self._waiting.append((stage, uniforms))
        if not self._fused and isinstance(stage, str):
            self.finish()

    def run_alone(self, name: str, image: Any, size: Size, uniforms: Uniforms) -> None:
        """A stage whose threads have a pixel each, by itself."""
        self.finish()
        self._launch(name, name, size, image, size, uniforms)

    def run_packets(
        self, module: str, entry: str, image: Any, size: Size, uniforms: Uniforms
    ) -> None:
        """A stage whose threads carry a packet of pixels each."""
        self.finish()
        self._launch(module, entry, self._packets(size), image, size, uniforms)

    def finish(self) -> None:
        """Run the stages that wait."""
        waiting, image, size = self._waiting, self._image, self._size
        self._waiting, self._image = [], None
        if waiting:
            self._run_waiting(waiting, image, size)

    def _run_waiting(self, waiting: list[tuple[Stage, Uniforms]], image: Any, size: Size) -> None:
        first, uniforms = waiting[0]
        if len(waiting) == 1 and isinstance(first, str):
            self._launch(first, first, self._packets(size), image, size, uniforms)
        else:
            kernel = fused_kernel(tuple(stage for stage, _ in waiting))
            self._launch_fused(kernel, image, size, _together(waiting))

    def _launch_fused(self, kernel: KernelText, image: Any, size: Size, uniforms: Uniforms) -> None:
        self._launch(kernel, FUSED_ENTRY, self._packets(size), image, size, uniforms)

    def _packets(self, size: Size) -> Size:
        return -(-size[0] // self._device.packet_pixels), size[1], 1

    def _launch(
        self,
        module: str | KernelText,
        entry: str,
        threads: Size,
        image: Any,
        size: Size,
        uniforms: Uniforms,
    ) -> None:
        shared = {"image": image, "image_size": size}
        self._device.launch(module, entry, threads, {**shared, **uniforms}, exact=True)


class SlopeRunner(StageRunner):
    """Runs stages of single pixels together with their derivative; it refuses others.

    Args:
        device: Where the images are.
        take: Is given the product of the slopes of the stages of each launch: an array of the
            device like the image.
    """

    def __init__(self, device: ComputeDevice, take: Callable[[Any], None]) -> None:
        super().__init__(device, fused=True)
        self._take = take

    def _launch(
        self,
        module: str | KernelText,
        entry: str,
        threads: Size,
        image: Any,
        size: Size,
        uniforms: Uniforms,
    ) -> None:
        """Refuse what is not put together of stages.

        Raises:
            InputError: A kernel that may look at other pixels.
        """
        if isinstance(module, str):
            raise InputError(
                f"the stage of kernel {entry} has no derivative in kernels: it must define "
                "run_linear, because the kernel may look at other pixels"
            )
        super()._launch(module, entry, threads, image, size, uniforms)

    def _run_waiting(self, waiting: list[tuple[Stage, Uniforms]], image: Any, size: Size) -> None:
        slopes = self._device.empty((size[1], size[0]))
        kernel = fused_kernel(tuple(stage for stage, _ in waiting), slopes=True)
        self._launch_fused(kernel, image, size, {"slopes": slopes, **_together(waiting)})
        self._take(slopes)


def _together(stages: list[tuple[Stage, Uniforms]]) -> dict[str, Any]:
    """The stages' uniforms under the names that the kernel of them all has."""
    together: dict[str, Any] = {}
    for i, (_, uniforms) in enumerate(stages):
        together.update(zip(_member_names(i, tuple(uniforms)), uniforms.values(), strict=True))
    return together


@cache
def _member_names(stage: int, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"stage_{stage}.{name}" for name in names)


@cache
def fused_kernel(stages: tuple[Stage, ...], *, slopes: bool = False) -> KernelText:
    """Return the kernel, entry point `FUSED_ENTRY`, that runs stages of single pixels in order.

    Args:
        stages: Which ones.
        slopes: Also write the product of their slopes (shaders/fused_slopes.slang).
    """
    heads = [_head(stage) for stage in dict.fromkeys(stages)]
    uniforms = [f"uniform {_struct(stage)} stage_{i};" for i, stage in enumerate(stages)]
    run, more = ("run_sloped", ", slope") if slopes else ("run", "")
    runs = [f"    {run}(stage_{i}, packet, value{more});" for i in range(len(stages))]
    if slopes:
        begin = ["    float slope[PACKET_PIXELS];", "    begin_slopes(packet, slope);"]
        runs = [*begin, *runs, "    store_slopes(packet, slope);"]
    lines = [
        "#define FUSED",
        f'#include "{"fused_slopes" if slopes else "pixel_stage"}.slang"',
        *heads,
        *uniforms,
        '[shader("compute")]',
        "[numthreads(GROUP_COLUMNS, GROUP_ROWS, 1)]",
        f"void {FUSED_ENTRY}(uint3 thread: SV_DispatchThreadID)",
        "{",
        "    Packet packet = Packet::of(thread);",
        "    if (packet.count == 0)",
        "        return;",
        "    float value[PACKET_PIXELS];",
        "    packet.load(value);",
        *runs,
        "    packet.store(value);",
        "}",
    ]
    text = "\n".join(lines) + "\n"
    names = ", ".join(_struct(stage) for stage in stages)
    return KernelText(text, f"slopes of {names}") if slopes else KernelText(text)


def _head(stage: Stage) -> str:
    return stage.head if isinstance(stage, PixelStage) else f'#include "{stage}.slang"'


def _struct(stage: Stage) -> str:
    """gain_bias: GainBias."""
    if isinstance(stage, PixelStage):
        return stage.struct
    return "".join(word.capitalize() for word in stage.split("_"))
