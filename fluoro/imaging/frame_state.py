"""What a frame's picture depends on besides its own integrals: derivatives hold it fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from fluoro.config import DsaConfig, ImageChainConfig
from fluoro.imaging.dsa import series_turn
from fluoro.imaging.memory import FrameMemory, KeptNumbers

__all__ = ["FrameState", "SubtractionState", "first_state", "state_of"]

Image = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class SubtractionState:
    """What a subtraction takes from a frame.

    Attributes:
        mask: Mean of the mask's frames so far, shape (height, width); None: there is none yet.
        mask_weight: With which the frame enters the mask before it is taken away; 0: complete.
        overlay: What a roadmap takes away besides, shape (height, width); None: nothing.
    """

    mask: Image | None = None
    mask_weight: float = 1.0
    overlay: Image | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameState:
    """What earlier frames and the seed have settled before a frame is exposed.

    Attributes:
        seed: Of the pixels' pattern.
        numbers: What the brightness control has come to.
        trapped: The lag's running means [photons], shape (4, height, width); None: nothing was
            exposed.
        smoothed: Mean of the temporal filter, shape (height, width); None: there is none yet.
        subtraction: Of the frame's series; None: it has not begun, or nothing is subtracted.
    """

    seed: int = 0
    numbers: Mapping[str, float] = field(default_factory=KeptNumbers)
    trapped: Image | None = None
    smoothed: Image | None = None
    subtraction: SubtractionState | None = None


def first_state(config: ImageChainConfig, seed: int = 0) -> FrameState:
    """The state before the first frame, number 0, of a run."""
    return FrameState(seed=seed, subtraction=_first_of_series(config.dsa))


def state_of(
    memory: FrameMemory, config: ImageChainConfig, frame_number: int, seed: int
) -> FrameState:
    """The state in which a chain's memory leaves the next frame; copies, on the host."""
    smoothed = memory.copy("recursive_filter") if config.recursive_filter_weight < 1 else None
    return FrameState(
        seed=seed,
        numbers=KeptNumbers(memory.numbers if config.brightness else {}),
        trapped=memory.copy("lag") if config.lag else None,
        smoothed=None if smoothed is None else smoothed[0],
        subtraction=_subtraction(memory, config.dsa, frame_number),
    )


def _first_of_series(config: DsaConfig | None) -> SubtractionState | None:
    begins = config is not None and config.first_frame == 0
    return SubtractionState() if begins else None


def _subtraction(
    memory: FrameMemory, config: DsaConfig | None, frame_number: int
) -> SubtractionState | None:
    if config is None or frame_number < config.first_frame:
        return None
    if memory.counted("dsa_first", config.first_frame) != config.first_frame:
        return SubtractionState()  # another series begins
    turn = series_turn(config, memory.counted("dsa_frames", 0))
    mask, peak = memory.copy("dsa_mask"), memory.copy("dsa_peak")
    guides = turn.guides and config.roadmap is not None and peak is not None
    return SubtractionState(
        mask=None if mask is None else mask[0],
        mask_weight=turn.mask_weight,
        overlay=config.roadmap.opacity * peak[0].astype(float) if guides else None,  # type: ignore[union-attr,index]
    )
