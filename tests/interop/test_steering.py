"""Live samples of instruments: from Python, DDS's messages and OpenIGTLink, and what is refused."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack

import numpy as np
import pytest

from fluoro.config.scene import ToolInclusion, WireInclusion
from fluoro.geometry.se3 import translation
from fluoro.interop.steering import Steering
from fluoro.scene.setup import SceneSetup
from fluoro.volume.posed_solid import LiveInsertion, LivePose
from tests.console_support import wait_until

PATH_MM = [(0, 0, 0), (100, 0, 0)]


@pytest.fixture
def solids():
    (wire,) = WireInclusion(
        kind="wire", name="wire", preset="guide_wire", path_mm=PATH_MM, stale_s=0.05
    ).posed(SceneSetup())
    (tool,) = ToolInclusion(kind="tool", name="drill", preset="k_wire", stale_s=None).posed(
        SceneSetup()
    )
    return wire, tool


@pytest.fixture
def steering(solids):
    made = Steering(solids)
    yield made
    made.close()


def test_samples_are_applied_or_refused_and_counted(steering, solids):
    wire, _ = solids
    assert steering.offer("wire", lambda: LiveInsertion(inserted_mm=20))
    assert wire.center_line(0)[0, 0] == pytest.approx(20)
    assert not steering.offer("wire", lambda: LiveInsertion(inserted_mm=-2))
    assert not steering.offer("wire", lambda: LivePose(matrix=np.eye(4)))
    assert not steering.offer("other", lambda: LivePose(matrix=np.eye(4)))
    assert wire.center_line(0)[0, 0] == pytest.approx(20)
    assert steering.applied == 1
    assert sum(steering.refusals.counts().values()) == 3
    assert "must be one of wire, drill, got 'other'" in steering.refusals.last()


def test_samples_that_stop_are_logged_once(steering, solids, caplog):
    with caplog.at_level(logging.WARNING):
        steering.offer("wire", lambda: LiveInsertion(inserted_mm=20))
        steering.offer("drill", lambda: LivePose(matrix=np.eye(4)))
        wait_until(steering.stale, "the end of the samples")
        assert steering.stale() == ["wire"]
        time.sleep(0.25)
        steering.offer("wire", lambda: LiveInsertion(inserted_mm=30))
    lines = [each.getMessage() for each in caplog.records]
    assert lines[:2] == [
        "instrument wire: no sample for 0.05 s (stale_s); it stays where it was",
        "instrument wire: samples come again",
    ]


def test_objects_whose_samples_stop_or_are_refused_stand_in_diagnostics(solids):
    pytest.importorskip("cyclonedds")
    from fluoro.config import Config
    from fluoro.interop.dds.ros_diagnostic import Level
    from fluoro.recording.run_record import RunRecord
    from operators.link_states import states
    from operators.links import Links
    from operators.monitor import StreamMonitor

    config = Config(volume={"phantom": "thorax"}, pose_source={"kind": "static"})
    monitor = StreamMonitor(RunRecord(config={}, device="", seed=0), None, "a device")
    with ExitStack() as stack:
        links = Links(config, np.zeros(3), monitor, None, stack, solids)
        assert states(links)[-1].message == "none is refused"
        links.steering.offer("wire", lambda: LiveInsertion(inserted_mm=20))
        links.steering.offer("wire", lambda: LiveInsertion(inserted_mm=-2))
        wait_until(links.steering.stale, "the end of the samples")
        found = states(links)[-1]
    assert (found.name, found.level) == ("fluoro: instruments", Level.WARN)
    assert found.message == "no sample comes for wire; some are refused"


def test_a_transform_of_openigtlink_steers_the_instrument_of_its_name(steering, solids):
    pyigtl = pytest.importorskip("pyigtl")
    from fluoro.interop.igtl.igtl_poses import HEADER, Transform, instruments_first

    def sent(name, matrix):
        packed = pyigtl.TransformMessage(matrix, device_name=name).pack()
        return Transform(header=packed[: HEADER.size], body=packed[HEADER.size :])

    others = []
    take = instruments_first(steering, lambda _, each: others.append(each.device))
    take(1, sent("drill", translation((1, 2, 3))))
    take(1, sent("CarmToPatient", np.eye(4)))
    np.testing.assert_allclose(solids[1].center_line(0)[0], [-1, -2, 3])
    assert others == ["CarmToPatient"]


def test_messages_of_ros_2_say_where_a_wire_is(steering, solids):
    pytest.importorskip("cyclonedds")
    from fluoro.interop.dds.instrument_topics import TOPICS
    from fluoro.interop.dds.pose_messages import matrix_message
    from fluoro.interop.dds.ros_nav import Path, PoseArray
    from fluoro.interop.dds.ros_sensor import JointState
    from fluoro.interop.dds.timestamps import header_of

    wire, tool = solids
    poses = [matrix_message(translation(p), 5, "patient") for p in ((0, 0, 0), (0, 40, 0))]
    path = Path(header=header_of(5, "patient"), poses=poses)
    array = PoseArray(header=header_of(5, "patient"), poses=[each.pose for each in poses])
    for topic, message in (("path", path), ("points", array)):
        assert type(message).deserialize(message.serialize()) == message
        assert steering.offer("wire", lambda t=topic, m=message: TOPICS[t][1](m))
        np.testing.assert_allclose(wire.center_line(0)[0], [0, 40, 0])
    joints = JointState(
        header=header_of(5, ""), name=["insertion"], position=[0.03], velocity=[], effort=[]
    )
    assert steering.offer("wire", lambda: TOPICS["joints"][1](joints))
    np.testing.assert_allclose(wire.center_line(0)[0], [0, 30, 0])
    assert steering.offer("drill", lambda: TOPICS["pose"][1](poses[1]))
    np.testing.assert_allclose(tool.center_line(0)[0], [0, 40, 0])
    path.header.frame_id = "map"
    assert not steering.offer("wire", lambda: TOPICS["path"][1](path))
    assert "header.frame_id must be patient, got 'map'" in steering.refusals.last()


@pytest.mark.dds
def test_a_joint_state_over_dds_moves_the_wire(steering, solids):
    pytest.importorskip("cyclonedds")
    from fluoro.config import DdsConfig
    from fluoro.interop.dds import qos
    from fluoro.interop.dds.instrument_topics import listen
    from fluoro.interop.dds.node import DdsNode, ros_topic
    from fluoro.interop.dds.ros_sensor import JointState
    from fluoro.interop.dds.timestamps import header_of
    from tests.dds_support import own_domain

    node = DdsNode(DdsConfig(domain=own_domain()))
    try:
        listen(node, "/instruments", steering)
        writer = node.writer(ros_topic("/instruments/wire/joints"), JointState, qos.reliable())
        until = time.monotonic() + 60
        while not steering.applied and time.monotonic() < until:
            message = JointState(
                header=header_of(5, ""), name=["insertion"], position=[0.07], velocity=[], effort=[]
            )
            writer.write(message)
            time.sleep(0.05)
        np.testing.assert_allclose(solids[0].center_line(0)[0], [70, 0, 0], atol=1e-9)
    finally:
        node.close()


def test_the_console_moves_the_first_wire_and_no_other_config_has_its_slider():
    from fluoro.config import load_config
    from fluoro.console.controls import LiveControls
    from fluoro.errors import InputError
    from tests.scene.test_inclusions import ROOT

    controls = LiveControls.from_config(load_config(ROOT / "configs" / "catheter.yaml"))
    moved = []
    controls.insert = lambda *values: moved.append(values)
    assert "wire" in controls.features
    controls.apply({"insertion_mm": 120.0}, stream_pose=None)
    assert moved == [(120.0, 0.0)]
    with pytest.raises(InputError, match="insertion_mm must be 0 to"):
        controls.apply({"insertion_mm": 5000.0}, stream_pose=None)
    with pytest.raises(InputError, match="unknown control 'insertion_roll_deg'"):
        controls.apply({"insertion_roll_deg": 5.0}, stream_pose=None)
    assert len(moved) == 1
    without = LiveControls.from_config(load_config(ROOT / "configs" / "polychromatic.yaml"))
    with pytest.raises(InputError, match="unknown control"):
        without.apply({"insertion_mm": 5.0}, stream_pose=None)
