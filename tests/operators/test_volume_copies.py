"""Copies of the volume that frames need are there before the frames are."""

from contextlib import ExitStack

import pytest

from tests.session_support import QuietReporter, small_ct, small_document, use_cache

# isort: split

from fluoro.config import Config
from fluoro.poses.base import PathSource
from fluoro.steady_clock import steady_ns
from operators.assembly import assemble
from operators.volume_copies import _CopiesBeside

LEFT_TO_RIGHT = {"kind": "sweep", "lao_range_deg": [-90, 90], "period_s": 0.1}
"""Both sweeps in the 20 frames of the run."""
BY_HAND = {"console": {"enabled": True, "port": 0}}


@pytest.fixture
def copies_of(tmp_path, monkeypatch):
    """Axes of the copies that are there before the stream, and those when all are made."""
    use_cache(tmp_path, monkeypatch)
    document = small_document(small_ct(tmp_path), tmp_path / "out", recorder={"enabled": False})
    document["volume"]["materials"] = {"kind": "tissues"}
    document["image_chain"] = {"xray": {}}

    def copies(projector="joseph", **sections):
        beside = []
        monkeypatch.setattr(_CopiesBeside, "start", lambda copies: beside.append(copies))
        monkeypatch.setattr(_CopiesBeside, "close", lambda _copies: None)
        renderer = {"device": "cpu", "projector": projector}
        config = Config.model_validate({**document, "renderer": renderer, **sections})
        with ExitStack() as stack:
            run = assemble(
                config, "run", QuietReporter(), steady_ns(), stack, shown_elsewhere=False
            )
            made = run.context.renderer._at_rest._layers[0].rays.copies._made
            before = set(made)
            for each in beside:
                each.make()
            return before, set(made)

    return copies


@pytest.mark.parametrize("projector", ["joseph", "slab"])
def test_copies_of_a_path_are_made_before_the_stream(copies_of, projector):
    assert copies_of(projector, pose_source=LEFT_TO_RIGHT) == ({0, 1}, {0, 1})


def test_no_copy_is_made_that_the_path_does_not_need(copies_of):
    near = {**LEFT_TO_RIGHT, "lao_range_deg": [-20, 20]}
    assert copies_of(pose_source=near) == ({1}, {1})
    steep = {**near, "cra_range_deg": [0, 70]}
    assert copies_of(pose_source=steep) == ({1, 2}, {1, 2})


def test_where_a_hand_may_follow_the_others_are_made_beside_the_stream(copies_of):
    assert copies_of(pose_source=LEFT_TO_RIGHT, **BY_HAND) == ({0, 1}, {0, 1, 2})
    assert copies_of(pose_source={"kind": "console"}, **BY_HAND) == ({1}, {0, 1, 2})


def test_poses_that_are_not_known_have_theirs_made_beside_the_stream(copies_of, monkeypatch):
    monkeypatch.setattr(PathSource, "path", lambda _source: None)
    assert copies_of(pose_source=LEFT_TO_RIGHT) == ({1}, {0, 1, 2})


def test_beyond_the_limits_of_the_c_arm_no_copy_is_made(copies_of):
    limits = {"lao_deg": [-20, 20], "cra_deg": [-25, 25]}
    carm = {"detector_width_px": 32, "detector_height_px": 24, "pixel_spacing_mm": 4.0}
    found = copies_of(pose_source={"kind": "console"}, carm={**carm, "limits": limits}, **BY_HAND)
    assert found == ({1}, {1})
