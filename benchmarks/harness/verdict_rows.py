"""One registration each, scored: is it right, is it believed, and how far off did it say it was?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.verdict_cases import RIGHT, WRONG, VerdictCase, VerdictTargets
from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.projection import View
from fluoro.registration.measures.metrics import cube_corners_xyz_mm
from fluoro.registration.register import Registrar
from fluoro.registration.report.result import RegistrationResult
from fluoro.registration.rigid_motion import moved_view, twist_about, view_axes

__all__ = [
    "RIGHT_MM",
    "Row",
    "VerdictRows",
    "coverage",
    "fit_confidence",
    "held_out",
    "reliability",
    "table",
]

Array = NDArray[np.float64]
Row = dict[str, Any]

RIGHT_MM = (5.0, 2.0)
"""A pose is right up to this error of a 120 mm cube's corners, in all and in the image's plane."""
FOLDS = 5
RIDGE = 0.3
"""Of the confidence's slopes: the best of 0.01 to 1 in five-fold cross-validation of its cases."""
EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)
"""Of the bins of the reliability curve."""


class VerdictRows:
    """Runs cases and keeps their rows, one JSON object a line.

    Args:
        path: The file; its folder is made.
        targets: Makes the images.
    """

    def __init__(self, path: Path, targets: VerdictTargets) -> None:
        self._path, self._targets = path, targets
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.is_file() else []
        self.all: list[Row] = [json.loads(line) for line in lines]
        self._registrars: dict[str, Registrar] = {}

    def missing(self, cases: Iterable[VerdictCase]) -> list[VerdictCase]:
        """The cases that have no row, all kinds in turn."""
        there = {(row["kind"], row["number"]) for row in self.all}
        left = [case for case in cases if (case.kind, case.number) not in there]
        return sorted(left, key=_turn)

    def add(self, case: VerdictCase) -> Row:
        """Run one case."""
        registrar = self._registrar(case.ct)
        right, start = self._views(case, registrar.center_xyz_mm)
        target, begun = self._targets.make(case), time.process_time()
        result = registrar.register([target], [start])
        row = {"kind": case.kind, "number": case.number, "seed": case.seed, "patient": case.patient}
        row["cpu_s"] = time.process_time() - begun
        row |= _score(case.stated, result, right, registrar.center_xyz_mm)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.all.append(row)
        return row

    def _registrar(self, ct: str) -> Registrar:
        if ct not in self._registrars:
            volume, device = self._targets.volume(ct), self._targets.device
            self._registrars[ct] = Registrar(volume, device)
        return self._registrars[ct]

    def _views(self, case: VerdictCase, center_xyz_mm: Array) -> tuple[View, View]:
        """The stated C-arm at the true pose, and the start; of another CT about its centre."""
        own = self._targets.volume(case.patient).grid.center_xyz_mm
        _, right, start = case.views(own)
        move = np.eye(4)
        move[:3, 3] = center_xyz_mm - own
        return moved_view(right, move), moved_view(start, move)


def _turn(case: VerdictCase) -> float:
    """Where the case comes, as a share of its kind."""
    return (case.number + 0.5) / WRONG.get(case.kind, 200)


def _score(
    stated: CarmGeometry, result: RegistrationResult, right: View, center_xyz_mm: Array
) -> Row:
    found_frame, right_frame = (_carm_frame(v, stated) for v in (result.views[0], right))
    motion = found_frame @ np.linalg.inv(right_frame)
    corners = cube_corners_xyz_mm(center_xyz_mm)
    offsets = corners @ motion[:3, :3].T + motion[:3, 3] - corners
    axes = view_axes(right)
    along = offsets @ axes
    twist = twist_about(motion, center_xyz_mm)
    errors = np.concatenate([twist[:3] @ axes, twist[3:] @ axes])
    return {
        "error_mm": float(np.linalg.norm(along, axis=1).mean()),
        "in_plane_mm": float(np.linalg.norm(along[:, :2], axis=1).mean()),
        "along_beam_mm": float(np.abs(along[:, 2]).mean()),
        "sigmas": (errors / np.maximum(result.axis_sigma, 1e-12)).tolist(),
        "believed": result.converged,
        "confidence": result.confidence,
        "cause": result.cause,
        "reason": result.reason,
        "evidence": result.evidence,
        "seconds": result.seconds,
    }


