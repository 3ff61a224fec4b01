"""The views of a recording in the words of programs that reconstruct: RTK, TIGRE, ASTRA, LEAP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fluoro.errors import InputError, OutputError
from fluoro.files.atomic_write import replacing, whole_file, writing
from fluoro.geometry.converters.astra import astra_vectors
from fluoro.geometry.converters.leap import leap_text
from fluoro.geometry.converters.patient_frames import LPS_FROM_IEC
from fluoro.geometry.converters.rtk import RtkPose
from fluoro.geometry.converters.rtk_file import rtk_text
from fluoro.geometry.converters.tigre import TigreGeometry
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import translation
from fluoro.imaging.frame import FluoroFrame

__all__ = ["ProjectionFiles"]

FOLDER = "geometry"


class ProjectionFiles:
    """A folder `geometry`: rtk.xml, tigre.npz, astra.npy, leap.txt, and about.json beside them.

    The origin of all worlds is the untranslated isocentre. RTK's has IEC 61217's axes, x to the
    patient's left, y to the head and z to the front, so that the C-arm's primary angle is the
    gantry's; the others have the patient's LPS. TIGRE sees images from the source: its columns
    are ours in the other order.

    Args:
        folder: Of the run.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].

    Raises:
        OutputError: The folder cannot be made.
    """

    def __init__(self, folder: Path, isocenter_xyz_mm: Sequence[float]) -> None:
        self._folder = folder / FOLDER
        self._center = np.array(isocenter_xyz_mm, float)
        self._views: list[View] = []
        self._distances_mm: list[float] = []
        with writing(self._folder):
            self._folder.mkdir()

    def write(self, frame: FluoroFrame) -> None:
        """Take the view of one frame."""
        self._views.append(frame.geometry.view(frame.pose, self._center.tolist()))
        self._distances_mm.append(frame.geometry.source_to_detector_mm)

    def close(self) -> None:
        """Write the files, where there were frames.

        Raises:
            OutputError: A file cannot be written, or the detector has changed between frames.
        """
        if not self._views:
            return
        lps_from_rtk = translation(self._center) @ np.array(LPS_FROM_IEC, float)
        poses = [RtkPose.from_view(view, lps_from_rtk=lps_from_rtk) for view in self._views]
        try:
            leap = leap_text(self._views, self._center)
            tigre = TigreGeometry.from_views([v.mirrored() for v in self._views], self._center)
        except InputError as error:
            raise OutputError(f"{self._folder}: {error}") from None
        texts = {
            "rtk.xml": rtk_text(_on_one_image(poses)),
            "leap.txt": leap,
            "about.json": self._about(),
        }
        for name, text in texts.items():
            with replacing(self._folder / name) as text_file:
                text_file.write(text)
        with whole_file(self._folder / "astra.npy") as path, path.open("wb") as file:
            np.save(file, astra_vectors(self._views, self._center))
        with whole_file(self._folder / "tigre.npz") as path, path.open("wb") as file:
            np.savez(file, **vars(tigre))

    def _about(self) -> str:
        first = self._views[0]
        spacing = [float(np.linalg.norm(first.column_step_xyz_mm)),
                   float(np.linalg.norm(first.row_step_xyz_mm))]  # fmt: skip
        size = [first.width_px, first.height_px]
        facts = {
            "views": len(self._views),
            "isocenter_lps_mm": self._center.tolist(),
            "rtk_world": "IEC 61217 about the isocentre: x left, y head, z front",
            "rtk_projections": {
                "size": size,
                "spacing": spacing,
                "origin": _image_origin(size, spacing),
            },
            "tigre_columns": "in the other order than in the images",
        }
        return json.dumps(facts, indent=2) + "\n"


def _image_origin(size: Sequence[int], spacing: Sequence[float]) -> list[float]:
    """Centre of the first pixel of an image about its own middle [mm]."""
    return [-(count - 1) / 2 * step for count, step in zip(size, spacing, strict=True)]


def _on_one_image(poses: Sequence[RtkPose]) -> list[RtkPose]:
    """The same projections on one image about its middle: what is left is the offset's."""
    origin = _image_origin(poses[0].size_px, poses[0].spacing_xy_mm)
    return [pose.with_origin((origin[0], origin[1])) for pose in poses]
