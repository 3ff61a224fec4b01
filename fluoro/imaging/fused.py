"""Stages of single pixels put together: one kernel that runs them one after the other.

A stage that looks at no other pixel is a struct in shaders/stages/<stage>.slang, its uniforms the
members. Alone it has an entry point there; here the structs of several stages become one kernel's
text. The values are bit-identical to those of separate stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from fluoro.rendering.deferred_integrals import PixelStage
from fluoro.rendering.devices.base import ComputeDevice, KernelText

__all__ = ["FUSED_ENTRY", "Stage", "StageRunner", "fused_kernel"]

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
        first = waiting[0][0] if waiting else None
        if len(waiting) == 1 and isinstance(first, str):
            self._launch(first, first, self._packets(size), image, size, waiting[0][1])
        elif waiting:
            kernel = fused_kernel(tuple(stage for stage, _ in waiting))
            together = _together(waiting)
            self._launch(kernel, FUSED_ENTRY, self._packets(size), image, size, together)

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
def fused_kernel(stages: tuple[Stage, ...]) -> KernelText:
    """Return the kernel, entry point `FUSED_ENTRY`, that runs stages of single pixels in order."""
    heads = [_head(stage) for stage in dict.fromkeys(stages)]
    uniforms = [f"uniform {_struct(stage)} stage_{i};" for i, stage in enumerate(stages)]
    runs = [f"    run(stage_{i}, packet, value);" for i in range(len(stages))]
    lines = [
        "#define FUSED",
        '#include "pixel_stage.slang"',
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
    return KernelText("\n".join(lines) + "\n")


def _head(stage: Stage) -> str:
    return stage.head if isinstance(stage, PixelStage) else f'#include "{stage}.slang"'


def _struct(stage: Stage) -> str:
    """gain_bias: GainBias."""
    if isinstance(stage, PixelStage):
        return stage.struct
    return "".join(word.capitalize() for word in stage.split("_"))