def _carm_frame(view: View, stated: CarmGeometry) -> Array:
    """4x4 pose of the C-arm that the view belongs to: its isocentre, and its axes."""
    frame = np.eye(4)
    frame[:3, :3] = view_axes(view)
    frame[:3, 3] = view.source_xyz_mm + frame[:3, 2] * stated.source_to_isocenter_mm
    return frame


def is_right(row: Row) -> bool:
    """Whether the pose that was found is right."""
    return bool(row["error_mm"] <= RIGHT_MM[0] and row["in_plane_mm"] <= RIGHT_MM[1])


def table(rows: Sequence[Row]) -> list[list[str]]:
    """One line a kind: cases, believed, believed though wrong, not believed though right."""
    lines = [_line(kind, [r for r in rows if r["kind"] == kind]) for kind in WRONG]
    wrong = [row for row in rows if row["kind"] != RIGHT]
    right = [row for row in rows if row["kind"] == RIGHT]
    return [*lines, _line("all of these", wrong), _line("right images and C-arm", right)]


def _line(kind: str, rows: Sequence[Row]) -> list[str]:
    believed = [row for row in rows if row["believed"]]
    fooled = sum(not is_right(row) for row in believed)
    missed = sum(is_right(row) for row in rows if not row["believed"])
    return [kind, *map(str, (len(rows), len(believed), fooled, missed))]


def coverage(rows: Sequence[Row]) -> tuple[float, float]:
    """Share of the errors of right and believed poses within 1 and 2 stated deviations."""
    kept = [row["sigmas"] for row in rows if row["kind"] == RIGHT and row["believed"]]
    sigmas = np.abs(np.array(kept)) if kept else np.full((1, 6), np.nan)
    return float((sigmas <= 1).mean()), float((sigmas <= 2).mean())


def reliability(rows: Sequence[Row]) -> Iterator[tuple[float, float, int]]:
    """Mean confidence, share of right poses and their number, for each bin that has some."""
    stated = np.array([row["confidence"] for row in rows])
    right = np.array([is_right(row) for row in rows])
    for low, high in pairwise(EDGES):
        inside = (stated >= low) & ((stated < high) | (high == EDGES[-1]))
        if inside.any():
            yield float(stated[inside].mean()), float(right[inside].mean()), int(inside.sum())


def held_out(rows: Sequence[Row]) -> list[Row]:
    """The rows with the confidence that a fit to the other four fifths of them gives."""
    from fluoro.registration.report.acceptance import confidence_terms

    fold = np.random.default_rng(0).permutation(len(rows)) % FOLDS
    weights = [
        fit_confidence([r for r, k in zip(rows, fold, strict=True) if k != each])
        for each in range(FOLDS)
    ]
    logits = [confidence_terms(r["evidence"]) @ weights[k] for r, k in zip(rows, fold, strict=True)]
    stated = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return [row | {"confidence": float(each)} for row, each in zip(rows, stated, strict=True)]


def fit_confidence(rows: Sequence[Row]) -> Array:
    """Coefficients of the logistic regression that `confidence` uses, with a ridge."""
    from scipy.optimize import minimize

    from fluoro.registration.report.acceptance import confidence_terms

    terms = np.array([confidence_terms(row["evidence"]) for row in rows])
    right = np.array([is_right(row) for row in rows], float)

    def loss(weights: Array) -> float:
        logits = terms @ weights
        penalty = RIDGE * weights[1:] @ weights[1:]
        return float((np.logaddexp(0, logits) - right * logits).sum() + penalty)

    return np.asarray(minimize(loss, np.zeros(terms.shape[1])).x)
