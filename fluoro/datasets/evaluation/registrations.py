"""A view registered from a start beside its stored pose, and scored by its landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.datasets.published.preprocess import (
    CROP_PX,
    cropped_view,
    deepfluoro_attenuation,
    ljubljana_attenuation,
)
from fluoro.datasets.published.subject import SetName, XrayView
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import hat
from fluoro.registration.measures.metrics import SUCCESS_MM, geodesic_distance, mrpe_mm, mtre_mm
from fluoro.registration.register import Registrar
from fluoro.registration.report.result import RegistrationResult
from fluoro.registration.rigid_motion import motion_about, moved_view, twist_about
from fluoro.registration.search.starts import twist_at_mtre
from fluoro.registration.targets.target import Target

__all__ = ["Registered", "register_view"]

Array = NDArray[np.float64]
START_MTRE_MM = (5.0, 30.0)
"""Between them the starts' distances are drawn evenly [mm]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Registered:
    """How a registration ended.

    Attributes:
        row: Values for the record.
        target: What was registered to.
        start: The view where it started.
        result: What came of it.
    """

    row: dict[str, Any]
    target: Target
    start: View
    result: RegistrationResult


def register_view(
    registrar: Registrar, xray: XrayView, name: SetName, targets_xyz_mm: Array, seed: list[int]
) -> Registered:
    """Register a view from a random start.

    Args:
        registrar: Of the subject; turns about its centre.
        xray: The view.
        name: Its data set.
        targets_xyz_mm: Landmarks that the errors are taken at, LPS [mm], shape (N, 3).
        seed: Decides the start.

    Raises:
        InputError: An image that cannot be registered.
    """
    image, view = _prepared(xray, name)
    target = Target(image=image, mask=np.ones(image.shape, bool))
    center = registrar.center_xyz_mm
    random = np.random.default_rng(seed)
    distance_mm = float(random.uniform(*START_MTRE_MM))
    away = motion_about(twist_at_mtre(random, distance_mm, center), center)
    start = moved_view(view, away)
    result = registrar.register([target], [start])
    error = result.motion @ away
    end_mtre_mm = mtre_mm(error, np.eye(4), targets_xyz_mm)
    row = {
        "start_mtre_mm": mtre_mm(away, np.eye(4), targets_xyz_mm),
        "mtre_mm": end_mtre_mm,
        "success": end_mtre_mm < SUCCESS_MM,
        "mrpe_mm": mrpe_mm(result.views[0], view, targets_xyz_mm),
        "turn_error_deg": geodesic_distance(error, np.eye(4))[0],
        "believed": result.converged,
        "confidence": round(result.confidence, 6),
        "reason": result.reason,
        "seconds": round(result.seconds, 3),
        "renderings": result.renderings,
    }
    confidence = _confidence(result, error, center, targets_xyz_mm)
    return Registered(row=row | confidence, target=target, start=start, result=result)


def _prepared(xray: XrayView, name: SetName) -> tuple[NDArray[np.float32], View]:
    if name == "deepfluoro":
        return deepfluoro_attenuation(xray.image), cropped_view(xray.view, CROP_PX)
    return ljubljana_attenuation(xray.image), xray.view


def _confidence(
    result: RegistrationResult, error: Array, center: Array, targets_xyz_mm: Array
) -> dict[str, float | None]:
    """The error that the covariance predicts, and the actual one in its unit, squared."""
    covariance = result.covariance
    if not np.isfinite(covariance).all():
        return {"predicted_mm": None, "distance2": None}
    squares = []
    for point in targets_xyz_mm - center:
        lever = np.hstack([-hat(point), np.eye(3)])
        squares.append(np.trace(lever @ covariance @ lever.T))
    twist = twist_about(np.linalg.inv(error), center)
    squared = float(twist @ np.linalg.pinv(covariance, hermitian=True) @ twist)
    return {"predicted_mm": float(np.sqrt(np.mean(squares))), "distance2": squared}
