"""Lag of a flat panel: how much of a frame comes out when."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoro.config import LagConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, affine, present, settings

__all__ = ["Lag", "lag_shares"]


class Lag(Stage):
    """Part of a frame's charge is trapped and comes out in later frames, in four exponentials."""

    keys = ("lag",)
    example = settings(lag={})
    text = "Part of a frame's charge comes out in later frames, in four exponentials."
    remembers = "lag"

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Trap a part of the image and add what was trapped."""
        trapped, fresh = frame.memory.layers("lag", 4)
        shares = kernels.tables.of(lag_shares, frame.config.lag)
        kernels.pixels("lag", trapped=trapped, fresh=fresh, **shares)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return what is read; the derivative holds what earlier frames have trapped."""
        shares = lag_shares(present(frame.config.lag))
        keep, share = shares["keep"].astype(float), shares["share"].astype(float)
        kept = frame.memory.stored("lag")
        trapped = np.zeros((4, *x.shape)) if kept is None else kept
        frame.memory.store("lag", x + keep[:, None, None] * (trapped - x))
        offset = np.tensordot(share * keep, trapped, 1)
        return affine(x, shares["direct"] + float(share @ (1 - keep)), offset)


def lag_shares(config: LagConfig) -> dict[str, Any]:
    """Return uniforms of the kernel: direct + sum of b exp(-a k), by running means.

    A running mean q = q exp(-a) + x (1 - exp(-a)) answers one frame with (1 - exp(-a)) exp(-a k),
    so its share is b / (1 - exp(-a)); what the four shares leave is direct.

    Returns:
        `keep` and `share`, float32 of shape (4,), and `direct`.
    """
    rates = np.array(config.rates_per_frame)
    share = np.array(config.amplitudes) / -np.expm1(-rates)
    return {
        "keep": np.exp(-rates).astype(np.float32),
        "share": share.astype(np.float32),
        "direct": float(1 - share.sum()),
    }
