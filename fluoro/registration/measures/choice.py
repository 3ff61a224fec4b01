"""The measures of likeness by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fluoro import plugins
from fluoro.names import MeasureName
from fluoro.registration.measures.local_fit import LocalFit
from fluoro.registration.measures.mutual_information import MutualInformation
from fluoro.registration.measures.similarity import (
    GradientNcc,
    LeastSquaresMeasure,
    LocalNcc,
    MeanSquares,
    Measure,
    MultiScaleNcc,
    Ncc,
)

__all__ = ["MEASURES", "make_measure"]

BUILT_IN: dict[str, Callable[..., Measure]] = {
    "mse": MeanSquares,
    "ncc": Ncc,
    "local_ncc": LocalNcc,
    "local_fit": LocalFit,
    "multiscale_ncc": MultiScaleNcc,
    "gradient_ncc": GradientNcc,
    "mutual_information": MutualInformation,
}
"""By the names that settings use."""


def _is_measure(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, LeastSquaresMeasure)


MEASURES: dict[str, Callable[..., Measure]] = plugins.extend(
    "measures",
    BUILT_IN,
    plugins.find("measures", _is_measure, "a class of LeastSquaresMeasure"),
)
"""Those, and the measures of plugins."""


def make_measure(name: MeasureName, image: Any, mask: Any) -> Measure:
    """The measure of that name for a target."""
    if name == "multiscale_ncc":
        width = min(image.shape)
        return MultiScaleNcc(image, mask, tiles_px=(0, max(4, width // 4), max(4, width // 8)))
    if name in ("local_ncc", "local_fit"):
        return MEASURES[name](image, mask, tile_px=max(8, min(image.shape) // 16))
    return MEASURES[name](image, mask)
