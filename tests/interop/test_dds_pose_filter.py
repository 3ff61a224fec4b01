"""The pose filter: what reaches the renderer, what is refused and counted."""

import math

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.geometry.se3 import rotation_x, rotation_z
from fluoro.interop.pose_filter import PoseFilter, SentPose, turn_deg
from fluoro.interop.refusals import RefusedError

SECOND = 10**9


def make_filter(**limits):
    return PoseFilter(CarmLimits(**limits), max_jump_deg=10.0, max_jump_mm=50.0, memory_ns=SECOND)


def admit(pose_filter, now_s, stamp_ns=0, **pose):
    sent = SentPose(pose=CarmPose(**pose), stamp_ns=stamp_ns)
    return pose_filter.admit(lambda: sent, round(now_s * SECOND)).pose


def reason(pose_filter, now_s, stamp_ns=0, **pose):
    """Why a pose is refused, and the reason in words."""
    with pytest.raises(RefusedError) as caught:
        admit(pose_filter, now_s, stamp_ns, **pose)
    return caught.value.reason, str(caught.value)


def test_good_poses_pass_as_they_are():
    pose_filter = make_filter()
    assert admit(pose_filter, 5.0, lao_deg=170.0) == CarmPose(lao_deg=170.0)
    assert admit(pose_filter, 5.1, lao_deg=179.0) == CarmPose(lao_deg=179.0)


@pytest.mark.parametrize(
    ("jump", "text"),
    [
        ({"lao_deg": 11.0}, "turn from the pose before must be at most 10 degrees (max_jump_deg)"),
        ({"translation_mm": (0, 51.0, 0)}, "at most 50 mm (max_jump_mm), got 51"),
    ],
)
def test_jump_is_refused_with_its_size_and_the_way_on_is_free(jump, text):
    pose_filter = make_filter()
    admit(pose_filter, 5.0)
    why, words = reason(pose_filter, 5.1, **jump)
    assert why == "jump"
    assert text in words
    assert admit(pose_filter, 5.2, lao_deg=1.0)


def test_turn_through_180_degrees_is_no_jump():
    pose_filter = make_filter()
    admit(pose_filter, 5.0, lao_deg=179.0)
    assert admit(pose_filter, 5.1, lao_deg=-179.0)


def test_after_silence_the_next_pose_is_a_new_beginning():
    pose_filter = make_filter()
    admit(pose_filter, 5.0, stamp_ns=900)
    assert reason(pose_filter, 5.5, lao_deg=90.0)[0] == "jump"
    assert admit(pose_filter, 6.1, stamp_ns=3, lao_deg=90.0)


def test_pose_that_is_not_newer_than_the_last_is_refused():
    pose_filter = make_filter()
    admit(pose_filter, 5.0, stamp_ns=100)
    why, words = reason(pose_filter, 5.1, stamp_ns=100)
    assert why == "old stamp"
    assert words == (
        "the stamp must be after 0.000000100 s, the stamp of the pose before, got 0.000000100 s"
    )
    assert reason(pose_filter, 5.1, stamp_ns=99)[0] == "old stamp"
    assert admit(pose_filter, 5.2, stamp_ns=101)


def test_pose_beyond_a_limit_is_refused_or_cut_as_configured():
    strict = make_filter(lao_deg=(-30.0, 30.0))
    assert reason(strict, 5.0, lao_deg=31.0) == (
        "limit",
        "lao_deg must be -30 to 30 (carm.limits), got 31",
    )
    soft = make_filter(lao_deg=(-30.0, 30.0), on_limit="clamp")
    assert admit(soft, 5.0, lao_deg=31.0) == CarmPose(lao_deg=30.0)
    assert soft.clamped == {"lao_deg": 1}


def test_what_cannot_be_read_is_refused():
    pose_filter = make_filter()

    def unreadable():
        raise InputError("no pose")

    with pytest.raises(InputError, match="no pose"):
        pose_filter.admit(unreadable, SECOND * 5)
    assert admit(pose_filter, 5.0, lao_deg=1.0)


@pytest.mark.parametrize("angle_deg", [0.0, 1e-6, 0.5, 90.0, 179.9, 180.0])
def test_turn_between_poses_is_exact_near_0_and_near_180(angle_deg):
    start = rotation_x(0.7)
    end = start @ rotation_z(math.radians(angle_deg))
    np.testing.assert_allclose(turn_deg(start, end), angle_deg, atol=1e-6)
