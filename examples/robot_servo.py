#!/usr/bin/env python3
"""A robotic C-arm that finds a view by its images: a closed loop over DDS, two processes.

    make hil-servo                                     robot and simulator together
    app.py run configs/robot_servo.yaml                the simulator in one terminal,
    examples/robot_servo.py                            the robot in another

The robot does not know where the patient lies: its encoders are off by `OFFSET`, which the loop is
not told. The simulator takes the image from where the C-arm truly stands; its registration
operator tells from the image alone where that must have been, and the estimate comes back over
DDS with the stamp of its pose. Each one decides the next move, until the image says that the view
is reached.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # runs from a checkout, from any folder

from examples.robot_carm import (  # noqa: E402
    RobotCarm,
    RobotNode,
    common_options,
    positive,
    program,
    with_simulator,
)
from fluoro.geometry.carm import CarmPose  # noqa: E402
from fluoro.interop.dds import qos  # noqa: E402
from fluoro.interop.dds.node import ros_topic  # noqa: E402
from fluoro.interop.dds.pose_messages import PATIENT_FRAME, matrix_of  # noqa: E402
from fluoro.interop.dds.ros_geometry import PoseStamped  # noqa: E402
from fluoro.interop.dds.timestamps import stamp_ns  # noqa: E402
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mtre_mm  # noqa: E402
from fluoro.registration.tracking.servo_loop import Servo  # noqa: E402

START = CarmPose(lao_deg=-12.0, cra_deg=4.0)
"""Where the robot stands by its encoders; configs/robot_servo.yaml has the tracker start there."""
WANTED = CarmPose(lao_deg=30.0, cra_deg=20.0)
OFFSET = CarmPose(roll_deg=3.0, translation_mm=(15.0, -10.0, 20.0))
"""Between what the encoders say and where the C-arm stands; 27 mm."""
TOLERANCE_MM = 1.0
STEP_MM = 25.0


@dataclass(frozen=True)
class Estimate:
    """Where an image says that the C-arm stood.

    Attributes:
        time_ns: Stamp of the pose and of the image.
        world_from_carm: 4x4 pose [mm].
        converged: Only what is believed is sent as a pose.
    """

    time_ns: int
    world_from_carm: np.ndarray
    converged: bool = True


class ServoNode(RobotNode):
    """The robot's end of DDS, which hears the estimates as well."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(arguments)
        self._lock, self._newest = threading.Lock(), None
        topic = ros_topic(f"{arguments.prefix}/registered_pose")
        self.node.listen(topic, PoseStamped, qos.reliable(), self._on_estimate)

    def take_estimate(self) -> Estimate | None:
        """The newest estimate, once."""
        with self._lock:
            found, self._newest = self._newest, None
        return found

    def _on_estimate(self, message: PoseStamped, _writer: int) -> None:
        matrix = matrix_of(message, PATIENT_FRAME)
        with self._lock:
            self._newest = Estimate(stamp_ns(message.header.stamp), matrix)


class Patient:
    """Where the C-arm truly stands: what no part of the loop knows."""

    def __init__(self, isocenter_mm: list[float]) -> None:
        self._isocenter_mm = isocenter_mm
        self._offset = OFFSET.world_from_carm(isocenter_mm) @ np.linalg.inv(
            CarmPose().world_from_carm(isocenter_mm)
        )

    def true_pose(self, encoders: CarmPose) -> CarmPose:
        """The pose behind what the encoders say."""
        matrix = self._offset @ encoders.world_from_carm(self._isocenter_mm)
        return CarmPose.from_world_from_carm(matrix, self._isocenter_mm)

    def error_mm(self, encoders: CarmPose) -> float:
        """How far the wanted view is."""
        here, wanted = (
            pose.world_from_carm(self._isocenter_mm) for pose in (self.true_pose(encoders), WANTED)
        )
        return mtre_mm(here, wanted, cube_corners_xyz_mm(self._isocenter_mm))


def run_servo(robot: ServoNode, arguments: argparse.Namespace) -> int:
    """Move as the estimates say; tells how it went."""
    arm, patient = RobotCarm.at(START), Patient(robot.isocenter_mm)
    servo = Servo(WANTED, robot.isocenter_mm, tolerance_mm=TOLERANCE_MM, step_mm=STEP_MM)
    stood: dict[int, CarmPose] = {}
    period_s, start_s, estimates = 1 / arguments.rate, time.monotonic(), 0
    goal: CarmPose | None = START
    print(f"robot: {patient.error_mm(START):.1f} mm from the wanted view, not knowing it")
    while goal is not None and time.monotonic() - start_s < arguments.seconds:
        time_ns, encoders = time.time_ns(), arm.move_to(goal, period_s)
        stood[time_ns] = encoders
        robot.send_pose(patient.true_pose(encoders), time_ns)
        time.sleep(period_s)
        estimate = robot.take_estimate()
        if estimate and estimate.time_ns in stood:
            estimates += 1
            goal = servo.move(estimate, stood[estimate.time_ns])
    took_s, error_mm = time.monotonic() - start_s, patient.error_mm(arm.pose())
    how = "reached" if goal is None else "NOT reached"
    print(f"robot: {how} after {took_s:.1f} s, {estimates} estimates: {error_mm:.2f} mm away")
    return 0 if goal is None and error_mm <= 2 * TOLERANCE_MM else 1


def main() -> int:
    """Run the robot, and where asked the simulator with it."""
    options = common_options(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    options.add_argument("--seconds", type=positive, default=60.0, help="after which it gives up")
    options.add_argument("--rate", type=positive, default=30.0, help="poses per second")
    arguments = options.parse_args()
    with with_simulator(arguments) as simulator:
        robot = ServoNode(arguments)
        try:
            robot.wait_for_simulator(simulator)
            return run_servo(robot, arguments)
        finally:
            robot.node.close()


if __name__ == "__main__":
    program(main)
