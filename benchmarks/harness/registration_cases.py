"""What is registered: images of the chest CT, their true poses and the starts, by fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.registration.search.starts import twist_at_mtre
from fluoro.registration.targets.preparation import Preparation
from fluoro.registration.targets.rendered_target import chain_image
from fluoro.registration.targets.target import Target
from fluoro.registration.targets.target_preprocessing import prepare
from fluoro.rendering.renderer import DrrRenderer

__all__ = ["GEOMETRY", "KINDS", "RECIPE", "STRATA", "Case", "Targets", "make_cases"]

SAME_RENDERER, RTK_NOISE, OTHER_GREYS = "same renderer", "RTK, full noise", "other greys"
KINDS = (SAME_RENDERER, RTK_NOISE, OTHER_GREYS)
STRATA, STRATUM_MM = 6, 10.0
SEED = 5

GEOMETRY = CarmGeometry(
    source_to_detector_mm=1200.0,
    source_to_isocenter_mm=900.0,
    detector_width_px=128,
    detector_height_px=128,
    pixel_spacing_mm=3.0,
)
NOISY = ImageChainConfig.model_validate(
    {
        "dose_ngy": 5.0,
        "inverse_square": True,
        "heel_anode_side": "left",
        "scatter": {},
        "blur_sigma_mm": 1.0,
        "electronic_noise_photons": 20.0,
        "pixel_gain_spread": 0.01,
        "dead_pixel_fraction": 0.0005,
    }
)
"""Everything that a raw image of the chain can have, at a fluoroscopy frame's dose."""
DISPLAYED = ImageChainConfig.model_validate(
    {"dose_ngy": 5.0, "window": {"level": 3.5, "width": 8.0}, "polarity": "bone_dark"}
)
GAMMA = 0.6
"""Law of the grey levels in the third kind of image, on top of the window."""
RECIPE = (repr(GEOMETRY), NOISY.model_dump_json(), DISPLAYED.model_dump_json(), GAMMA)
"""How targets are made; rows with another recipe are not counted."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One registration.

    Attributes:
        kind: Of the target, one of `KINDS`.
        stratum: The start is 10 to 10 + 10 mm away for stratum 1, and so on.
        number: Within the stratum.
        pose: The true one.
        start_mtre_mm: Distance of the start.
        start_seed: Of its direction.
    """

    kind: str
    stratum: int
    number: int
    pose: CarmPose
    start_mtre_mm: float
    start_seed: int

    def views(self, center_xyz_mm: NDArray[np.float64]) -> tuple[View, View]:
        """The true view, and where the search starts."""
        x, y, z = center_xyz_mm.tolist()
        true = GEOMETRY.view(self.pose, (x, y, z))
        random = np.random.default_rng(self.start_seed)
        twist = twist_at_mtre(random, self.start_mtre_mm, center_xyz_mm)
        return true, moved_view(true, motion_about(twist, center_xyz_mm))


def make_cases(starts: int) -> list[Case]:
    """Return cases, kinds alternating; all kinds have the same poses and starts."""
    found = []
    for number in range(starts):
        for stratum in range(STRATA):
            seed = 1000 * stratum + number
            random = np.random.default_rng([SEED, seed])
            distance_mm = STRATUM_MM * (stratum + random.uniform())
            x, y, z = random.uniform(-15, 15, 3).tolist()
            pose = CarmPose(
                lao_deg=random.uniform(-45, 45),
                cra_deg=random.uniform(-20, 20),
                roll_deg=random.uniform(-10, 10),
                translation_mm=(x, y, z),
            )
            found += [
                Case(
                    kind=kind,
                    stratum=stratum,
                    number=number,
                    pose=pose,
                    start_mtre_mm=distance_mm,
                    start_seed=seed,
                )
                for kind in KINDS
            ]
    return found


class Targets:
    """Makes the targets.

    Args:
        renderer: Of the full CT, by another projector than registration uses.
        rtk: Line integrals of a view by RTK.
    """

    def __init__(
        self, renderer: DrrRenderer, rtk: Callable[[View], NDArray[np.float32]] | None
    ) -> None:
        self._renderer, self._rtk = renderer, rtk

    def make(self, case: Case, view: View) -> Target:
        """What the program is given, prepared: larger where more was in the beam."""
        device, seed = self._renderer.device, case.start_seed
        if case.kind == RTK_NOISE:
            assert self._rtk
            integrals = device.to_device(self._rtk(view))
            image = chain_image(device, integrals, GEOMETRY, NOISY, "raw", seed)
            return prepare(image, Preparation(kind="raw"))
        integrals = self._renderer.render(view)
        if case.kind == SAME_RENDERER:
            return prepare(device.to_host(integrals), Preparation(kind="log"))
        levels = chain_image(device, integrals, GEOMETRY, DISPLAYED, "display", seed)
        other = np.rint(255 * (levels / 255) ** GAMMA).astype(np.uint8)
        return prepare(other, Preparation(kind="display", polarity="bone_dark"))
