"""How alike two images of one view are, inside a mask; by xray_simulator's definitions."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError

__all__ = ["Domain", "attenuation_from_intensity", "evaluate_pair"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Domain = Literal["display", "attenuation", "attenuation_proxy"]

SSIM_SIGMA_PX, SSIM_RADIUS_PX = 1.5, 5
SSIM_K1, SSIM_K2 = 0.01, 0.03
"""Of Wang et al., Image quality assessment, IEEE Trans. Image Process. 13 (2004) 600."""
RINGS = 16
"""Of a radial profile."""


def attenuation_from_intensity(
    intensity: ArrayLike, i0: float = 1.0, transmission_floor: float = 1e-8
) -> NDArray[np.float32]:
    """Return line integrals, -ln(I / I0), of an intensity of any shape, float32.

    Raises:
        InputError: An i0 or a floor that is not above 0, or intensities that are not finite.
    """
    values = np.asarray(intensity, float)
    if not (np.isfinite(i0) and i0 > 0):
        raise InputError(f"i0 must be above 0, got {i0}")
    if not 0 < transmission_floor < 1:
        raise InputError(f"transmission_floor must lie between 0 and 1, got {transmission_floor}")
    if not np.isfinite(values).all():
        raise InputError("intensity must be finite")
    return np.asarray(-np.log(np.maximum(values / i0, transmission_floor)), np.float32)


def evaluate_pair(
    reference: ArrayLike,
    rendered: ArrayLike,
    mask: ArrayLike,
    *,
    domain: Domain,
    data_range: float,
    histogram_range: tuple[float, float],
    bins: int = 64,
) -> dict[str, Any]:
    """Compare an image with its reference, as they are and, outside of "display", by shape alone.

    Args:
        reference: Shape (height, width).
        rendered: The same shape.
        mask: Where to compare, boolean or 0 and 1, the same shape.
        domain: What values are: grey levels of 0 to 1, line integrals, or what resembles them.
        data_range: Of SSIM.
        histogram_range: Of mutual information; what lies outside counts in the outermost bins.
        bins: Of each axis of that histogram.

    Returns:
        `as_configured` and, outside of "display", `shape_only`, `affine_fit`, `radial_profiles`;
        `warnings`. A measure that is not defined is None.

    Raises:
        InputError: Images or a mask that do not fit, or settings out of their range.
    """
    inside = _checked(reference, rendered, mask, domain, data_range, histogram_range, bins)
    one, other = np.asarray(reference, float), np.asarray(rendered, float)
    settings = (inside, data_range, histogram_range, bins)
    report: dict[str, Any] = {"as_configured": _measures(one, other, *settings), "warnings": []}
    if domain == "display":
        return report
    fit = _fit(one[inside], other[inside])
    report["affine_fit"] = fit
    if fit is None:
        report["warnings"].append("the rendered image is constant: no gain can be fitted")
        report["shape_only"] = None
    else:
        if fit["gain"] == 0:
            report["warnings"].append("the gain is 0: is the polarity inverted, or the pair wrong?")
        report["shape_only"] = _measures(one, fit["gain"] * other + fit["bias"], *settings)
    report["radial_profiles"] = _radial_profiles(one, other, inside)
    return report


def _checked(
    reference: ArrayLike,
    rendered: ArrayLike,
    mask: ArrayLike,
    domain: str,
    data_range: float,
    histogram_range: tuple[float, float],
    bins: int,
) -> Mask:
    shape = np.shape(reference)
    if len(shape) != 2 or np.shape(rendered) != shape or np.shape(mask) != shape:
        raise InputError(
            "reference, rendered and mask must have one shape (height, width), "
            f"got {shape}, {np.shape(rendered)} and {np.shape(mask)}"
        )
    if domain not in get_args(Domain):
        raise InputError(f"domain must be one of {', '.join(get_args(Domain))}, got {domain!r}")
    low, high = histogram_range
    if not (data_range > 0 and low < high and bins >= 2):
        raise InputError(
            "data_range must be above 0, histogram_range rise and bins be at least 2, "
            f"got {data_range}, {histogram_range} and {bins}"
        )
    inside = np.asarray(mask)
    if not np.isin(inside, (0, 1)).all() or not inside.any():
        raise InputError("mask must hold 0 and 1, and 1 somewhere")
    for name, values in (("reference", reference), ("rendered", rendered)):
        if not np.isfinite(np.asarray(values, float)[inside.astype(bool)]).all():
            raise InputError(f"{name} must be finite inside the mask")
    return inside.astype(bool)


def _measures(
    one: Array,
    other: Array,
    inside: Mask,
    data_range: float,
    histogram_range: tuple[float, float],
    bins: int,
) -> dict[str, Any]:
    from scipy.stats import wasserstein_distance

    a, b = one[inside], other[inside]
    return {
        "ncc": _ncc(a, b),
        "gradient_ncc": _gradient_ncc(one, other, inside),
        "mi_nats": _mutual_information(a, b, histogram_range, bins),
        "ssim": _ssim(one, other, inside, data_range),
        "rmse": float(np.sqrt(np.mean((a - b) ** 2))),
        "wasserstein": float(wasserstein_distance(a, b)),
        "clipped": {
            "reference": _outside(a, histogram_range),
            "rendered": _outside(b, histogram_range),
        },
    }


def _ncc(a: Array, b: Array) -> float | None:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else None


def _gradient_ncc(one: Array, other: Array, inside: Mask) -> float | None:
    """NCC of the gradients' lengths, where all 3 x 3 neighbours lie inside the mask."""
    from scipy.ndimage import binary_erosion, sobel

    whole = binary_erosion(inside, np.ones((3, 3)))
    if not whole.any():
        return None
    lengths = [np.hypot(sobel(_filled(each, inside), 0), sobel(_filled(each, inside), 1))[whole]
               for each in (one, other)]  # fmt: skip
    return _ncc(*lengths)


