"""What may be wrong with an image as a whole: mirrored, inverted, turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.registration.next_steps import Cause
from fluoro.registration.targets.target import Target

__all__ = ["HYPOTHESES", "Hypothesis", "named", "undone"]

Image = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One thing that may be wrong.

    Attributes:
        cause: What speaks against the pose then.
        looks: How the image looks, for a sentence.
        undo: The image as it should be, of its pixels or of its mask.
        negative: Larger values mean less attenuation.
    """

    cause: Cause
    looks: str
    undo: Callable[[Image], Image] = np.asarray
    negative: bool = False


HYPOTHESES: Sequence[Hypothesis] = (
    Hypothesis(cause="mirrored", looks="mirrored", undo=np.fliplr),
    Hypothesis(cause="inverted", looks="inverted", negative=True),
    Hypothesis(cause="turned", looks="turned by 180 degrees", undo=lambda i: np.rot90(i, 2)),
    Hypothesis(cause="turned", looks="turned by 90 degrees", undo=lambda i: np.rot90(i, -1)),
    Hypothesis(cause="turned", looks="turned by 270 degrees", undo=lambda i: np.rot90(i, 1)),
)
"""Most frequent first. A quarter turn counts anticlockwise, of square images only."""


def undone(hypothesis: Hypothesis, targets: Sequence[Target]) -> tuple[Target, ...] | None:
    """The targets without what the hypothesis says of them; None: their shape excludes it."""
    found = []
    for target in targets:
        image, mask = hypothesis.undo(target.image), hypothesis.undo(target.mask)
        if image.shape != target.image.shape:
            return None
        signed = -image if hypothesis.negative else image
        found.append(replace(target, image=np.ascontiguousarray(signed), mask=mask.copy()))
    return tuple(found)


def named(hypothesis: Hypothesis, evidence: Mapping[str, float], stated: float) -> str:
    """The sentence that names it, with its agreement and that of the image as it is stated."""
    return (
        f"the image looks {hypothesis.looks}: agreement {evidence['agreement']:.2f} "
        f"against {stated:.2f}"
    )
