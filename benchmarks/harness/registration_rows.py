"""One registration each: run, scored against the truth, kept in a file of lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from benchmarks.harness.machine import commit, load_average
from benchmarks.harness.peers import PeerProcess
from benchmarks.harness.registration_cases import RECIPE, Case
from benchmarks.harness.stopwatch import timed
from fluoro.geometry.projection import View
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mrpe_mm
from fluoro.registration.register import Registrar
from fluoro.registration.rigid_motion import moved_view
from fluoro.registration.targets.target import Target

__all__ = ["Rows", "register_ours", "register_peer"]

Row = dict[str, Any]
Array = NDArray[np.float64]
PROGRAMS = ("fluoro", "nanodrr")
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Rows:
    """The rows so far, one JSON object a line.

    Args:
        path: The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.is_file() else []
        self.all = [json.loads(line) for line in lines]
        self._there = {_key(row) for row in self.all}

    def has(self, program: str, case: Case) -> bool:
        """Whether that registration has been done."""
        return _key(case_row(program, case)) in self._there

    def of(self, cases: Iterable[Case]) -> list[Row]:
        """The rows that belong to some of the cases, as these are drawn and made today."""
        wanted = {_key(case_row(program, case)) for case in cases for program in PROGRAMS}
        return [row for row in self.all if _key(row) in wanted]

    def add(
        self, program: str, case: Case, answer: Row, true: View, start: View, center: Array
    ) -> Row:
        """Score an answer and keep it."""
        corners = cube_corners_xyz_mm(center)
        found = moved_view(start, answer.pop("motion"))
        row = case_row(program, case) | {
            "start_mtre_mm": case.start_mtre_mm,
            "mtre_mm": _mtre_mm(found, true, corners),
            "mrpe_mm": mrpe_mm(found, true, corners),
            "load": load_average(),
            "commit": commit(),
            **answer,
        }
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.all.append(row)
        self._there.add(_key(row))
        return row


def case_row(program: str, case: Case) -> Row:
    """What tells a row from others: the case, and by `drawn` how it and its target are made."""
    drawn = hashlib.sha256(repr((RECIPE, astuple(case))).encode()).hexdigest()[:8]
    return {
        "program": program,
        "kind": case.kind,
        "stratum": case.stratum,
        "number": case.number,
        "drawn": drawn,
    }


def _key(row: Row) -> tuple[Any, ...]:
    return row["program"], row["kind"], row["stratum"], row["number"], row["drawn"]


def _mtre_mm(found: View, true: View, corners: Array) -> float:
    """Mean distance of the corners as the two C-arms see them."""
    there, here = (_frame(view) for view in (found, true))
    between = here @ np.linalg.inv(there)
    offsets = corners @ between[:3, :3].T + between[:3, 3] - corners
    return float(np.linalg.norm(offsets, axis=1).mean())


def _frame(view: View) -> Array:
    """World from the detector's axes at the source, 4x4."""
    u, v = (step / np.linalg.norm(step) for step in (view.column_step_xyz_mm, view.row_step_xyz_mm))
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = np.column_stack([u, v, np.cross(u, v)]), view.source_xyz_mm
    return frame


def register_ours(registrar: Registrar, target: Target, start: View) -> Row:
    """As fluoro does it, with the settings of `Registrar`."""
    result, seconds, cpu_seconds = timed(lambda: registrar.register([target], [start]))
    return {
        "motion": result.motion,
        "converged": result.converged,
        "reason": result.reason,
        "iterations": result.renderings,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }


def register_peer(peer: PeerProcess, target: Target, start: View, method: dict[str, float]) -> Row:
    """Register with a peer; it does not assess its result, so each one counts as believed."""
    answer = peer.register(filled(target), start, method)
    motion = LPS_FROM_RAS @ np.array(answer.pop("ras_motion")) @ LPS_FROM_RAS
    return {"motion": motion, "converged": True, **answer}


def filled(target: Target) -> NDArray[np.float32]:
    """The target for who knows no masks: pixels that do not count take the nearest one's value."""
    nearest = distance_transform_edt(~target.mask, return_distances=False, return_indices=True)
    return np.asarray(target.image[tuple(nearest)], np.float32)
