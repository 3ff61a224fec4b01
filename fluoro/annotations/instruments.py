"""Objects with a pose per frame: mask, thickness, box, centre line, tip, depth of entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fluoro.annotations.base import AnnotationSection, AnnotationSetup

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.geometry.projection import View
    from fluoro.rendering.devices.base import ComputeDevice
    from fluoro.rendering.parts.scene_parts import ThicknessOfEach
    from fluoro.volume.posed_solid import PosedSolid
    from fluoro.volume.volumes import MuVolume

__all__ = ["FIRST_CATEGORY", "FrameInstruments", "InstrumentAnnotator", "InstrumentConfig", "Line"]

FIRST_CATEGORY = 70_000
"""Number of the first instrument's category, above those of structures and landmarks."""

SKIN_SHARE = 0.5
"""Of water's attenuation: what reaches it is the patient."""


class InstrumentConfig(AnnotationSection):
    """Each object with a pose: mask and box, and of a wire or tool its centre line and tip."""

    def make(self, setup: AnnotationSetup) -> InstrumentAnnotator:
        """Return what annotates the objects.

        Raises:
            InputError: There are none.
        """
        from fluoro.errors import InputError

        if not setup.posed:
            raise InputError(
                "annotations.instruments: volume.materials.inclusions has no object with a pose"
            )
        return InstrumentAnnotator(setup.posed, setup.volume, setup.device)


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """Where a wire or tool lies.

    Attributes:
        points_xyz_mm: Along its middle, the tip first, patient LPS [mm], shape (N, 3).
        pixels_uv: The same in pixels from the image's corner, shape (N, 2); NaN: not before the
            source.
        depth_mm: Way along it from the skin to the tip [mm]; 0: it is outside.
    """

    points_xyz_mm: NDArray[np.float64]
    pixels_uv: NDArray[np.float64]
    depth_mm: float


class InstrumentAnnotator:
    """Annotates objects with a pose, on the renderer's own device.

    Args:
        solids: The objects.
        volume: The patient, for the depth of entry.
        device: Where frames are rendered.
    """

    def __init__(
        self, solids: Sequence[PosedSolid], volume: MuVolume, device: ComputeDevice
    ) -> None:
        from fluoro.rendering.parts.scene_parts import ThicknessOfEach

        self._solids, self._volume, self._device = tuple(solids), volume, device
        self._parts: ThicknessOfEach = ThicknessOfEach(self._solids, device, volume.grid)

    def begin(self, view: View) -> FrameInstruments:
        """Return the annotations at the start of the run."""
        return self.begin_at(view, 0.0)

    def begin_at(self, view: View, time_s: float) -> FrameInstruments:
        """Return the annotations of a view at a time of the run [s]; their images are queued."""
        return FrameInstruments(
            names=tuple(each.name for each in self._solids),
            lines=tuple(self._line(each, view, time_s) for each in self._solids),
            thickness=self._parts.render(view, time_s),
            device=self._device,
        )

    def categories(self) -> list[dict[str, Any]]:
        """Return a category for each object."""
        return [
            {"id": FIRST_CATEGORY + number, "name": each.name, "supercategory": "instruments"}
            for number, each in enumerate(self._solids)
        ]

    def _line(self, solid: PosedSolid, view: View, time_s: float) -> Line | None:
        found = solid.center_line(time_s)
        if found is None:
            return None
        return Line(
            points_xyz_mm=found,
            pixels_uv=view.project(found),
            depth_mm=depth_of_entry_mm(found, self._volume),
        )


def depth_of_entry_mm(line_xyz_mm: NDArray[np.float64], volume: MuVolume) -> float:
    """Return the way along a line from the skin to its tip [mm]; 0: no point is in the patient.

    Args:
        line_xyz_mm: The tip first, patient LPS [mm], shape (N, 3).
        volume: Skin is where it reaches half of water's attenuation.
    """
    import numpy as np
    from scipy.ndimage import map_coordinates

    along = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(line_xyz_mm, axis=0), axis=1)))
    step = min(volume.grid.spacing_xyz_mm) / 2
    at = np.linspace(0.0, along[-1], max(int(np.ceil(along[-1] / step)), 1) + 1)
    points = np.stack([np.interp(at, along, column) for column in line_xyz_mm.T])
    index = (volume.grid.index_from_world @ np.vstack([points, np.ones(len(at))]))[2::-1]
    mu = map_coordinates(volume.mu_zyx, index, order=1, mode="grid-constant", cval=0.0)
    inside = np.flatnonzero(mu >= SKIN_SHARE * volume.water_mu_per_mm)
    return float(at[inside[-1]]) if inside.size else 0.0


class FrameInstruments:
    """Annotations of the objects of one frame; read images when its rendering is done.

    Attributes:
        names: K of them.
        lines: Of each; None: it has no middle.
    """

    def __init__(
        self,
        *,
        names: tuple[str, ...],
        lines: tuple[Line | None, ...],
        thickness: Any,
        device: ComputeDevice,
    ) -> None:
        self.names, self.lines = names, lines
        self._thickness, self._device = thickness, device

    @cached_property
    def lengths_mm(self) -> NDArray[np.float32]:
        """Path length in each object, whatever lies before it [mm], shape (K, height, width)."""
        return self._device.to_host(self._thickness, settled=True)

    def mask(self, number: int) -> NDArray[np.bool_]:
        """Return where a ray passes through an object, shape (height, width).

        Args:
            number: From 0, in the order of `names`.
        """
        import numpy as np

        return np.asarray(self.lengths_mm[number] > 0)

    def tensors(self) -> Mapping[str, Any]:
        """Return path lengths [mm] (K, height, width), and tips [px] (K, 2); NaN: none."""
        import numpy as np

        tips = [(np.nan, np.nan) if each is None else each.pixels_uv[0] for each in self.lines]
        return {
            "instrument_lengths_mm": self._thickness,
            "instrument_tips_px": np.array(tips, np.float32),
        }

    def coco(self) -> Mapping[int, Mapping[str, Any]]:
        """Return segmentation, area and box of each object in the image, and its line."""
        found: dict[int, dict[str, Any]] = {}
        for number, line in enumerate(self.lines):
            fields = _mask_fields(self.mask(number)) | _line_fields(line)
            if fields:
                found[FIRST_CATEGORY + number] = fields
        return found


def _mask_fields(mask: NDArray[np.bool_]) -> dict[str, Any]:
    import numpy as np

    from fluoro.annotations.coco import mask_rle

    if not mask.any():
        return {}
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    return {"segmentation": mask_rle(mask), "area": int(mask.sum()), "bbox": box}


def _line_fields(line: Line | None) -> dict[str, Any]:
    import numpy as np

    if line is None:
        return {}
    seen = ~np.isnan(line.pixels_uv[:, 0])
    return {
        "center_line": line.pixels_uv[seen].round(3).tolist(),
        "tip": line.pixels_uv[0].round(3).tolist() if seen[0] else None,
        "tip_mm": line.points_xyz_mm[0].round(4).tolist(),
        "depth_mm": round(line.depth_mm, 3),
    }
