"""Subtraction: gathers the mask, takes it away, traces the vessels and lays them over the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fluoro.config import DsaConfig, ImageChainConfig
from fluoro.imaging.frame_history import FrameMemory
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import moved
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, present, settings
from fluoro.imaging.tape import Tape

__all__ = ["Dsa", "DsaTurn", "series_turn"]


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


class Dsa(Stage):
    """ln(mask) - ln(live), and a roadmap of the vessels."""

    keys = ("dsa",)
    example = settings(
        log=True,
        dsa={
            "mask_frames": 1,
            "pixel_shift": [1.25, -0.5],
            "roadmap": {"frames": 1},
            "window": {"level": 0.0, "width": 6.0},
        },
    )
    text = "Subtraction of a mask, and a roadmap of the vessels."
    remembers = "dsa"
    mixes_pixels = True  # a moved mask, while the frame enters it

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Subtract the mask from the image where its series has begun."""
        kernels.finish()  # whether a frame is subtracted or not, its other kernels are the same
        turn = _turn(_given(frame), frame.memory)
        if turn is not None:
            _subtract(frame, turn, kernels)
            kernels.finish()

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Subtract the mask, and note the transpose of the frame's own share of it."""
        turn = _turn(_given(frame), frame.memory)
        if turn is not None:
            tape.through(partial(_subtract, frame, turn), partial(_pull, frame, turn.mask_weight))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the difference; the derivative holds what earlier frames left."""
        config, memory = _given(frame), frame.memory
        turn = _turn(config, memory)
        if turn is None:
            return x, lambda y: y
        frame.subtracted = True
        weight, before = turn.mask_weight, memory.stored("dsa_mask")
        mask = x if before is None else before[0] + weight * (x - before[0])
        memory.store("dsa_mask", mask[None])
        move = moved(frame.shape, *config.pixel_shift)
        shown = x - move.apply(mask)
        peak = memory.stored("dsa_peak")
        if turn.traces:
            memory.store("dsa_peak", shown[None] if peak is None else np.maximum(shown, peak))
        if turn.guides and config.roadmap and peak is not None:
            shown = shown - config.roadmap.opacity * peak[0]
        return np.asarray(shown), lambda y: np.asarray(y - weight * move.transpose(y))

    def rehearsed(self, config: ImageChainConfig) -> tuple[ImageChainConfig, Sequence[bool]]:
        """Return a series that begins with frame 0, each part one frame long.

        With a roadmap: a mask, a frame whose vessels are traced, and one that they guide.
        """
        given = config.dsa
        if given is None:
            return config, [True]
        roadmap = given.roadmap and given.roadmap.model_copy(update={"frames": 1})
        once = {"first_frame": 0, "mask_frames": 1, "roadmap": roadmap}
        series = given.model_copy(update=once)
        return config.model_copy(update={"dsa": series}), [True] * (3 if roadmap else 1)


def _subtract(frame: FrameContext, turn: DsaTurn, kernels: KernelRun) -> None:
    config, memory = _given(frame), frame.memory
    frame.subtracted = True
    mask, _ = memory.layers("dsa_mask", 1)
    if turn.mask_weight > 0:
        kernels.pixels("mask_mean", mask=mask, weight=turn.mask_weight)
        kernels.finish()  # the mask is read beside the pixel
    kernels.pixels("subtract_mask", mask=mask, shift_px=_shift_px(config))
    if turn.traces:
        peak, fresh = memory.layers("dsa_peak", 1)
        kernels.pixels("peak_hold", peak=peak, fresh=fresh)
    if turn.guides and config.roadmap:
        peak, _ = memory.layers("dsa_peak", 1)
        kernels.pixels("roadmap", peak=peak, opacity=float(config.roadmap.opacity))


def _pull(frame: FrameContext, weight: float, kernels: KernelRun) -> None:
    """Give back to the frame's own share of the mask."""
    if weight == 0:
        return
    kernels.finish()
    shift_px = _shift_px(_given(frame))
    kernels.alone("mask_back", source=kernels.replaced(), weight=weight, shift_px=shift_px)


def _shift_px(config: DsaConfig) -> tuple[float, float, float]:
    column, row = config.pixel_shift
    return float(column), float(row), 0.0


def _given(frame: FrameContext) -> DsaConfig:
    return present(frame.config.dsa)


def series_turn(config: DsaConfig, index: int) -> DsaTurn:
    """Return the turn of a frame by its place in the series, from 0."""
    after = index - config.mask_frames
    roadmap = config.roadmap
    return DsaTurn(
        mask_weight=1 / (index + 1) if after < 0 else 0.0,
        traces=roadmap is not None and 0 <= after < roadmap.frames,
        guides=roadmap is not None and after >= roadmap.frames,
    )


def _turn(config: DsaConfig, memory: FrameMemory) -> DsaTurn | None:
    """Return the turn of the frame at hand; None: its series has not begun.

    Another first frame than before begins another series.
    """
    if memory.changed("dsa_first", config.first_frame):
        memory.forget("dsa")
        memory.changed("dsa_first", config.first_frame)
    if memory.number < config.first_frame:
        return None
    return series_turn(config, memory.count("dsa_frames"))
