"""A small scene on a device, held to the float64 reference; in a process of its own where asked.

`python -m fluoro.device_trial` reads JSON, the device and a configuration's sections, and prints
one line of JSON, the verdict. A device that ends or stops this process has answered as well
(fluoro/rendering/trial.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig, RendererConfig
from fluoro.errors import DeviceMemoryError, FluoroError, NoDeviceError, OutputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.reference import ReferenceChain
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.choose import DeviceChoice, open_choice
from fluoro.rendering.devices import ComputeDevice
from fluoro.rendering.material_reference import tissue_joseph_twin, tissue_march_twin
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.reference import joseph_twin, march_twin, siddon_twin, slab_twin
from fluoro.rendering.renderer import DrrRenderer
from fluoro.rendering.trial import Verdict
from fluoro.volume.attenuation import mu_from_hu
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.materials import MaterialVolume
from fluoro.volume.volumes import MuVolume

__all__ = ["Trial", "small_volume"]

SEED = 2026
FRAMES = 3
SHORTEST_STEP_MM = 1.0
"""A finer step would take the reference minutes."""
MOST_OFF = 0.02
"""Share of pixels that may differ: where a count of photons falls on the other side of a limit."""
INTEGRAL_OFF = 2e-3
"""Of the largest integral: NVIDIA's texture units have weights of 8 bits."""
SHOWN_OFF = 0.02
"""Of the display's range."""


def small_volume(edge_mm: float = 16.0) -> MuVolume:
    """Return attenuation of a body with a lung and a bone, alike in no two directions."""
    shape = tuple(round(length / edge_mm) for length in (320, 288, 384))
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, count) for count in shape), indexing="ij")
    hu = np.where(x**2 + y**2 < 0.9, 40 + 25 * np.sin(3 * x + 2 * y + z), -1000)
    hu[(x - 0.4) ** 2 + (y + 0.1) ** 2 + (z - 0.2) ** 2 < 0.12] = -750
    hu[(x + 0.3) ** 2 + (y - 0.4) ** 2 < 0.04] = 700
    grid = VolumeGrid(shape_zyx=(shape[0], shape[1], shape[2]), spacing_xyz_mm=(edge_mm,) * 3)
    return MuVolume(mu_zyx=mu_from_hu(hu.astype(np.float32), 70.0), grid=grid)


