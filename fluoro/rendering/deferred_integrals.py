"""Line integrals that are computed where they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["DeferredIntegrals", "PixelStage"]


class PixelStage(NamedTuple):
    """A stage of single pixels that is put together in Python.

    Attributes:
        head: Slang that includes or imports what the struct needs.
        struct: Type of the stage (IPixelStage in shaders/pixel_stage.slang).
    """

    head: str
    struct: str


@dataclass(frozen=True, kw_only=True, eq=False)
class DeferredIntegrals:
    """What the image chain takes for line integrals, to integrate each pixel's ray itself.

    Attributes:
        stage: The stage that does so.
        uniforms: What it takes.
        shape: Of the image (height, width).
        render: The line integrals, for who needs them as an image.
    """

    stage: PixelStage
    uniforms: Mapping[str, Any]
    shape: tuple[int, int]
    render: Callable[[], Any]
