"""The door: what reaches the renderer, what is refused and counted."""

import math

import numpy as np
import pytest

from fluoro.dds.door import PoseDoor, turn_deg
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.geometry.se3 import rotation_x, rotation_z

SECOND = 10**9


def make_door(**limits):
    return PoseDoor(CarmLimits(**limits), max_jump_deg=10.0, max_jump_mm=50.0, memory_ns=SECOND)


def admit(door, now_s, stamp_ns=0, **pose):
    return door.admit(lambda: CarmPose(**pose), stamp_ns, round(now_s * SECOND))


def test_good_poses_pass_as_they_are():
    door = make_door()
    assert admit(door, 5.0, lao_deg=170.0) == CarmPose(lao_deg=170.0)
    assert admit(door, 5.1, lao_deg=179.0) == CarmPose(lao_deg=179.0)
    assert not door.refused


@pytest.mark.parametrize("jump", [{"lao_deg": 11.0}, {"translation_mm": (0, 51.0, 0)}])
def test_jump_is_refused_and_counted_and_the_way_on_is_free(jump):
    door = make_door()
    admit(door, 5.0)
    assert admit(door, 5.1, **jump) is None
    assert door.refused == {"jump": 1}
    assert admit(door, 5.2, lao_deg=1.0)


def test_turn_through_180_degrees_is_no_jump():
    door = make_door()
    admit(door, 5.0, lao_deg=179.0)
    assert admit(door, 5.1, lao_deg=-179.0)


def test_after_silence_the_next_pose_is_a_new_beginning():
    door = make_door()
    admit(door, 5.0, stamp_ns=900)
    assert admit(door, 5.5, lao_deg=90.0) is None
    assert admit(door, 6.1, stamp_ns=3, lao_deg=90.0)


def test_pose_that_is_not_newer_than_the_last_is_refused():
    door = make_door()
    admit(door, 5.0, stamp_ns=100)
    assert admit(door, 5.1, stamp_ns=100) is None
    assert admit(door, 5.1, stamp_ns=99) is None
    assert door.refused == {"old stamp": 2}
    assert admit(door, 5.2, stamp_ns=101)


def test_pose_beyond_a_limit_is_refused_or_cut_as_configured():
    strict = make_door(lao_deg=(-30.0, 30.0))
    assert admit(strict, 5.0, lao_deg=31.0) is None
    assert strict.refused == {"limit": 1}
    soft = make_door(lao_deg=(-30.0, 30.0), on_limit="clamp")
    assert admit(soft, 5.0, lao_deg=31.0) == CarmPose(lao_deg=30.0)
    assert soft.clamped == {"lao_deg": 1}


def test_what_cannot_be_read_is_refused():
    door = make_door()

    def unreadable():
        raise InputError("no pose")

    assert door.admit(unreadable, 0, SECOND * 5) is None
    assert admit(door, 5.0, lao_deg=1.0)
    assert door.refused == {"malformed": 1}


@pytest.mark.parametrize("angle_deg", [0.0, 1e-6, 0.5, 90.0, 179.9, 180.0])
def test_turn_between_poses_is_exact_near_0_and_near_180(angle_deg):
    start = rotation_x(0.7)
    end = start @ rotation_z(math.radians(angle_deg))
    np.testing.assert_allclose(turn_deg(start, end), angle_deg, atol=1e-6)