class Trial:
    """A scene with a configuration's projector and image chain.

    Motion, contrast and inclusions of a configuration have no part in it.

    Args:
        sections: `renderer` and `image_chain` as in a YAML file, and of `carm` the keys
            `source_to_detector_mm` and `source_to_isocenter_mm`; what is missing has its default.
        volume: What is rendered.
        geometry: Of the detector.
    """

    def __init__(
        self,
        sections: Mapping[str, Any],
        volume: MuVolume | None = None,
        geometry: CarmGeometry | None = None,
    ) -> None:
        self.wanted = RendererConfig.model_validate({**sections.get("renderer", {}), **_NAMELESS})
        self.chain = ImageChainConfig.model_validate(sections.get("image_chain", {}))
        self.volume = volume or small_volume()
        self.geometry = geometry or _small_geometry(sections.get("carm", {}))
        pose = CarmPose(lao_deg=25.0, cra_deg=15.0, translation_mm=(4.0, -3.0, 6.0))
        self.view: View = self.geometry.view(pose, self.volume.grid.center_xyz_mm.tolist())
        self._materials = MaterialVolume(
            volume=self.volume, tissues=tissue_map("tissues", 70.0), inclusions=()
        )

    @property
    def step_mm(self) -> float:
        """Longest step of march [mm]."""
        finest = min(self.volume.grid.spacing_xyz_mm) / 2
        return max(self.wanted.step_mm or finest, SHORTEST_STEP_MM)

    def integrals(self, device: ComputeDevice, *, unrendered: bool = False) -> Any:
        """Return the device's line integrals (height, width), or thicknesses of materials [mm]."""
        projector = self.wanted.projector
        step_mm = self.step_mm if projector == "march" else None
        if self.chain.xray:
            of_materials = MaterialRenderer(
                self._materials,
                device,
                projector="joseph" if projector == "joseph" else "march",
                step_mm=step_mm,
            )
            return of_materials.render(self.view)
        renderer = DrrRenderer(
            self.volume,
            device,
            projector=projector,
            step_mm=step_mm,
            texture=self.wanted.texture,
        )
        return renderer.unrendered(self.view) if unrendered else renderer.render(self.view)

    def expected_integrals(self) -> NDArray[np.float64]:
        """Return what `integrals` should be, in float64."""
        projector, view = self.wanted.projector, self.view
        if self.chain.xray and projector == "joseph":
            return tissue_joseph_twin(self._materials, view)
        if self.chain.xray:
            return tissue_march_twin(self._materials, view, self.step_mm)
        if projector == "march":
            return march_twin(self.volume, view, self.step_mm)
        twins = {"joseph": joseph_twin, "slab": slab_twin, "siddon": siddon_twin}
        return twins[projector](self.volume, view)

    def pictures(self, device: ComputeDevice, integrals: Any) -> list[NDArray[np.float32]]:
        """Return the first pictures that the device's image chain makes of one set of integrals."""
        chain = ImageChain(device, SEED, self._chain_materials, fused=True)
        pitch_mm = self.geometry.pixel_spacing_mm
        return [
            np.array(device.to_host(chain.apply(integrals, self.chain, n, pitch_mm, self.geometry)))
            for n in range(FRAMES)
        ]

    def expected_pictures(self, integrals: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return what `pictures` should be."""
        pitch_mm = self.geometry.pixel_spacing_mm
        chain = ReferenceChain(self.chain, SEED, pitch_mm, self.geometry, self._chain_materials)
        return [chain.apply(np.asarray(integrals, np.float32), n) for n in range(FRAMES)]

    @property
    def _chain_materials(self) -> Any:
        return self._materials.materials if self.chain.xray else ()

    def fault(self, device: ComputeDevice) -> str | None:
        """Return what is wrong with the device's integrals and pictures; None: nothing.

        They come through a queue, as those of a stream do.
        """
        queue = device.queue()
        try:
            expected = self.expected_integrals()
            integrals = self.integrals(queue)
            found = np.array(queue.to_host(integrals))
            limit = INTEGRAL_OFF * float(np.abs(expected).max())
            off = _share_off(found, expected, limit)
            if off > MOST_OFF:
                return f"{off:.0%} of its line integrals are wrong"
            if self.wanted.fused:
                integrals = self.integrals(queue, unrendered=True)
            return self._wrong_pictures(queue, integrals, found)
        finally:
            queue.close()

    def _wrong_pictures(
        self, queue: ComputeDevice, integrals: Any, found: NDArray[np.float32]
    ) -> str | None:
        expected = self.expected_pictures(found)
        for number, (ours, theirs) in enumerate(
            zip(self.pictures(queue, integrals), expected, strict=True)
        ):
            off = _share_off(ours, theirs, SHOWN_OFF)
            if off > MOST_OFF:
                return f"{off:.0%} of the pixels of picture {number} are wrong"
        return None


_NAMELESS: dict[str, Any] = {"device": "auto"}
"""Which device is tried is no part of the scene."""


def _small_geometry(carm: Mapping[str, Any]) -> CarmGeometry:
    whole = CarmGeometry()
    return CarmGeometry(
        source_to_detector_mm=carm.get("source_to_detector_mm", whole.source_to_detector_mm),
        source_to_isocenter_mm=carm.get("source_to_isocenter_mm", whole.source_to_isocenter_mm),
        detector_width_px=40,
        detector_height_px=36,
        pixel_spacing_mm=12.0,
    )


def _share_off(found: NDArray[Any], expected: NDArray[Any], limit: float) -> float:
    """The share of values that are farther off than a limit, or not finite."""
    return float(np.mean(~(np.abs(found - expected) <= limit)))


def main(asked: Mapping[str, Any]) -> Verdict:
    """Return the verdict on a device.

    Args:
        asked: `choice` with the fields of a `DeviceChoice`, and `sections` for the `Trial`.
    """
    try:
        device = open_choice(DeviceChoice(**asked["choice"], reason="on trial"), workers=1)
    except FluoroError as error:
        return _verdict(error)
    try:
        return Verdict(fault=Trial(asked["sections"]).fault(device))
    except FluoroError as error:
        return _verdict(error)
    finally:
        device.close()


def _verdict(error: FluoroError) -> Verdict:
    return Verdict(
        fault=str(error),
        absent=isinstance(error, NoDeviceError),
        lasting=not isinstance(error, DeviceMemoryError | OutputError),
    )


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(main(json.load(sys.stdin)))) + "\n")
