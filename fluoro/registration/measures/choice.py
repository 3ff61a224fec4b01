"""The measures of likeness by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fluoro import names, plugins
from fluoro.registration.measures.similarity import (
    LeastSquaresMeasure,
    Measure,
    MultiScaleNcc,
)

__all__ = ["MEASURES", "make_measure"]


def _is_measure(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, LeastSquaresMeasure)


MEASURES: dict[str, Callable[..., Measure]] = plugins.extend(
    "measures",
    {name: plugins.imported(place, f"measure {name}") for name, place in names.MEASURES.items()},
    plugins.find("measures", _is_measure, "a class of LeastSquaresMeasure"),
)
"""By the names that settings use, those of plugins last."""


def make_measure(name: str, image: Any, mask: Any) -> Measure:
    """Return the measure of that name for a target."""
    if name == "multiscale_ncc":
        width = min(image.shape)
        return MultiScaleNcc(image, mask, tiles_px=(0, max(4, width // 4), max(4, width // 8)))
    if name in ("local_ncc", "local_fit"):
        return MEASURES[name](image, mask, tile_px=max(8, min(image.shape) // 16))
    return MEASURES[name](image, mask)
