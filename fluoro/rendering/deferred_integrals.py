"""Line integrals that are computed where they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["UnrenderedIntegrals"]


@dataclass(frozen=True, kw_only=True, eq=False)
class UnrenderedIntegrals:
    """What the image chain takes for line integrals, to integrate each pixel's ray itself.

    Attributes:
        stage: Kernel that does so (shaders/<stage>.slang).
        uniforms: What it takes.
        shape: Of the picture (height, width).
        render: The line integrals, for who needs them as a picture.
    """

    stage: str
    uniforms: Mapping[str, Any]
    shape: tuple[int, int]
    render: Callable[[], Any]
