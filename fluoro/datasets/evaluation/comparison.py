"""A view rendered at its stored pose beside its X-ray image, as i4h publishes it.

Protocol: 4 x 4 binning, DeepFluoro cropped by 50 pixels a side, steps of 0.5 mm, the central 90 %
of each side; DeepFluoro's reference is log(2 / (1 + s)) / log 2 of the image s scaled to [0, 1],
Ljubljana's 1 - s, both against attenuation / 6. The control stands 5 mm along x and 5 degrees
about z beside the stored pose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import sobel

from fluoro.datasets.published.preprocess import CROP_PX, cropped, cropped_view
from fluoro.datasets.published.subject import SetName, XrayView
from fluoro.geometry.projection import View
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.registration.search.pyramid import bin_image, bin_view

__all__ = ["BINNING", "STEP_MM", "Comparison", "compare_view", "gradient_ncc", "ncc"]

Image = NDArray[np.float64]
BINNING = 4
STEP_MM = 0.5
CENTRAL = 0.9
"""Share of each side that is compared."""
FULL_ATTENUATION = 6.0
"""Line integral that counts as 1."""
CONTROL_TURN_DEG, CONTROL_SHIFT_MM = 5.0, 5.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Likeness of X-ray image and rendered image, -1 to 1.

    Attributes:
        ncc: Correlation of the values.
        gradient_ncc: Correlation of the magnitudes of Sobel's gradients.
        control_ncc: `ncc` beside the stored pose.
        control_gradient_ncc: `gradient_ncc` beside the stored pose.
    """

    ncc: float
    gradient_ncc: float
    control_ncc: float
    control_gradient_ncc: float


def compare_view(
    xray: XrayView,
    name: SetName,
    render: Callable[[View], NDArray[np.float32]],
    center_xyz_mm: ArrayLike,
) -> Comparison:
    """Compare a view with what is rendered at its pose and beside it.

    Args:
        xray: The view.
        name: Its data set.
        render: From a view to line integrals, shape (height, width).
        center_xyz_mm: About which the control is turned, LPS [mm].

    Raises:
        InputError: An image too small to be cropped and binned.
    """
    border = CROP_PX if name == "deepfluoro" else 0
    image = cropped(xray.image, border)
    binned, _ = bin_image(image, np.ones(image.shape, bool), BINNING)
    view = bin_view(cropped_view(xray.view, border), BINNING)
    part = _central(binned.shape)
    reference = _reference(binned[part].astype(float), name)
    twist = [0, 0, np.radians(CONTROL_TURN_DEG), CONTROL_SHIFT_MM, 0, 0]
    control = moved_view(view, motion_about(twist, center_xyz_mm))
    right, wrong = (
        np.asarray(render(each)[part], float) / FULL_ATTENUATION for each in (view, control)
    )
    return Comparison(
        ncc=ncc(reference, right),
        gradient_ncc=gradient_ncc(reference, right),
        control_ncc=ncc(reference, wrong),
        control_gradient_ncc=gradient_ncc(reference, wrong),
    )


def ncc(a: Image, b: Image) -> float:
    """Return the correlation coefficient of two images of one shape; 0 where one is constant."""
    first, second = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / norm) if norm > 0 else 0.0


def gradient_ncc(a: Image, b: Image) -> float:
    """Return the correlation coefficient of the magnitudes of Sobel's gradients."""
    return ncc(_slope(a), _slope(b))


def _slope(image: Image) -> Image:
    steps = (sobel(image, axis=axis, mode="nearest") for axis in (0, 1))
    return np.asarray(np.hypot(*steps))


def _central(shape: tuple[int, ...]) -> Any:
    margins = [round(count * (1 - CENTRAL) / 2) for count in shape]
    return tuple(slice(m, count - m) for m, count in zip(margins, shape, strict=True))


def _reference(values: Image, name: SetName) -> Image:
    span = float(values.max() - values.min())
    scaled = (values - values.min()) / (span if span > 0 else 1.0)
    if name == "ljubljana":
        return np.asarray(1 - scaled)
    return np.asarray(np.log(2 / (1 + scaled)) / np.log(2))
