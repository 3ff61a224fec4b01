"""1 - normalised cross-correlation of the whole image and of overlapping quarters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.registration.measures.similarity import MultiScaleNcc

__all__ = ["QuartersNcc"]


class QuartersNcc(MultiScaleNcc):
    """Half of the weight is on tiles with half of the image's shorter edge."""

    def __init__(self, target: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> None:
        super().__init__(target, mask, tiles_px=(0, max(4, min(target.shape) // 2)))
