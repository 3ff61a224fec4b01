"""Writes ros2/carm.urdf: the C-arm's chain of joints, its detector and camera, drawn as boxes.

python -m tools.docs.make_urdf

Links and joints are the frames of /tf (fluoro/interop/ros_transforms.py); lengths are the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np

from fluoro.geometry import carm_drawing
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.carm_joints import CARM_CHAIN
from fluoro.interop.dds.image_messages import CAMERA_FRAME
from fluoro.interop.dds.pose_messages import CARM_FRAME, MM_PER_M, PATIENT_FRAME
from fluoro.interop.ros_transforms import BASE_FRAME, DETECTOR_FRAME, LINKS, TABLE_FRAME

PAGE = Path(__file__).parents[2] / "ros2" / "carm.urdf"
COMMENT = """ The C-arm at its default lengths, made by tools/docs/make_urdf.py. The frame patient
     is DICOM's LPS [m]. The isocentre is at its origin here, as with carm.isocenter_mm
     [0, 0, 0]. """
RANGES = {
    "carm_lao": (-math.pi, math.pi),
    "carm_cra": (-math.pi / 2, math.pi / 2),
    "carm_roll": (-math.pi, math.pi),
}
SLIDE_M = (-1.0, 1.0)
ARC_SEGMENTS = 16
COLORS = {"grey": "0.75 0.77 0.8 1", "dark": "0.25 0.28 0.33 1", "table": "0.45 0.5 0.6 1"}

Vector = Sequence[float]


def make() -> str:
    """Return the text of the file."""
    robot = Xml.Element("robot", name="fluoro_carm")
    robot.append(Xml.Comment(COMMENT))
    for name, rgba in COLORS.items():
        Xml.SubElement(Xml.SubElement(robot, "material", name=name), "color", rgba=rgba)
    links = {
        name: Xml.SubElement(robot, "link", name=name)
        for name in (PATIENT_FRAME, TABLE_FRAME, *LINKS, DETECTOR_FRAME, CAMERA_FRAME)
    }
    _draw(links)
    _fix(robot, PATIENT_FRAME, TABLE_FRAME)
    _fix(robot, PATIENT_FRAME, BASE_FRAME)
    for number, (name, kind, axis) in enumerate(CARM_CHAIN):
        _joint(robot, name, kind, (LINKS[number], LINKS[number + 1]), axis)
    geometry = CarmGeometry()
    behind_mm = geometry.source_to_detector_mm - geometry.source_to_isocenter_mm
    _fix(robot, CARM_FRAME, DETECTOR_FRAME, (0, -behind_mm, 0), (-math.pi / 2, 0, 0))
    source = (0, geometry.source_to_isocenter_mm, 0)
    _fix(robot, CARM_FRAME, CAMERA_FRAME, source, (math.pi / 2, math.pi, 0))
    Xml.indent(robot)
    return '<?xml version="1.0"?>\n' + Xml.tostring(robot, encoding="unicode") + "\n"


def _joint(robot: Xml.Element, name: str, kind: str, links: tuple[str, str], axis: Vector) -> None:
    joint = Xml.SubElement(robot, "joint", name=name, type=kind)
    Xml.SubElement(joint, "parent", link=links[0])
    Xml.SubElement(joint, "child", link=links[1])
    Xml.SubElement(joint, "axis", xyz=_text(axis))
    lower, upper = RANGES.get(name, SLIDE_M)
    bounds = {"lower": f"{lower:.6g}", "upper": f"{upper:.6g}", "effort": "0", "velocity": "1"}
    Xml.SubElement(joint, "limit", bounds)


def _fix(
    robot: Xml.Element, parent: str, child: str, xyz_mm: Vector = (0, 0, 0), rpy: Vector = (0, 0, 0)
) -> None:
    joint = Xml.SubElement(robot, "joint", name=f"{child}_joint", type="fixed")
    Xml.SubElement(joint, "parent", link=parent)
    Xml.SubElement(joint, "child", link=child)
    _origin(joint, xyz_mm, rpy)


def _draw(links: dict[str, Xml.Element]) -> None:
    """Draw the housings where the console draws them; the arc does not roll."""
    geometry = CarmGeometry()
    drawn = carm_drawing.carm_scene(geometry.view(CarmPose(), (0, 0, 0)), (0, 0, 0))
    source_mm = geometry.source_to_isocenter_mm
    detector_mm = source_mm - geometry.source_to_detector_mm
    _, thickness, length = carm_drawing.TABLE_SIZE_MM
    middle = carm_drawing.TABLE_BEHIND_ISOCENTER_MM + thickness / 2
    _box(
        links[TABLE_FRAME],
        carm_drawing.TABLE_SIZE_MM,
        (0, middle, carm_drawing.TABLE_HEAD_MM - length / 2),
        "table",
    )
    across, along, beam = (2 * half for half in carm_drawing.TUBE_HALF_MM)
    _box(
        links[CARM_FRAME],
        (across, beam, along),
        (0, source_mm + carm_drawing.TUBE_BEHIND_SOURCE_MM, 0),
        "dark",
    )
    u_mm, v_mm = (size + 2 * carm_drawing.DETECTOR_MARGIN_MM for size in geometry.detector_size_mm)
    depth = 2 * carm_drawing.DETECTOR_HALF_DEPTH_MM
    _box(links[CARM_FRAME], (u_mm, depth, v_mm), (0, detector_mm - depth / 2, 0), "grey")
    arc = links[LINKS[-2]]
    across, along, beam = (2 * half for half in carm_drawing.MOUNT_HALF_MM)
    _box(arc, (across, beam, along), (0, detector_mm - depth - beam / 2, 0), "grey")
    points = drawn.arc_xyz_mm[:: len(drawn.arc_xyz_mm) // ARC_SEGMENTS]
    for start, end in pairwise(points):
        _, dy, dz = (end - start).tolist()
        wide, high = (2 * half for half in carm_drawing.ARC_HALF_MM)
        turn = (math.atan2(-dy, dz), 0, 0)
        _box(arc, (wide, high, math.hypot(dy, dz) + high / 4), (start + end) / 2, "grey", turn)


def _box(
    link: Xml.Element, size_mm: Vector, xyz_mm: Vector, color: str, rpy: Vector = (0, 0, 0)
) -> None:
    visual = Xml.SubElement(link, "visual")
    _origin(visual, xyz_mm, rpy)
    Xml.SubElement(
        Xml.SubElement(visual, "geometry"), "box", size=_text(np.array(size_mm) / MM_PER_M)
    )
    Xml.SubElement(visual, "material", name=color)


def _origin(element: Xml.Element, xyz_mm: Vector, rpy: Vector) -> None:
    xyz = _text(np.array(xyz_mm, float) / MM_PER_M)
    Xml.SubElement(element, "origin", xyz=xyz, rpy=_text(rpy, digits=9))


def _text(values: Vector, digits: int = 4) -> str:
    return " ".join(f"{float(value) + 0.0:.{digits}g}" for value in values)


if __name__ == "__main__":
    PAGE.write_text(make(), encoding="utf-8")
