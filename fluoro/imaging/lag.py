"""Lag of a flat panel: how much of a frame comes out when."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoro.config import LagConfig

__all__ = ["lag_shares"]


def lag_shares(config: LagConfig) -> dict[str, Any]:
    """Uniforms of the kernel: the response direct + sum of b exp(-a k), by running means.

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
