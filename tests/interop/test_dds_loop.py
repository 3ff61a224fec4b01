"""A robot in another process drives to a view by what registration makes of its images."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.dds_support import ROOT, Heard, own_domain, wait_until
from tests.operators.test_tracking_graph import SMALL
from tests.session_support import QuietReporter, record_of, run_session, use_cache

# isort: split

from fluoro.config import DdsConfig, DdsFramesConfig, load_config
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.frame import FrameHeader, PoseOrigin
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.dds.pose_messages import pose_of
from fluoro.interop.dds.ros_diagnostic import DiagnosticArray, Level
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.timestamps import stamp_ns
from fluoro.interop.estimate_publisher import EstimateSink
from fluoro.registration.tracking.tracker import PoseEstimate

pytestmark = pytest.mark.dds

ISOCENTER = (12.0, -34.0, 56.0)
POSE = CarmPose(lao_deg=-37.0, cra_deg=21.5, roll_deg=8.0, translation_mm=(10.0, -20.0, 30.0))


def estimate(*, converged):
    empty = np.empty((0, 0), np.float32)
    return PoseEstimate(
        number=7,
        pose=POSE,
        world_from_carm=POSE.world_from_carm(ISOCENTER),
        converged=converged,
        state="tracked" if converged else "lost",
        confidence=0.75,
        reason="a reason",
        next_step="",
        way="follow",
        ncc=0.99,
        residual=0.1,
        iterations=5,
        seconds=0.2,
        rendered=empty,
        seen=empty,
    )


def header(time_ns):
    return FrameHeader(
        number=7,
        pose=CarmPose(),
        geometry=CarmGeometry(),
        stamps_ns={},
        origin=PoseOrigin(stamp_ns=time_ns, sequence=3, time_ns=time_ns),
    )


def test_estimate_goes_out_as_a_pose_with_the_stamp_of_its_frame_only_where_it_is_believed():
    node = DdsNode(DdsConfig(domain=own_domain()))
    try:
        poses = Heard(node, "rt/fluoro/registered_pose", PoseStamped)
        infos = Heard(node, "rt/fluoro/registration", DiagnosticArray)
        sink = EstimateSink(node, DdsFramesConfig(), ISOCENTER, lambda: 0)
        wait_until(lambda: sink.readers() == 2)
        sink.send(estimate(converged=False), header(111))
        sink.send(estimate(converged=True), header(222))
        wait_until(lambda: len(infos) == 2 and len(poses) == 1)
    finally:
        node.close()
    np.testing.assert_allclose(
        pose_of(poses[0], ISOCENTER).world_from_carm(ISOCENTER),
        POSE.world_from_carm(ISOCENTER),
        atol=1e-6,
    )
    assert [stamp_ns(sample.header.stamp) for sample in (*poses, *infos)] == [222, 111, 222]
    assert [info.status[0].level for info in infos] == [Level.WARN, Level.OK]
    values = {pair.key: pair.value for pair in infos[0].status[0].values}
    assert (values["number"], values["converged"]) == ("7", "false")
    assert (values["state"], values["confidence"]) == ("lost", "0.75")


def test_robot_reaches_the_view_by_its_images_alone(tmp_path, monkeypatch):
    use_cache(tmp_path, monkeypatch)
    options = [*SMALL, f"run.output_dir={tmp_path}", f"dds.domain={own_domain()}", "run.name=loop"]
    config = load_config(ROOT / "configs" / "robot_servo.yaml", options)
    command = [sys.executable, ROOT / "examples" / "robot_servo.py", "--domain", own_domain()]
    robot = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    stopped = []

    def stop_after_the_robot(_frames):
        if robot.poll() is not None and not stopped:
            stopped.append(os.kill(os.getpid(), signal.SIGINT))

    try:
        outcome = run_session(config, "loop", QuietReporter(stop_after_the_robot))
    finally:
        robot.kill()
        told, _ = robot.communicate()
    assert robot.returncode == 0, told
    assert "reached" in told
    record = record_of(outcome.folder)
    assert record["tracking"]["searches"] == 0  # never lost
    assert record["tracking"]["not_converged"] <= 2  # of 60; 0.3 % of right poses are in doubt
    first, last = (record["per_frame"][at]["pose"] for at in (0, -1))
    assert first["translation_mm"] != pytest.approx([0, 0, 0], abs=5)
    assert last["lao_deg"] == pytest.approx(30, abs=1)
    assert last["cra_deg"] == pytest.approx(20, abs=1)
    assert last["translation_mm"] == pytest.approx([0, 0, 0], abs=2)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--with-simulator", "nosuch.yaml"], "robot: the simulator ended with code 2"),
        (["--interface", "nosuch"], "robot: dds.interface must be an IP address or one of"),
    ],
)
def test_robot_without_a_simulator_ends_in_one_line(options, line):
    command = [sys.executable, ROOT / "examples" / "robot_carm.py", "--domain", str(own_domain())]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(line)
