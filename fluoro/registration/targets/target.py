"""What a registration is held to: an attenuation-like image and the pixels of it that count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.registration.measures.similarity import checked_target

__all__ = ["Target"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """An attenuation-like image: larger where more was in the beam.

    Attributes:
        image: Shape (height, width), float32; line integrals, up to a constant or up to a
            monotonic law, as `prepare` says in its notes.
        mask: Pixels that count, same shape.
        i0: Intensity of the open field in the source's unit, where it was used.
        notes: What had to be assumed or left out, one clause each, for the user.

    Raises:
        InputError: Shapes that differ, an empty mask, a constant image or values in the mask
            that are not finite.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    i0: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        image, mask = checked_target(np.asarray(self.image, np.float32), self.mask)
        object.__setattr__(self, "image", image)
        object.__setattr__(self, "mask", mask)
