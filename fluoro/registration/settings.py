"""What a registration does: levels, measure, optimiser, degrees of freedom, multi-start."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from fluoro.errors import InputError
from fluoro.registration.local_fit import LocalFit
from fluoro.registration.mutual_information import MutualInformation
from fluoro.registration.robust import Loss
from fluoro.registration.similarity import (
    GradientNcc,
    LocalNcc,
    MeanSquares,
    Measure,
    MultiScaleNcc,
    Ncc,
)

__all__ = [
    "DEGREES_OF_FREEDOM",
    "MEASURES",
    "MeasureName",
    "MultiStart",
    "OptimiserName",
    "RegistrationSettings",
    "make_measure",
]

MeasureName = Literal[
    "mse", "ncc", "local_ncc", "local_fit", "multiscale_ncc", "gradient_ncc", "mutual_information"
]
OptimiserName = Literal["levenberg_marquardt", "adam", "lbfgs"]

DEGREES_OF_FREEDOM = (
    "turn_columns",
    "turn_rows",
    "turn_beam",
    "shift_columns",
    "shift_rows",
    "shift_beam",
)
"""Turns about and shifts along the first view's columns, rows and beam, as it starts."""

MEASURES: dict[str, Callable[..., Measure]] = {
    "mse": MeanSquares,
    "ncc": Ncc,
    "local_ncc": LocalNcc,
    "local_fit": LocalFit,
    "multiscale_ncc": MultiScaleNcc,
    "gradient_ncc": GradientNcc,
    "mutual_information": MutualInformation,
}
"""By the names that settings use."""


@dataclass(frozen=True, kw_only=True)
class MultiStart:
    """Many starts on the coarsest level, of which ever fewer go on.

    Attributes:
        starts: Poses that are tried, the given one included; 1: only that.
        turn_sigma_deg: Spread of the starts about each axis [degrees].
        shift_sigma_mm: Spread of the starts along the columns and rows [mm].
        depth_sigma_mm: Spread of the starts along the beam [mm].
        seed: Of the spread.

    Raises:
        InputError: No start, or a spread that is negative or not finite.
    """

    starts: int = 64
    turn_sigma_deg: float = 10.0
    shift_sigma_mm: float = 20.0
    depth_sigma_mm: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.starts < 1:
            raise InputError(f"starts must be at least 1, got {self.starts}")
        for name in ("turn_sigma_deg", "shift_sigma_mm", "depth_sigma_mm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} must be a finite number of at least 0, got {value}")

    def wider(self, attempt: int) -> MultiStart:
        """For attempt 1, 2 ... twice as many starts as before, spread half as far again."""
        factor = 1.5**attempt
        return replace(
            self,
            starts=self.starts * 2**attempt,
            turn_sigma_deg=self.turn_sigma_deg * factor,
            shift_sigma_mm=self.shift_sigma_mm * factor,
            depth_sigma_mm=self.depth_sigma_mm * factor,
            seed=self.seed + attempt,
        )


