"""Figures and animations: what is drawn is what was given, from any library's arrays."""

import numpy as np
import pytest
from PIL import Image

from fluoro.errors import InputError
from fluoro.plot.animation import animate
from fluoro.plot.overlays import chessboard_rgb, overlay_rgb

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from fluoro.plot.figures import COLOURS, plot_drr, plot_mask, plot_overlay  # noqa: E402

RAMP = np.linspace(0, 1, 24).reshape(4, 6)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def shown(axes, n=0):
    return np.asarray(axes.get_images()[n].get_array())


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (1, 1, 4, 6)])
def test_image_is_plotted_upright_with_numbered_pixels(shape):
    (axes,) = plot_drr(RAMP.reshape(shape), title="frontal")
    np.testing.assert_array_equal(shown(axes), RAMP)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row on top
    assert axes.get_xlabel() == "frontal"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "6"]


def test_tensor_in_a_graph_and_a_batch_are_plotted():
    torch = pytest.importorskip("torch")
    images = torch.stack([torch.zeros(1, 4, 6), torch.ones(1, 4, 6)]).requires_grad_()
    first, second = plot_drr(images, title=["a", "b"], ticks=False)
    assert (shown(first).max(), shown(second).min()) == (0, 1)
    assert (first.get_xlabel(), second.get_xlabel()) == ("a", "b")
    assert len(first.get_xticks()) == 0


def test_channels_become_a_sum_and_masks_of_all_but_the_first():
    channels = np.stack([RAMP, RAMP > 0.5, RAMP < 0.2]).astype(float)[None]
    (axes,) = plot_drr(channels)
    np.testing.assert_allclose(shown(axes), channels.sum(axis=1)[0])
    np.testing.assert_array_equal(shown(axes, 1)[..., 3] > 0, RAMP > 0.5)
    np.testing.assert_array_equal(shown(axes, 2)[..., 3] > 0, RAMP < 0.2)


def test_masks_take_colours_in_turn():
    axs = plot_drr(RAMP)
    masks = np.ones((1, len(COLOURS) + 1, 4, 6))
    rgba = plot_mask(masks, axs, return_masks=True)
    assert rgba.shape == (1, len(COLOURS) + 1, 4, 6, 4)
    np.testing.assert_array_equal(rgba[0, 1, 0, 0], [*COLOURS[1], 255])
    np.testing.assert_array_equal(rgba[0, -1], rgba[0, 0])
    assert plot_mask(masks[0], axs[0]) is None


def test_overlay_is_grey_where_images_agree_but_for_gain_and_offset():
    (axes,) = plot_overlay(RAMP, 5 * RAMP - 2)
    grey = shown(axes)
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    coloured = overlay_rgb(RAMP, 1 - RAMP)
    assert (coloured[..., 0] != coloured[..., 2]).any()
    board = chessboard_rgb(RAMP, 1 - RAMP)
    assert len(np.unique(board[0])) > 1
    (axes,) = plot_overlay(RAMP, RAMP, chessboard=True)
    np.testing.assert_array_equal(shown(axes), chessboard_rgb(RAMP, RAMP))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: plot_drr(np.zeros((1, 1, 1, 2, 2))), "must have shape"),
        (lambda: plot_drr(np.zeros((2, 2, 2)), title=["one"]), "one or 2 texts, got 1"),
        (lambda: plot_drr(np.zeros((2, 2, 2)), axs=[None]), "axs must be 2"),
        (lambda: plot_mask(np.zeros((2, 2)), [None]), "masks must have shape"),
        (lambda: plot_overlay(np.zeros((2, 2)), np.zeros((3, 3))), "rendered must have seen's"),
    ],
)
def test_wrong_shapes_are_named(call, expected):
    with pytest.raises(InputError, match=expected):
        call()


FRAMES = np.stack([np.full((40, 60), level) for level in (0.0, 1.0, 2.0)])


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animation_has_each_image_in_one_window(tmp_path, suffix):
    path = animate(tmp_path / f"a.{suffix}", FRAMES, fps=10, window=(0, 2))
    with Image.open(path) as film:
        assert film.n_frames == 3
        levels = []
        for n in range(3):
            film.seek(n)
            levels.append(int(np.asarray(film.convert("L"))[20, 20]))
        assert film.info["duration"] == 100
        assert film.info["loop"] == 0
    assert levels == pytest.approx([0, 128, 255], abs=2)
    assert {each.name for each in tmp_path.iterdir()} == {path.name}


def test_film_replaces_an_earlier_one_and_shows_captions(tmp_path):
    import av

    path = tmp_path / "a.mp4"
    path.write_text("earlier")
    animate(path, FRAMES[:, None], fps=25, captions=["a", "b", "c"])
    with av.open(str(path)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 3
    assert frames[0].max() > 200  # the caption on black
    rgb = np.zeros((2, 40, 60, 3), np.uint8)
    assert animate(path, rgb).stat().st_size > 0


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("a.avi", {}, "must end in .gif"),
        ("a.gif", {"fps": 0}, "fps must lie in"),
        ("a.gif", {"window": (1, 1)}, "window must rise"),
        ("a.gif", {"captions": ["one"]}, "captions must be 3, got 1"),
    ],
)
def test_animation_that_cannot_be_is_named(tmp_path, name, options, expected):
    with pytest.raises(InputError, match=expected):
        animate(tmp_path / name, FRAMES, **options)
    assert not list(tmp_path.iterdir())