def _filled(image: Array, inside: Mask) -> Array:
    """The image with zeros outside of the mask, where values need not be finite."""
    return np.where(inside, image, 0.0)


def _ssim(one: Array, other: Array, inside: Mask, data_range: float) -> float | None:
    """Mean over the windows of 11 x 11 pixels that lie inside the mask."""
    from scipy.ndimage import binary_erosion, gaussian_filter

    edge = 2 * SSIM_RADIUS_PX + 1
    whole = binary_erosion(inside, np.ones((edge, edge)))
    if not whole.any():
        return None

    def mean(values: Array) -> Array:
        return np.asarray(gaussian_filter(values, SSIM_SIGMA_PX, radius=SSIM_RADIUS_PX)[whole])

    a, b = _filled(one, inside), _filled(other, inside)
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float(np.mean(above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def _mutual_information(
    a: Array, b: Array, histogram_range: tuple[float, float], bins: int
) -> float:
    """Of the joint histogram [nats]."""
    low, high = histogram_range
    counts, _, _ = np.histogram2d(
        np.clip(a, low, high), np.clip(b, low, high), bins, [[low, high], [low, high]]
    )
    joint = counts / counts.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float(np.sum(joint[there] * np.log(joint[there] / apart[there])))


def _outside(values: Array, histogram_range: tuple[float, float]) -> float:
    low, high = histogram_range
    return float(np.mean((values < low) | (values > high)))


def _fit(reference: Array, rendered: Array) -> dict[str, float] | None:
    """Gain, at least 0, and bias of least squares; None: there is nothing to fit."""
    spread = rendered - rendered.mean()
    power = float(spread @ spread)
    if power == 0:
        return None
    gain = max(float(spread @ reference) / power, 0.0)
    return {"gain": gain, "bias": float(reference.mean() - gain * rendered.mean())}


def _radial_profiles(one: Array, other: Array, inside: Mask) -> dict[str, list[float | None]]:
    """Means of rings about the image's middle; None: a ring without a pixel of the mask."""
    rows, columns = np.indices(one.shape)
    middle = (np.array(one.shape) - 1) / 2
    radius = np.hypot(rows - middle[0], columns - middle[1])
    edges = np.linspace(0, radius.max(), RINGS + 1)
    ring = np.clip(np.digitize(radius, edges) - 1, 0, RINGS - 1)
    picked = [inside & (ring == n) for n in range(RINGS)]
    return {
        "radius_px": ((edges[1:] + edges[:-1]) / 2).tolist(),
        "reference": [float(one[each].mean()) if each.any() else None for each in picked],
        "rendered": [float(other[each].mean()) if each.any() else None for each in picked],
    }