@dataclass(frozen=True, kw_only=True)
class RegistrationSettings:
    """How a pose is sought.

    Attributes:
        widths_px: Detector columns of each level, coarsest first: the detector is binned to about
            as many.
        voxels_per_pixel: Voxels of a level's volume are joined up to this many pixels' width at
            the isocentre; 0: the full volume on each level.
        measure: On the last level; "local_ncc" (tiles of 1/16 of the width, each without its
            plane) bears scatter and shading best, "local_fit" nearly as well in fewer and faster
            steps; the levels before use "multiscale_ncc", or
            "ncc" on the first, unless the measure is "mutual_information", which serves on all.
        optimiser: On the last level; the ones before use Levenberg-Marquardt where the measure
            is a sum of squares, else L-BFGS.
        loss: Of the residuals, wherever Levenberg-Marquardt is at work; "huber" bears a tool
            across the picture.
        max_iterations: Evaluations with derivatives on each level.
        step_mm: A step shorter than this ends a level, divided by the level's binning relative to
            the last [mm].
        fixed: Degrees of freedom that are held, of `DEGREES_OF_FREEDOM`.
        turn_bound_deg: Largest turn from the start about each axis [degrees].
        shift_bound_mm: Largest shift from the start along each axis [mm].
        least_agreement: Least median correlation of fine structure, tile by tile, at which a
            pose is believed (fluoro.registration.verdict).
        multi_start: Starts on the coarsest level.
        attempts: While the pose that the given start leads to is not believed, so many rounds of
            ever wider starts; without effect where `multi_start` has a single start.
        projector: Of the renderer: "joseph", or "slab", which is faster, or "march".

    Raises:
        InputError: A value outside its range, an unknown name, or nothing left free.
    """

    widths_px: tuple[int, ...] = (32, 64, 128)
    voxels_per_pixel: float = 0.5
    measure: MeasureName = "local_ncc"
    optimiser: OptimiserName = "levenberg_marquardt"
    loss: Loss = "huber"
    max_iterations: int = 25
    step_mm: float = 0.005
    fixed: frozenset[str] = frozenset()
    turn_bound_deg: float = 60.0
    shift_bound_mm: float = 200.0
    least_agreement: float = 0.7
    multi_start: MultiStart = MultiStart()
    attempts: int = 2
    projector: Literal["march", "joseph", "slab"] = "joseph"

    def __post_init__(self) -> None:
        _require_levels(self.widths_px)
        _require_positive(
            self, "max_iterations", "attempts", "step_mm", "turn_bound_deg", "shift_bound_mm"
        )
        if not (math.isfinite(self.voxels_per_pixel) and self.voxels_per_pixel >= 0):
            raise InputError(f"voxels_per_pixel must be at least 0, got {self.voxels_per_pixel}")
        if not 0 <= self.least_agreement <= 1:
            raise InputError(f"least_agreement must lie in [0, 1], got {self.least_agreement}")
        if self.turn_bound_deg > 175:
            raise InputError(f"turn_bound_deg must be at most 175, got {self.turn_bound_deg}")
        _require_one_of("measure", self.measure, tuple(MEASURES))
        _require_one_of("optimiser", self.optimiser, ("levenberg_marquardt", "adam", "lbfgs"))
        _require_one_of("loss", self.loss, ("squares", "huber", "tukey"))
        _require_one_of("projector", self.projector, ("march", "joseph", "slab"))
        _require_freedom(self.fixed)
        least_squares = self.optimiser == "levenberg_marquardt"
        if least_squares and self.measure == "mutual_information":
            raise InputError(
                "optimiser levenberg_marquardt needs a sum of squares, which mutual_information "
                "is not: use lbfgs or adam"
            )


def make_measure(name: MeasureName, image: Any, mask: Any) -> Measure:
    """The measure of that name for a target."""
    if name == "multiscale_ncc":
        width = min(image.shape)
        return MultiScaleNcc(image, mask, tiles_px=(0, max(4, width // 4), max(4, width // 8)))
    if name in ("local_ncc", "local_fit"):
        return MEASURES[name](image, mask, tile_px=max(8, min(image.shape) // 16))
    return MEASURES[name](image, mask)


def _require_levels(widths_px: tuple[int, ...]) -> None:
    rising = all(a < b for a, b in pairwise(widths_px))
    if not widths_px or min(widths_px) < 8 or not rising:
        raise InputError(f"widths_px must rise, from at least 8 pixels, got {widths_px}")


def _require_positive(settings: RegistrationSettings, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, got {value}")


def _require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def _require_freedom(fixed: frozenset[str]) -> None:
    unknown = sorted(set(fixed) - set(DEGREES_OF_FREEDOM))
    if unknown:
        raise InputError(
            f"fixed must name some of {', '.join(DEGREES_OF_FREEDOM)}, got {unknown[0]!r}"
        )
    if len(set(fixed)) == len(DEGREES_OF_FREEDOM):
        raise InputError("fixed must leave at least one degree of freedom, got all six")
