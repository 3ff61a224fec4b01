"""How a stored image lies: turned or mirrored against the C-arm's columns and rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.view_text import LETTERS_BY_AXIS

__all__ = ["ImageOrientation", "direction_of", "orientation_towards"]

SECOND_LETTER = 0.6
"""Weight of the second letter of PatientOrientation beside the first: it is the weaker one."""
BETTER = 0.5
"""By so much another way must fit better than the stored one, in summed cosines, to be taken."""
Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ImageOrientation:
    """What makes a stored image the C-arm's: a mirror image, then quarter turns.

    Attributes:
        mirror: Whether the columns are reversed first.
        quarter_turns: Turns by 90 degrees after that, anticlockwise as the image is looked at.
    """

    mirror: bool = False
    quarter_turns: int = 0

    def of(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the image, shape (height, width), as the C-arm has it."""
        mirrored = image[:, ::-1] if self.mirror else image
        return np.ascontiguousarray(np.rot90(mirrored, self.quarter_turns))

    def size_px(self, columns: int, rows: int) -> tuple[int, int]:
        """Return columns and rows of the image afterwards."""
        return (rows, columns) if self.quarter_turns % 2 else (columns, rows)

    def directions(self, columns: Vector, rows: Vector) -> tuple[Vector, Vector]:
        """Return where columns and rows grow to afterwards, from where they grow to as stored."""
        u, v = (-columns if self.mirror else columns), rows
        for _ in range(self.quarter_turns % 4):
            u, v = v, -u  # anticlockwise: what grew downwards now grows to the right
        return u, v

    def vector(self, along_columns: float, along_rows: float) -> tuple[float, float]:
        """A direction in the stored image as components along columns and rows afterwards."""
        stored = np.array([along_columns, along_rows])
        u, v = self.directions(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
        return float(u @ stored), float(v @ stored)

    def __str__(self) -> str:
        words = ["mirrored"] * self.mirror
        words += [f"turned by {90 * self.quarter_turns} degrees"] * bool(self.quarter_turns)
        return " and ".join(words) or "as stored"


def direction_of(letters: str) -> Vector | None:
    """Return unit vector in patient LPS of PatientOrientation's letters; None: they say none."""
    total = np.zeros(3)
    for letter, weight in zip(
        letters.upper(), (1.0, SECOND_LETTER, SECOND_LETTER**2), strict=False
    ):
        axis = next((k for k, pair in enumerate(LETTERS_BY_AXIS) if letter in pair), None)
        if axis is None:
            return None
        total[axis] += weight * (1 if letter == LETTERS_BY_AXIS[axis][1] else -1)
    length = float(np.linalg.norm(total))
    return total / length if length > 0 else None


def orientation_towards(
    stored: tuple[Vector, Vector], wanted: tuple[Vector, Vector]
) -> ImageOrientation:
    """Return the turn after which columns and rows grow nearest to where they should.

    As stored unless another way is clearly better: letters name directions coarsely.

    Args:
        stored: Where columns and rows of the stored image grow to, unit vectors.
        wanted: Where the C-arm's do.
    """

    def fit(orientation: ImageOrientation) -> float:
        return sum(
            float(a @ b) for a, b in zip(orientation.directions(*stored), wanted, strict=True)
        )

    turns = [
        ImageOrientation(mirror=m, quarter_turns=q) for m, q in product((False, True), range(4))
    ]
    best = max(turns, key=fit)
    return best if fit(best) > fit(ImageOrientation()) + BETTER else ImageOrientation()
