"""What is written about a registration, and what it looks like."""

import json

import numpy as np
import pytest

from fluoro.geometry.carm import CarmPose
from fluoro.registration.register import register
from fluoro.registration.report.overlay import chessboard, comparison, overlay
from fluoro.registration.report.report import result_facts, result_lines
from tests.registration_support import (
    POSE,
    QUICK,
    center,
    device,
    displacement,
    find,
    rendered,
    target,
    thorax,
    view_at,
)


def _start(displaced):
    return CarmPose.from_world_from_carm(displaced @ POSE.world_from_carm(center()), center())


def test_record_tells_pose_errors_and_certainty_as_json():
    displaced = displacement(1, 10.0)
    result = find(rendered(view_at()), displaced)
    facts = json.loads(json.dumps(result_facts(result, _start(displaced), center(), POSE)))
    assert facts["converged"] is True
    assert facts["mtre_start_mm"] == pytest.approx(10.0, abs=1e-6)
    assert facts["mtre_mm"] < 0.2
    assert facts["pose"]["lao_deg"] == pytest.approx(POSE.lao_deg, abs=0.1)
    assert facts["sigma"]["shift_beam_mm"] > facts["sigma"]["shift_rows_mm"]
    assert facts["renderings"] >= facts["iterations"] > 0
    lines = result_lines(facts)
    assert any(line.startswith("expected    error") for line in lines)
    refused = result_lines(facts | {"converged": False, "confidence": 0.02})
    assert "confidence  0.02" in refused
    assert not any("one sigma" in line for line in refused)


def test_record_without_truth_has_no_errors_and_no_nan():
    far = CarmPose(translation_mm=(900.0, 0.0, 0.0))
    result = register(thorax(), device(), [target(rendered(view_at()))], [view_at(far)], QUICK)
    facts = json.loads(json.dumps(result_facts(result, far, center()), allow_nan=False))
    assert facts["converged"] is False
    assert "mtre_mm" not in facts


def test_overlay_is_grey_where_both_agree_and_coloured_where_not():
    image = rendered(view_at())
    same = overlay(target(image), 2 * image + 3).astype(int)
    assert np.ptp(same, axis=-1).max() <= 1
    other = overlay(target(image), np.roll(image, 9, axis=1)).astype(int)
    assert np.ptp(other, axis=-1).max() > 60


def test_chessboard_shows_target_and_rendered_image_in_turn():
    ones = np.indices((96, 96))[0].astype(np.float32)
    board = chessboard(target(ones), ones[::-1])[..., 0].astype(int)
    assert board[95, 13] > 200  # row 7, column 1: target, bright at the foot
    assert board[95, 0] < 60  # row 7, column 0: rendered, dark there


def test_what_is_masked_is_black():
    image, mask = rendered(view_at()), np.ones((96, 96), bool)
    mask[:20] = False
    assert not overlay(target(image, mask), image)[:20].any()
    assert not chessboard(target(image, mask), image)[:20].any()


def test_comparison_has_before_above_after_enlarged():
    image = rendered(view_at())
    sheet = comparison(target(image), np.roll(image, 9, axis=1), image)
    assert sheet.shape == ((96 * 2 + 4) * 4, (96 * 2 + 4) * 4, 3)
    colours = np.ptp(sheet[:, : 96 * 4].astype(int), axis=-1)
    assert colours[: 96 * 4].max() > 60
    assert colours[100 * 4 :].max() <= 1
