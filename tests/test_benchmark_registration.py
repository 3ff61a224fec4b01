"""The benchmark of registration: cases, scores, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.harness.registration_cases import KINDS, STRATA, make_cases
from benchmarks.harness.registration_report import (
    compare_with_peer,
    stratum_table,
    summarise_registration,
    target_table,
)
from benchmarks.harness.registration_rows import Rows, filled
from benchmarks.harness.scene import synthetic_volume
from fluoro.registration.metrics import cube_corners_xyz_mm, mrpe_mm
from fluoro.registration.starts import displacement_mm
from fluoro.registration.target import Target

CENTER = synthetic_volume(8).grid.center_xyz_mm
ANSWER = {"converged": True, "iterations": 9, "seconds": 2.0, "cpu_seconds": 1.0}


def test_starts_lie_in_their_strata_and_are_the_same_for_all_targets():
    cases = make_cases(3)
    assert len(cases) == 3 * STRATA * len(KINDS)
    for case in cases:
        assert case.stratum == case.start_mtre_mm // 10
    for trio in (cases[n : n + 3] for n in range(0, len(cases), 3)):
        assert len({(c.pose, c.start_mtre_mm, c.start_seed) for c in trio}) == 1
    assert make_cases(2) == cases[: 2 * STRATA * len(KINDS)]


def test_rows_score_an_answer_against_the_truth_and_are_kept(tmp_path):
    path, case = tmp_path / "rows.jsonl", make_cases(1)[9]
    rows = Rows(path)
    true, start = case.views(CENTER)
    row = rows.add("fluoro", case, {"motion": np.eye(4), **ANSWER}, true, start, CENTER)
    assert row["mtre_mm"] == pytest.approx(case.start_mtre_mm, abs=1e-6)
    assert row["mrpe_mm"] == pytest.approx(mrpe_mm(start, true, cube_corners_xyz_mm(CENTER)))
    assert Rows(path).has("fluoro", case)
    assert not Rows(path).has("nanodrr", case)
    assert not rows.has("fluoro", make_cases(1)[8])
    assert displacement_mm(np.zeros(6), CENTER) == 0


def row_of(program, stratum, number, end_mm, seconds):
    return {
        "program": program,
        "kind": KINDS[0],
        "stratum": stratum,
        "number": number,
        "drawn": "0",
        "start_mtre_mm": 10.0 * stratum + 5,
        "mtre_mm": end_mm,
        "mrpe_mm": end_mm,
        "converged": True,
        "iterations": 5,
        "seconds": seconds,
        "cpu_seconds": seconds / 2,
    }


def test_summary_counts_by_stratum_and_compares_what_both_did():
    rows = [row_of("fluoro", s, n, 0.1 if s < 2 else 5.0, 1.0) for s in range(3) for n in range(4)]
    rows += [row_of("nanodrr", s, 0, 0.5, 30.0) for s in range(2)]
    summary = summarise_registration(rows)
    whole = next(r for r in summary if r["program"] == "fluoro" and r["stratum"] is None)
    assert (whole["count"], whole["capture_range_mm"], whole["believed_but_wrong"]) == (12, 20, 4)
    assert whole["success"] == pytest.approx(8 / 12)
    both = compare_with_peer(rows)
    assert (both["registrations"], both["times_faster_seconds"]) == (2, 30)
    assert both["nanodrr_median_mm"] == 0.5
    assert stratum_table(summary).count("\n") == 1 + 3 + 2
    assert "| 67% |" in target_table(summary)


def test_who_takes_no_mask_gets_the_nearest_pixel():
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    mask = np.ones((3, 4), bool)
    mask[:, 0] = False
    found = filled(Target(image=image, mask=mask))
    np.testing.assert_array_equal(found[:, 0], image[:, 1])
    np.testing.assert_array_equal(found[:, 1:], image[:, 1:])
