"""A target made here: the volume at a pose through the image chain, as a file would hold it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig, WindowConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.projection import View
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.frame import to_uint8
from fluoro.names import Polarity, TargetKind
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.renderer import DrrRenderer

__all__ = ["chain_image", "rendered_image"]

FULL_SCALE = 1.25
"""Signal, relative to the open field, that a raw image's largest value stands for."""
LOG_SPAN = (-1.0, 15.0)
"""Line integrals between which the chain's window shows a logarithmic image."""


def rendered_image(
    renderer: DrrRenderer,
    view: View,
    geometry: CarmGeometry,
    chain: ImageChainConfig,
    kind: TargetKind,
    seed: int,
) -> NDArray[Any]:
    """Return an image with the chain's noise, shape (height, width).

    Args:
        renderer: Of the volume.
        view: Where the C-arm stands.
        geometry: Its detector.
        chain: Stages with their numbers.
        kind: raw: 16-bit intensity, clipped at 1.25 of the open field; log: line integrals,
            float32; display: 8-bit grey levels by the chain's window and polarity.
        seed: Of the noise.
    """
    return chain_image(renderer.device, renderer.render(view), geometry, chain, kind, seed)


def chain_image(
    device: ComputeDevice,
    integrals: Any,
    geometry: CarmGeometry,
    chain: ImageChainConfig,
    kind: TargetKind,
    seed: int,
) -> NDArray[Any]:
    """Return line integrals as an image with the chain's noise, same shape.

    Args:
        device: Where the line integrals lie.
        integrals: Shape (height, width), float32.
        geometry: The detector.
        chain: As for `rendered_image`.
        kind: As for `rendered_image`.
        seed: Of the noise.
    """
    settings = _chain_for(chain, kind)
    shown = ImageChain(device, seed).apply(
        integrals, settings, 0, geometry.pixel_spacing_mm, geometry
    )
    image = device.to_host(shown)
    if kind == "raw":
        return np.asarray(np.rint(image * np.iinfo(np.uint16).max).astype(np.uint16))
    if kind == "log":
        low, high = LOG_SPAN
        return np.asarray(low + (high - low) * image, np.float32)
    return to_uint8(image)


def _chain_for(chain: ImageChainConfig, kind: TargetKind) -> ImageChainConfig:
    """The chain with a window that takes the wanted values to [0, 1] unchanged."""
    if kind == "display":
        return chain
    if kind == "raw":
        window = WindowConfig(level=FULL_SCALE / 2, width=FULL_SCALE)
        return _with(chain, log=False, window=window, polarity="bone_dark")
    low, high = LOG_SPAN
    window = WindowConfig(level=(low + high) / 2, width=high - low)
    return _with(chain, log=chain.beer_lambert, window=window, polarity="bone_bright")


def _with(
    chain: ImageChainConfig,
    *,
    log: bool,
    window: WindowConfig,
    polarity: Polarity,
) -> ImageChainConfig:
    return chain.model_copy(update={"log": log, "window": window, "polarity": polarity})
