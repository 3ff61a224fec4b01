"""What a frame's image depends on besides its own integrals: derivatives hold it fixed."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluoro.imaging.frame_history import FrameMemory

__all__ = ["FrameState"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameState:
    """What earlier frames and the seed have settled before a frame is exposed.

    Attributes:
        seed: Of the pixels' pattern.
        number: Of the frame.
        memory: What the stages remember, in NumPy; empty: nothing was exposed.
    """

    seed: int = 0
    number: int = 0
    memory: FrameMemory = field(default_factory=FrameMemory)
