"""Figures of all rows: likeness by subject, errors, and whether the predicted ones are right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import chi2

from fluoro.datasets.evaluation.rows import Row

__all__ = ["calibration", "comparison_summary", "registration_summary", "summary"]

LEVELS = (0.5, 0.683, 0.9, 0.954)
"""Shares of the errors that regions of confidence should hold."""
FREEDOM = 6
CONFIDENCE_EDGES = (0.0, 0.5, 0.9, 0.99, 1.0)
"""Groups of the probability that a pose is right; the last one has its upper edge."""
LEAST_FOR_A_FACTOR = 4
"""Fewer registrations of other subjects give no factor."""


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the statistics of a run as plain data.

    Args:
        rows: Comparisons, registrations and errors.
    """
    failed = [row for row in rows if "error" in row]
    good = [row for row in rows if "error" not in row]
    compared = [row for row in good if row["task"] == "compare"]
    registered = [row for row in good if row["task"] == "register"]
    return {
        "comparison": _by_subject(compared, comparison_summary),
        "registration": _by_subject(registered, registration_summary),
        "calibration": calibration(registered),
        "failed": _failures(failed),
    }


def _failures(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each error of a subject once, with the views that it concerns."""
    views: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        named = views.setdefault((row["subject"], row["error"]), [])
        if row["view"] not in named:
            named.append(row["view"])
    return [
        {"subject": subject, "views": named, "error": error}
        for (subject, error), named in views.items()
    ]


def _by_subject(rows: Sequence[Row], statistics: Any) -> dict[str, Any]:
    names = sorted({row["subject"] for row in rows})
    found = {name: statistics([row for row in rows if row["subject"] == name]) for name in names}
    return found | ({"all": statistics(rows)} if rows else {})


def comparison_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return mean likeness, and how many views beat the control by both measures.

    Args:
        rows: Comparisons, at least one.
    """
    beats = [
        row["ncc"] > row["control_ncc"] and row["gradient_ncc"] > row["control_gradient_ncc"]
        for row in rows
    ]
    return {
        "views": len(rows),
        "ncc": float(np.mean([row["ncc"] for row in rows])),
        "gradient_ncc": float(np.mean([row["gradient_ncc"] for row in rows])),
        "beat_control": sum(beats),
    }


def registration_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return errors, successes, and how they go with what was believed.

    Args:
        rows: Registrations, at least one.
    """
    errors = np.array([row["mtre_mm"] for row in rows])
    believed = np.array([row["believed"] for row in rows])
    right = np.array([row["success"] for row in rows])
    return {
        "registrations": len(rows),
        "start_mtre_mm": float(np.median([row["start_mtre_mm"] for row in rows])),
        "median_mtre_mm": float(np.median(errors)),
        "p95_mtre_mm": float(np.percentile(errors, 95)),
        "median_mrpe_mm": float(np.median([row["mrpe_mm"] for row in rows])),
        "success": float(right.mean()),
        "believed": int(believed.sum()),
        "believed_wrong": int((believed & ~right).sum()),
        "right_not_believed": int((~believed & right).sum()),
        "median_seconds": float(np.median([row["seconds"] for row in rows])),
    }


def calibration(rows: Sequence[Row]) -> dict[str, Any]:
    """Return whether believed poses err as much as their covariance says.

    `observed` is the share of errors within the region of each level; `calibrated` the same after
    standard deviations are multiplied by the factor that the other subjects' rows give. Nothing is
    tested on the rows that it was fitted to.

    `confidence` has all rows in groups of the probability that the registration itself gives, with
    the share of them that was right.

    Args:
        rows: Registrations; those that are not believed or have no covariance count in
            `confidence` alone.
    """
    used = [row for row in rows if row["believed"] and row["distance2"] is not None]
    squares = np.array([row["distance2"] for row in used])
    subjects = [row["subject"] for row in used]
    factors = {name: _factor(squares, subjects, name) for name in sorted(set(subjects))}
    scaled = [
        square / factor**2
        for square, name in zip(squares, subjects, strict=True)
        if (factor := factors[name]) is not None
    ]
    return {
        "registrations": len(used),
        "expected": list(LEVELS),
        "observed": _coverage(squares),
        "calibrated": _coverage(np.array(scaled)),
        "sigma_factors": factors,
        "reliability": _reliability(used),
        "confidence": _confidence(rows),
    }


def _factor(squares: Any, subjects: Sequence[str], left_out: str) -> float | None:
    """Of standard deviations, so that half of the other subjects' errors are within the median."""
    others = squares[[name != left_out for name in subjects]]
    if len(others) < LEAST_FOR_A_FACTOR:
        return None
    return float(np.sqrt(np.median(others) / chi2.ppf(0.5, FREEDOM)))


def _coverage(squares: Any) -> list[float] | None:
    if not len(squares):
        return None
    return [float((squares <= chi2.ppf(level, FREEDOM)).mean()) for level in LEVELS]


def _reliability(rows: Sequence[Row]) -> list[dict[str, float]]:
    """Predicted and actual error of the rows in four groups of rising prediction."""
    ordered = sorted(rows, key=lambda row: row["predicted_mm"])
    groups = [list(part) for part in np.array_split(np.array(ordered, object), 4) if len(part)]
    return [
        {
            "registrations": len(group),
            "predicted_mm": float(np.sqrt(np.mean([row["predicted_mm"] ** 2 for row in group]))),
            "actual_mm": float(np.sqrt(np.mean([row["mtre_mm"] ** 2 for row in group]))),
        }
        for group in groups
    ]


def _confidence(rows: Sequence[Row]) -> list[dict[str, float]]:
    """Stated probability and share of right poses, in groups that have rows."""
    found = []
    for low, high in pairwise(CONFIDENCE_EDGES):
        last = high == CONFIDENCE_EDGES[-1]
        group = [
            row for row in rows if low <= row["confidence"] and (last or row["confidence"] < high)
        ]
        if group:
            found.append(
                {
                    "registrations": len(group),
                    "stated": float(np.mean([row["confidence"] for row in group])),
                    "right": float(np.mean([row["success"] for row in group])),
                }
            )
    return found
