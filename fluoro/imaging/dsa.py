"""Subtraction: which part of a series a frame is, mask, trace of the vessels or what follows."""

from __future__ import annotations

from dataclasses import dataclass

from fluoro.config import DsaConfig
from fluoro.imaging.memory import FrameMemory

__all__ = ["DsaTurn", "dsa_turn"]


@dataclass(frozen=True, kw_only=True)
class DsaTurn:
    """What is done with one frame of a series.

    Attributes:
        mask_weight: With which it enters the mask's mean; 0: the mask is complete.
        traces: Whether its vessels are traced for the roadmap.
        guides: Whether the traced vessels are laid over it.
    """

    mask_weight: float
    traces: bool
    guides: bool


def series_turn(config: DsaConfig, index: int) -> DsaTurn:
    """The turn of a frame that is the so-manieth of its series, from 0."""
    after = index - config.mask_frames
    roadmap = config.roadmap
    return DsaTurn(
        mask_weight=1 / (index + 1) if after < 0 else 0.0,
        traces=roadmap is not None and 0 <= after < roadmap.frames,
        guides=roadmap is not None and after >= roadmap.frames,
    )


def dsa_turn(config: DsaConfig, memory: FrameMemory) -> DsaTurn | None:
    """The turn of the frame at hand; None: its series has not begun.

    Another first frame than before begins another series.
    """
    if memory.changed("dsa_first", config.first_frame):
        memory.forget("dsa")
        memory.changed("dsa_first", config.first_frame)
    if memory.number < config.first_frame:
        return None
    return series_turn(config, memory.count("dsa_frames"))
