"""Whether the pose of an instrument is believed: bars in a noisy image."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fluoro.registration.instrument_assessment import ViewImages, assess_instrument

NOISE = 0.01


def image(column=None, width=4, contrast=0.1):
    """A field with a bar, or without."""
    values = np.full((40, 60), 0.5)
    if column is not None:
        values[5:35, column : column + width] -= contrast
    return values


def noise(seed):
    return np.random.default_rng(seed).normal(0.0, NOISE, (40, 60))


def seen(target, shown):
    return ViewImages(
        target=target + noise(1), shown=shown, without=image(), noisy=shown + noise(2)
    )


GOOD = seen(image(20), image(20))


def test_a_bar_where_the_pose_puts_it_is_believed():
    assessment = assess_instrument([GOOD, GOOD], 0.2)
    assert assessment.converged
    assert assessment.cause is None
    assert assessment.next_step == ""
    np.testing.assert_allclose(assessment.contrast, 1.0, atol=0.03)
    assert 0.9 < min(assessment.excess) <= max(assessment.excess) < 1.6  # the worst of 81 pixels


@pytest.mark.parametrize(
    ("target", "shown", "cause", "words"),
    [
        (image(20), image(), "outside", "view 1 shows nothing"),
        (image(20), image(40), "elsewhere", "view 1 shows -?0.0"),
        (image(20), image(22), "elsewhere", "view 1 shows 0.49 of the object"),
        (image(20), image(21, 2), "unexplained", "view 1 is off by"),
    ],
)
def test_one_view_that_speaks_against_it_is_named(target, shown, cause, words):
    assessment = assess_instrument([GOOD, seen(target, shown)], 0.2)
    assert not assessment.converged
    assert assessment.cause == cause
    assert re.match(words, assessment.reason)
    assert assessment.next_step


def test_a_place_that_the_views_do_not_tell_is_not_believed():
    assessment = assess_instrument([GOOD, GOOD], 3.0)
    assert assessment.cause == "uncertain"
    assert "to 3.0 mm only" in assessment.reason


def test_an_image_without_noise_is_believed_up_to_a_part_of_a_grey_step():
    exact = ViewImages(target=image(20), shown=image(20) + 1e-5, without=image(), noisy=image(20))
    assert assess_instrument([exact], 0.0).converged


def test_a_bar_that_is_too_long_is_seen_at_its_end():
    """Over the whole bar it is little."""
    long = image()
    long[5:38, 20:24] -= 0.1
    assessment = assess_instrument([seen(image(20), long)], 0.2)
    assert assessment.contrast[0] > 0.9
    assert assessment.cause == "unexplained"
    assert not assessment.converged
