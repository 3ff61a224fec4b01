"""The files under ros2/, checked without ROS: URDF, launch file, RViz and Foxglove layouts."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from fluoro.config import load_config
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.interop.ros_transforms import carm_transforms, static_transforms
from fluoro.poses.dds import CARM_JOINTS
from tests.support import require_program
from tools.docs import make_urdf

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ros2"
ORIGIN = (0.0, 0.0, 0.0)
POSE = CarmPose(lao_deg=-37.0, cra_deg=21.5, roll_deg=8.0, translation_mm=(10.0, -20.0, 30.0))
ROUNDING = 1e-6
"""Of the file's numbers [m]."""


def robot():
    return Xml.parse(FOLDER / "carm.urdf").getroot()


def numbers(text):
    return [float(word) for word in text.split()]


def origin_of(element):
    """parent_from_child [m] of a joint's or visual's origin."""
    matrix, origin = np.eye(4), element.find("origin")
    if origin is not None:
        matrix[:3, :3] = Rotation.from_euler("xyz", numbers(origin.get("rpy"))).as_matrix()
        matrix[:3, 3] = numbers(origin.get("xyz"))
    return matrix


def placements(values):
    """Parent, child, matrix [m] of each joint at its value, as robot_state_publisher has them."""
    for joint in robot().iter("joint"):
        motion, value = np.eye(4), values.get(joint.get("name"), 0.0)
        if joint.get("type") == "prismatic":
            motion[:3, 3] = value * np.array(numbers(joint.find("axis").get("xyz")))
        elif joint.get("type") == "revolute":
            turn = value * np.array(numbers(joint.find("axis").get("xyz")))
            motion[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
        yield (
            joint.find("parent").get("link"),
            joint.find("child").get("link"),
            origin_of(joint) @ motion,
        )


def joint_values(pose):
    moves = (value / 1000 for value in pose.translation_mm)
    turns = np.radians([pose.lao_deg, pose.cra_deg, pose.roll_deg])
    return dict(zip((joint.name for joint in CARM_JOINTS), (*moves, *turns), strict=True))


def test_urdf_is_what_the_code_makes():
    assert (FOLDER / "carm.urdf").read_text() == make_urdf.make(), (
        "run `python -m tools.docs.make_urdf`"
    )


def test_urdf_is_read_by_ros_own_parser():
    program = require_program("check_urdf", package="liburdfdom-tools")
    read = subprocess.run([program, FOLDER / "carm.urdf"], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    assert "root Link: patient has 2 child(ren)" in read.stdout


@pytest.mark.parametrize("pose", [CarmPose(), POSE])
def test_urdf_has_the_frames_of_tf_at_each_pose(pose):
    view = CarmGeometry().view(pose, ORIGIN)
    theirs = {(parent, child): matrix for parent, child, matrix in placements(joint_values(pose))}
    ours = [*static_transforms(ORIGIN, "HFS"), *carm_transforms(pose, view, ORIGIN)]
    assert {(parent, child) for parent, child, _ in ours} == set(theirs)
    for parent, child, matrix in ours:
        expected = matrix.copy()
        expected[:3, 3] /= 1000
        np.testing.assert_allclose(theirs[parent, child], expected, atol=ROUNDING)


def test_launch_file_starts_what_is_there():
    launch = Xml.parse(FOLDER / "fluoro.launch.xml").getroot()
    assert launch.tag == "launch"
    assert {element.tag for element in launch.iter()} <= {
        "launch", "arg", "executable", "node", "param", "remap",
    }  # fmt: skip
    declared = {element.get("name") for element in launch.iter("arg")}
    texts = [value for element in launch.iter() for value in element.attrib.values()]
    for text in texts:
        for part in text.split("$(")[1:]:
            kind, _, rest = part.partition(" ")
            if kind == "var":
                assert rest.partition(")")[0] in declared
        for word in text.replace("'", " ").split():
            if word.startswith("$(dirname)/") and "/.venv/" not in word:
                path = word.removeprefix("$(dirname)/").rstrip(")")
                assert (FOLDER / path).exists(), path
    assert any("app.py" in text for text in texts)


def sent_topics():
    """Topics that configs/ros2.yaml sends."""
    frames = load_config(ROOT / "configs" / "ros2.yaml").dds.frames
    assert frames.camera
    assert frames.transforms
    names = ("image_raw", "camera_info", "carm_pose", "camera_pose", "frame_info")
    cameras = {f"{frames.prefix}/camera/{name}" for name in ("image_raw", "camera_info")}
    return (
        {f"{frames.prefix}/{name}" for name in names}
        | cameras
        | {"/tf", "/tf_static", "/diagnostics"}
    )


def values_of(document, *keys):
    """Values of these keys anywhere in a document."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in keys and isinstance(value, str):
                yield value
            yield from values_of(value, *keys)
    elif isinstance(document, list):
        for value in document:
            yield from values_of(value, *keys)


def test_foxglove_layout_shows_topics_that_are_sent():
    layout = json.loads((FOLDER / "foxglove_layout.json").read_text())
    panels = layout["configById"]
    assert set(panel_ids(layout["layout"])) == set(panels)
    topics = {*values_of(panels, "imageTopic", "calibrationTopic", "topicToRender", "topicPath")}
    assert topics
    assert topics <= sent_topics()
    assert panels["3D!carm"]["followTf"] == "patient"


def panel_ids(layout):
    if isinstance(layout, str):
        yield layout
    else:
        yield from panel_ids(layout["first"])
        yield from panel_ids(layout["second"])


def test_rviz_shows_topics_that_are_sent():
    rviz = yaml.safe_load((FOLDER / "fluoro.rviz").read_text())["Visualization Manager"]
    assert rviz["Global Options"]["Fixed Frame"] == "patient"
    topics = {*values_of(rviz["Displays"], "Value")} - {"/robot_description"}
    assert topics == {"/fluoro/image_raw", "/fluoro/camera/image_raw"}
    assert topics <= sent_topics()
