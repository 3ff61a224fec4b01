"""The record of a registration: what result.json holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fluoro.geometry.carm import CarmPose
from fluoro.names import DEGREES_OF_FREEDOM
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, geodesic_distance, mtre_mm
from fluoro.registration.report.result import RegistrationResult

__all__ = ["result_facts", "result_lines"]


def result_facts(
    result: RegistrationResult,
    start: CarmPose,
    center_xyz_mm: ArrayLike,
    truth: CarmPose | None = None,
) -> dict[str, Any]:
    """Return plain data for JSON; figures that are not finite are None.

    Args:
        result: What was found.
        start: Where the first view started.
        center_xyz_mm: Isocentre, and centre of the 120 mm cube that the mTRE is taken on.
        truth: The first view's right pose, where it is known.
    """
    center = np.asarray(center_xyz_mm, float).tolist()
    pose = result.carm_pose(start, center)
    facts = {
        "converged": result.converged,
        "reason": result.reason,
        "next_step": result.next_step,
        "confidence": round(result.confidence, 4),
        "pose": _pose(pose),
        "start": _pose(start),
        "sigma": _sigma(result),
        "evidence": {name: _finite(value) for name, value in result.evidence.items()},
        "iterations": result.iterations,
        "renderings": result.renderings,
        "seconds": result.seconds,
    }
    return facts if truth is None else facts | _errors(pose, start, truth, center)


def _errors(
    pose: CarmPose, start: CarmPose, truth: CarmPose, center: list[float]
) -> dict[str, Any]:
    corners = cube_corners_xyz_mm(center)
    found, first, right = (p.world_from_carm(center) for p in (pose, start, truth))
    turn_deg, shift_mm = geodesic_distance(found, right)
    return {
        "truth": _pose(truth),
        "mtre_start_mm": mtre_mm(first, right, corners),
        "mtre_mm": mtre_mm(found, right, corners),
        "turn_error_deg": turn_deg,
        "shift_error_mm": shift_mm,
    }


def _pose(pose: CarmPose) -> dict[str, Any]:
    return {
        "lao_deg": pose.lao_deg,
        "cra_deg": pose.cra_deg,
        "roll_deg": pose.roll_deg,
        "translation_mm": list(pose.translation_mm),
    }


def _sigma(result: RegistrationResult) -> dict[str, float | None]:
    turns = [f"{name}_deg" for name in DEGREES_OF_FREEDOM[:3]]
    shifts = [f"{name}_mm" for name in DEGREES_OF_FREEDOM[3:]]
    values = [*np.degrees(result.axis_sigma[:3]).tolist(), *result.axis_sigma[3:].tolist()]
    return {name: _finite(v) for name, v in zip([*turns, *shifts], values, strict=True)}


def _expected(facts: Mapping[str, Any]) -> list[str]:
    """How wrong a believed pose may be; the deviations of another say nothing."""
    plane_mm, beam_mm = (facts["evidence"].get(k) for k in ("in_plane_mm", "along_beam_mm"))
    if plane_mm is None or beam_mm is None or not facts["converged"]:
        return [f"confidence  {facts['confidence']:.2f}"]
    return [
        f"expected    error {plane_mm:.2f} mm in the image's plane, {beam_mm:.2f} mm along the beam"
        f" (one sigma); confidence {facts['confidence']:.2f}"
    ]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def result_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the facts for a terminal, a few lines.

    Args:
        facts: From `result_facts`, converged or not.
    """
    pose = facts["pose"]
    shift = ", ".join(f"{value:.2f}" for value in pose["translation_mm"])
    angles = f"LAO {pose['lao_deg']:.2f}  CRA {pose['cra_deg']:.2f}  roll {pose['roll_deg']:.2f}"
    state = "converged" if facts["converged"] else "NOT CONVERGED"
    tried = [f"try         {facts['next_step']}"] if facts.get("next_step") else []
    lines = [
        f"{state}: {facts['reason']}",
        *tried,
        *_expected(facts),
        f"pose        {angles} degrees  translation {shift} mm",
        f"effort      {facts['iterations']} iterations on the last level, "
        f"{facts['renderings']} renderings in all, {facts['seconds']:.2f} s",
    ]
    if "mtre_mm" in facts:
        lines.append(f"mTRE        {facts['mtre_start_mm']:.2f} -> {facts['mtre_mm']:.3f} mm")
    if facts.get("target_notes"):
        lines.append(f"target      {'; '.join(facts['target_notes'])}")
    return lines
