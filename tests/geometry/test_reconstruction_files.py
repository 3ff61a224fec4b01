"""Views as RTK, TIGRE, ASTRA and LEAP have them, held to these programs' published formulas."""

import dataclasses

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.converters.astra import astra_vectors, views_from_astra
from fluoro.geometry.converters.leap import leap_text, read_leap_file
from fluoro.geometry.converters.patient_frames import LPS_FROM_IEC
from fluoro.geometry.converters.rtk import RtkPose
from fluoro.geometry.converters.rtk_file import read_rtk_file, rtk_matrix, rtk_text
from fluoro.geometry.converters.tigre import TigreGeometry
from fluoro.geometry.se3 import translation

CENTER = np.array([12.0, -7.0, 905.0])
POINTS = np.random.default_rng(1).uniform(-80, 80, (20, 3))
"""About the isocentre, patient LPS [mm]."""
GEOMETRY = CarmGeometry(
    source_to_detector_mm=1150,
    source_to_isocenter_mm=740,
    detector_width_px=60,
    detector_height_px=44,
    pixel_spacing_mm=3.0,
    detector_offset_mm=(11.0, -6.0),
    detector_tilt_deg=(2.0, -3.0),
)
POSES = [
    CarmPose(lao_deg=lao, cra_deg=cra, roll_deg=roll, translation_mm=(3.0, -5.0, 8.0))
    for lao, cra, roll in ((0, 0, 0), (35, 20, 5), (-120, -30, 80), (90, 0, 0), (179, 45, -170))
]
VIEWS = [GEOMETRY.view(pose, CENTER) for pose in POSES]


def same_views(found, expected):
    """Whether views have the same rays and pixels."""
    for a, b in zip(found, expected, strict=True):
        for field in dataclasses.fields(b):
            value, wanted = getattr(a, field.name), getattr(b, field.name)
            assert np.allclose(value, wanted, atol=1e-6), field.name


