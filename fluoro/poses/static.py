"""The same pose for every frame."""

from __future__ import annotations

from typing import Literal

from fluoro.poses.base import PoseConfig, PoseSourceSection

__all__ = ["StaticPoses"]


class StaticPoses(PoseConfig, PoseSourceSection):
    """The same pose for every frame."""

    kind: Literal["static"]
