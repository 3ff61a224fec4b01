"""One frame of a training set, without a graph: the patient, the beam, the image and its truth."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.annotations.truth import FrameTruth, TruthMaker, make_truth
from fluoro.config import Config
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.from_config import make_geometry, make_limits
from fluoro.geometry.projection import View, camera_matrices
from fluoro.imaging.chain import ImageChain
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.patient_renderer import PatientRenderer, make_patient
from fluoro.volume.load import load_volume
from fluoro.volume.volumes import MuVolume

__all__ = ["CaseError", "FrameMaker", "MadeFrame"]

CASES_KEPT = 2
"""Prepared patients that stay in memory: frames of one case follow each other."""


class CaseError(InputError):
    """A patient who cannot be prepared: no frame of him can be made."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MadeFrame:
    """A frame and what is known of it.

    Attributes:
        image: Display values in [0, 1], shape (height, width), float32.
        pose: Where the C-arm stood.
        view: How the frame was taken.
        truth: Its annotations; None: not configured.
        categories: Of the annotations, in COCO's words.
        dose_ngy: Air kerma at the detector behind 20 cm of water [nGy].
    """

    image: NDArray[np.float32]
    pose: CarmPose
    view: View
    truth: FrameTruth | None
    categories: list[dict[str, Any]]
    dose_ngy: float

    def camera(self) -> dict[str, Any]:
        """Return the camera matrices; a pixel's centre is half a pixel from its corner."""
        k, camera_from_world = camera_matrices(self.view)
        return {
            "pixel_from_camera": k.tolist(),
            "camera_from_world": camera_from_world.tolist(),
            "pixel_from_world": self.view.pixel_from_world.tolist(),
        }


class _Case:
    """A patient on a device, prepared as he is needed."""

    def __init__(self, config: Config, device: ComputeDevice) -> None:
        self._config, self._device = config, device
        self._chain: tuple[str, ImageChain] | None = None
        self.volume: MuVolume = load_volume(config.volume)
        self.renderer: PatientRenderer = make_patient(config, self.volume, device)
        self.truth: TruthMaker | None = make_truth(config, self.volume, device, self.renderer.posed)

    @cached_property
    def categories(self) -> list[dict[str, Any]]:
        """What annotations are of."""
        return self.truth.categories() if self.truth else []

    def chain(self, config: Config) -> ImageChain:
        """Return the image chain of a spectrum; the last one is kept."""
        xray = config.image_chain.xray
        key = xray.model_dump_json() if xray else ""
        if self._chain is None or self._chain[0] != key:
            self._chain = key, ImageChain(self._device, 0, self.renderer.materials, fused=True)
        return self._chain[1]


class FrameMaker:
    """Makes frames, one after the other, each as frame 0 of its own run would be.

    Args:
        device: Where to render.
    """

    def __init__(self, device: ComputeDevice) -> None:
        self.device = device
        self._cases: OrderedDict[str, _Case | CaseError] = OrderedDict()

    def make(self, config: Config, time_s: float = 0.0) -> MadeFrame:
        """Return the frame of a configuration.

        Args:
            config: Of the frame; `run.seed` is that of the noise.
            time_s: When it is taken [s].

        Raises:
            CaseError: The patient cannot be prepared: a CT that cannot be read.
            InputError: The frame cannot be made: a pose beyond a limit.
            DeviceError: Rendering failed.
        """
        case, carm, seed = self._case(config), config.carm, config.run.seed or 0
        geometry, isocenter = make_geometry(carm), carm.isocenter_mm
        isocenter_xyz_mm = isocenter or tuple(case.volume.grid.center_xyz_mm.tolist())
        wanted = config.pose_source.trajectory(seed)(time_s)
        pose, _ = make_limits(carm).applied(wanted)
        view = geometry.view(pose, isocenter_xyz_mm)
        truth = case.truth.begin(view, time_s) if case.truth else None
        contrast = config.volume.contrast
        integrals = case.renderer.render(view, time_s, contrast.start_s if contrast else None)
        chain = case.chain(config)
        chain.restart(seed)
        image = chain.apply(integrals, config.image_chain, 0, geometry.pixel_spacing_mm, geometry)
        return MadeFrame(
            image=np.asarray(self.device.to_host(image), np.float32),
            pose=pose,
            view=view,
            truth=truth,
            categories=case.categories,
            dose_ngy=chain.pulse.dose_ngy,
        )

    def close(self) -> None:
        """Release the prepared patients and the device."""
        self._cases.clear()
        self.device.close()

    def _case(self, config: Config) -> _Case:
        key = _case_key(config)
        if key not in self._cases:
            while len(self._cases) >= CASES_KEPT:
                self._cases.popitem(last=False)
            self._cases[key] = self._prepared(config)
        self._cases.move_to_end(key)
        found = self._cases[key]
        if isinstance(found, CaseError):
            raise found
        return found

    def _prepared(self, config: Config) -> _Case | CaseError:
        try:
            return _Case(config, self.device)
        except InputError as error:
            return CaseError(str(error))


def _case_key(config: Config) -> str:
    """What a prepared patient depends on."""
    parts = [
        section.model_dump(mode="json", by_alias=True)
        for section in (config.volume, config.renderer, config.annotations)
    ]
    return json.dumps([*parts, config.image_chain.xray is not None])