def rotation(axis, angle_rad):
    """Right-handed turn, written out."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array({
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }[axis])  # fmt: skip


# RTK: Geometry.md. Pixels are at (u, v) [mm] = origin + index * spacing


LPS_FROM_RTK = translation(CENTER) @ np.array(LPS_FROM_IEC, float)
ORIGIN = (-29.5 * 3.0, -21.5 * 3.0)


def rtk_poses():
    poses = [RtkPose.from_view(view, lps_from_rtk=LPS_FROM_RTK) for view in VIEWS]
    return [pose.with_origin(ORIGIN) for pose in poses]


def test_rtks_matrix_projects_the_points_to_our_pixels():
    world = np.linalg.inv(LPS_FROM_RTK)
    for view, pose in zip(VIEWS, rtk_poses(), strict=True):
        points = (world @ np.c_[POINTS + CENTER, np.ones(20)].T).T
        projected = (rtk_matrix(pose) @ points.T).T
        mm = projected[:, :2] / projected[:, 2:]
        pixels = (mm - ORIGIN) / 3.0 + 0.5
        assert np.allclose(pixels, view.project(POINTS + CENTER), atol=1e-6)


def test_rtks_matrix_is_its_documented_product():
    pose = RtkPose(sid_mm=1000, sdd_mm=1536, gantry_deg=30, out_of_plane_deg=10, in_plane_deg=-20,
                   offset_xy_mm=(4, 5), source_offset_xy_mm=(1, -2), origin_xy_mm=(0, 0),
                   spacing_xy_mm=(1, 1), size_px=(2, 2))  # fmt: skip
    turned = (
        rotation("z", np.radians(20)) @ rotation("x", np.radians(-10)) @ rotation("y", -np.pi / 6)
    )
    source, detector = np.array([1, -2, 1000.0]), np.array([4, 5, 1000.0 - 1536])
    for point in POINTS:
        at = turned @ point
        share = (detector[2] - source[2]) / (at[2] - source[2])
        on_plane = source + share * (at - source) - detector
        projected = rtk_matrix(pose) @ [*point, 1]
        assert np.allclose(projected[:2] / projected[2], on_plane[:2], atol=1e-9)


def read(path):
    return read_rtk_file(
        path,
        origin_xy_mm=ORIGIN,
        spacing_xy_mm=(3.0, 3.0),
        size_px=(60, 44),
        lps_from_rtk=LPS_FROM_RTK,
    )


def test_rtks_file_comes_back(tmp_path):
    path = tmp_path / "rtk.xml"
    path.write_text(rtk_text(rtk_poses()))
    same_views([pose.view() for pose in read(path)], VIEWS)


def test_rtks_constant_values_may_stand_at_the_root(tmp_path):
    path = tmp_path / "rtk.xml"
    path.write_text(
        '<RTKThreeDCircularGeometry version="2"><SourceToIsocenterDistance>740'
        "</SourceToIsocenterDistance><SourceToDetectorDistance>1150</SourceToDetectorDistance>"
        "<Projection><Angle>15</Angle></Projection></RTKThreeDCircularGeometry>"
    )
    (pose,) = read(path)
    assert (pose.sid_mm, pose.sdd_mm, pose.gantry_deg) == (740, 1150, 15)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("<RTKThree", "<Other", "is no XML file"),
        ('version="3"', 'version="9"', "must be RTKThreeDCircularGeometry of version 2 or 3"),
        ("<GantryAngle>35<", "<GantryAngle>x<", "GantryAngle must be a number, got 'x'"),
        ("<SourceToDetectorDistance>", "<No>", "is no XML file"),
        ("<Matrix>", "<Matrix>7 ", "Matrix must be 12 numbers"),
    ],
)
def test_a_bad_rtk_file_is_one_line(tmp_path, old, new, match):
    path, text = tmp_path / "rtk.xml", rtk_text(rtk_poses()[:2])
    text = text.replace(text.split("<GantryAngle>")[2].split("<")[0], "35", 1)
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=match):
        read(path)


def test_a_matrix_that_its_parameters_do_not_give_is_refused(tmp_path):
    path, text = tmp_path / "rtk.xml", rtk_text(rtk_poses())
    path.write_text(text.replace("<SourceToIsocenterDistance>7", "<SourceToIsocenterDistance>8"))
    with pytest.raises(InputError, match="projection 1: Matrix differs by"):
        read(path)


# ASTRA: creators and geom_2vec


def test_astras_vectors_are_those_of_its_cone_geometry():
    origin_mm, detector_mm, pitch = 740.0, 410.0, 3.0
    lengths = CarmGeometry(
        source_to_detector_mm=origin_mm + detector_mm,
        source_to_isocenter_mm=origin_mm,
        detector_width_px=60,
        detector_height_px=44,
        pixel_spacing_mm=pitch,
    )
    for theta in np.linspace(0, 6, 20):
        # 'cone' at theta has rows along +z: our view with its rows in the other order
        view = lengths.view(CarmPose(lao_deg=180 + np.degrees(theta)), CENTER)
        found = astra_vectors([view], CENTER)[0].reshape(4, 3)
        sine, cosine = np.sin(theta), np.cos(theta)
        assert np.allclose(found[0], np.array([sine, -cosine, 0]) * origin_mm)
        assert np.allclose(found[1], np.array([-sine, cosine, 0]) * detector_mm)
        assert np.allclose(found[2], -np.array([cosine, sine, 0]) * pitch)
        assert np.allclose(found[3], [0, 0, -pitch])


def test_astras_vectors_project_the_points_and_come_back():
    vectors = astra_vectors(VIEWS, CENTER)
    for view, row in zip(VIEWS, vectors, strict=True):
        source, middle, u, v = row.reshape(4, 3)
        for point in POINTS:
            # source + t (point - source) = middle + a u + b v, a and b in pixels from the middle
            a, b, _ = np.linalg.solve(np.column_stack([u, v, source - point]), source - middle)
            assert np.allclose((a + 30, b + 22), view.project(point + CENTER), atol=1e-6)
    same_views(views_from_astra(vectors, 60, 44, CENTER), VIEWS)
    with pytest.raises(InputError, match=r"of shape \(views, 12\), got \(5, 11\)"):
        views_from_astra(vectors[:, :11], 60, 44, CENTER)


# TIGRE: its Siddon kernel's geometry


def test_tigres_fields_project_the_points_by_its_kernels_geometry():
    mirrored = [view.mirrored() for view in VIEWS]
    found = TigreGeometry.from_views(mirrored, CENTER)
    for k, view in enumerate(mirrored):
        a, b, c = found.angles_rad[k]
        world = rotation("z", a) @ rotation("y", b) @ rotation("z", c)
        yaw, pitch, roll = found.detector_rotation_rad[k]
        panel = world @ rotation("z", roll) @ rotation("y", pitch) @ rotation("x", yaw)
        distance, origin = found.source_to_detector_mm[k], found.source_to_origin_mm[k]
        source = world @ [origin, 0, 0]
        offset_v, offset_u = found.detector_offset_vu_mm[k]
        middle = world @ [-(distance - origin), offset_u, offset_v]
        u, v = panel @ [0, 1, 0], panel @ [0, 0, -1]
        for point in POINTS:
            across, down, _ = np.linalg.solve(
                np.column_stack([u, v, source - point]), source - middle
            )
            pixel = (across / 3.0 + 30, down / 3.0 + 22)
            assert np.allclose(pixel, view.project(point + CENTER), atol=1e-6)
    same_views(found.views(CENTER), mirrored)


def test_tigre_refuses_what_it_cannot_say():
    with pytest.raises(InputError, match="TIGRE shows images as seen from the source"):
        TigreGeometry.from_views(VIEWS, CENTER)
    other = GEOMETRY.binned(2).view(POSES[0], CENTER).mirrored()
    with pytest.raises(InputError, match="one detector, got several"):
        TigreGeometry.from_views([VIEWS[0].mirrored(), other], CENTER)


# LEAP: file_io.cpp


def test_leaps_file_projects_the_points_and_comes_back(tmp_path):
    path = tmp_path / "leap.txt"
    path.write_text(leap_text(VIEWS, CENTER, voxels_xyz=(64, 64, 32), voxel_mm=1.5))
    keys = dict(line.split(" = ") for line in path.read_text().splitlines())
    assert keys["numX"] == "64"
    vectors = {
        name: np.array([float(word) for word in keys[name].split(",")]).reshape(-1, 3)
        for name in ("sourcePositions", "moduleCenters", "rowVectors", "colVectors")
    }
    width, height = float(keys["pixelWidth"]), float(keys["pixelHeight"])
    for k, view in enumerate(VIEWS):
        source, middle = vectors["sourcePositions"][k], vectors["moduleCenters"][k]
        columns, rows = vectors["colVectors"][k], vectors["rowVectors"][k]
        for point in POINTS:
            s, t, _ = np.linalg.solve(
                np.column_stack([columns, rows, source - point]), source - middle
            )
            column = s / width + float(keys["centerCol"]) + 0.5
            row = t / height + float(keys["centerRow"]) + 0.5
            assert np.allclose((column, row), view.project(point + CENTER), atol=1e-6)
    same_views(read_leap_file(path, CENTER), VIEWS)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("modular", "cone", "geometry must be modular, got 'cone'"),
        ("numRows", "rows", "numRows is missing"),
        ("numAngles = 5", "numAngles = 4", "sourcePositions must be 3 numbers for each of 4"),
        ("pixelWidth = 3", "pixelWidth = wide", "pixelWidth must be a number, got 'wide'"),
    ],
)
def test_a_bad_leap_file_is_one_line(tmp_path, old, new, match):
    path = tmp_path / "leap.txt"
    path.write_text(leap_text(VIEWS, CENTER).replace(old, new))
    with pytest.raises(InputError, match=match):
        read_leap_file(path, CENTER)
