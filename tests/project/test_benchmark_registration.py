"""The benchmark of registration: cases, scores, and what is kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.harness.registration_cases import KINDS, STRATA, make_cases
from benchmarks.harness.registration_plan import Pace, count_by_program, plan
from benchmarks.harness.registration_report import (
    compare_with_peer,
    stratum_table,
    summarise_registration,
    target_table,
)
from benchmarks.harness.registration_rows import Rows, filled
from benchmarks.harness.scene import synthetic_volume
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mrpe_mm
from fluoro.registration.search.starts import displacement_mm
from fluoro.registration.targets.target import Target

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


def test_rows_of_other_targets_do_not_belong_to_the_set(tmp_path):
    path, case = tmp_path / "rows.jsonl", make_cases(1)[4]
    true, start = case.views(CENTER)
    Rows(path).add("fluoro", case, {"motion": np.eye(4), **ANSWER}, true, start, CENTER)
    stale = json.loads(path.read_text()) | {"drawn": "elsewise"}
    path.write_text(path.read_text() + json.dumps(stale) + "\n")
    assert len(Rows(path).all) == 2
    assert [row["drawn"] for row in Rows(path).of(make_cases(1))] != ["elsewise"]
    assert len(Rows(path).of(make_cases(1))) == 1
    assert not Rows(path).of(make_cases(1)[:4])


def test_both_programs_do_shared_starts_side_by_side_five_a_stratum_first():
    jobs = plan(make_cases(7), 5)
    assert count_by_program(jobs) == {"fluoro": 7 * STRATA * 3, "nanodrr": 5 * STRATA * 3}
    assert len(set(jobs)) == len(jobs)
    pairs = [jobs[n : n + 2] for n in range(0, 2 * 90, 2)]
    assert all(a[0] == b[0] and a[1] != b[1] for a, b in pairs)
    first = [pair[0][0] for pair in pairs[:30]]
    assert [sum(c.stratum == n for c in first) for n in range(STRATA)] == [5] * STRATA
    assert [sum(c.kind == kind for c in first) for kind in KINDS] == [10] * 3


class _Clock:
    """A budget whose time passes when told."""

    left_s = 1000.0


def test_the_peer_leaves_time_for_all_of_fluoro_and_the_tracking():
    clock = _Clock()
    pace = Pace(clock)

    def passes(seconds):
        clock.left_s -= seconds

    pace.run("fluoro", lambda: passes(1.0))
    pace.run("nanodrr", lambda: passes(100.0))
    assert pace.allows("nanodrr", ours_after=550)  # 899 s left, 120 + 660 + 60 needed
    assert not pace.allows("nanodrr", ours_after=620)
    assert pace.allows("fluoro", ours_after=10_000)  # ours go on until the tracking's turn
    passes(850.0)
    assert not pace.allows("fluoro", ours_after=0)


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
