#!/usr/bin/env python3
"""A small robotic C-arm, a process of its own: publishes poses over DDS and consumes frames.

    make hil                                       robot and simulator together, 20 s
    app.py run configs/robot.yaml                  the simulator in one terminal,
    examples/robot_carm.py --seconds 60            the robot in another
    examples/robot_carm.py --lockstep 20           one pose, one frame, in simulated time

Six axes with limits of speed and acceleration follow a tour of clinical views. Everything it says
and hears is ROS 2 on the wire: any node can take its place.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # runs from a checkout, from any folder

from fluoro.config import DdsConfig  # noqa: E402
from fluoro.errors import FluoroError  # noqa: E402
from fluoro.geometry.carm import CarmPose  # noqa: E402
from fluoro.interop.dds import qos  # noqa: E402
from fluoro.interop.dds.node import DdsNode, ros_topic  # noqa: E402
from fluoro.interop.dds.pose_messages import pose_message  # noqa: E402
from fluoro.interop.dds.ros_diagnostic import DiagnosticArray  # noqa: E402
from fluoro.interop.dds.ros_geometry import PoseStamped  # noqa: E402
from fluoro.interop.dds.ros_sensor import Image, JointState  # noqa: E402
from fluoro.interop.dds.timestamps import header_of, stamp_ns  # noqa: E402
from fluoro.interop.latency import FrameLog, table_lines, write_rows  # noqa: E402

TOUR = (
    CarmPose(),
    CarmPose(lao_deg=30),
    CarmPose(lao_deg=45, cra_deg=20, translation_mm=(10.0, 0.0, -20.0)),
    CarmPose(lao_deg=-30, cra_deg=-25),
    CarmPose(lao_deg=-15, cra_deg=10, roll_deg=5, translation_mm=(-10.0, 5.0, 30.0)),
)
"""Frontal, LAO, LAO cranial, RAO caudal, RAO cranial; then again."""
START_WAIT_S = 120.0
FRAME_WAIT_S = 30.0


@dataclass
class Axis:
    """One axis: moves to its target with bounded acceleration, then bounded speed.

    Attributes:
        name: Of the joint.
        max_speed: [deg/s] or [mm/s].
        max_acceleration: [deg/s^2] or [mm/s^2].
        position: [deg] or [mm].
        speed: [deg/s] or [mm/s].
    """

    name: str
    max_speed: float
    max_acceleration: float
    position: float = 0.0
    speed: float = 0.0

    def step(self, target: float, seconds: float) -> None:
        """Move for a time; the speed allowed is the one from which it still stops in time."""
        ahead = target - self.position
        stopping = math.sqrt(2 * self.max_acceleration * abs(ahead))
        wanted = math.copysign(min(self.max_speed, stopping, abs(ahead) / seconds), ahead)
        change = self.max_acceleration * seconds
        self.speed += min(max(wanted - self.speed, -change), change)
        self.position += self.speed * seconds


def make_axes() -> list[Axis]:
    """Slides of 100 mm/s and turns of 25 deg/s, as motorised C-arms have them."""
    slides = [Axis(f"carm_{axis}", 100.0, 200.0) for axis in "xyz"]
    return slides + [Axis(f"carm_{turn}", 25.0, 50.0) for turn in ("lao", "cra", "roll")]


@dataclass
class RobotCarm:
    """The axes and their controller, which takes them from view to view."""

    axes: list[Axis] = field(default_factory=make_axes)
    view: int = 0

    @classmethod
    def at(cls, pose: CarmPose) -> RobotCarm:
        """One that stands at a pose."""
        arm = cls()
        for axis, position in zip(arm.axes, positions(pose), strict=True):
            axis.position = position
        return arm

    def step(self, seconds: float) -> CarmPose:
        """Move for a time towards the view of the moment, and tell the pose."""
        target = TOUR[self.view]
        pose = self.move_to(target, seconds)
        away = zip(positions(pose), positions(target), strict=True)
        if all(abs(here - there) < 0.05 for here, there in away):
            self.view = (self.view + 1) % len(TOUR)
        return pose

    def move_to(self, pose: CarmPose, seconds: float) -> CarmPose:
        """Move for a time towards a pose, and tell where that leads."""
        for axis, target in zip(self.axes, positions(pose), strict=True):
            axis.step(target, seconds)
        return self.pose()

    def pose(self) -> CarmPose:
        """Where the C-arm stands: the chain of joints of docs/hardware_in_the_loop.md."""
        x, y, z, lao, cra, roll = (axis.position for axis in self.axes)
        return CarmPose(lao_deg=lao, cra_deg=cra, roll_deg=roll, translation_mm=(x, y, z))

    def joints(self, time_ns: int) -> JointState:
        """The same as sensor_msgs/JointState: metres and radians."""
        scale = [1e-3] * 3 + [math.pi / 180] * 3
        return JointState(
            header=header_of(time_ns, ""),
            name=[axis.name for axis in self.axes],
            position=[axis.position * s for axis, s in zip(self.axes, scale, strict=True)],
            velocity=[axis.speed * s for axis, s in zip(self.axes, scale, strict=True)],
            effort=[],
        )


def positions(pose: CarmPose) -> list[float]:
    """Of the axes at a pose."""
    return [*pose.translation_mm, pose.lao_deg, pose.cra_deg, pose.roll_deg]


class RobotNode:
    """The robot's end of DDS: says where it is, hears what is seen from there."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.node = DdsNode(DdsConfig(domain=arguments.domain, interface=arguments.interface))
        self.log = FrameLog()
        self.came = threading.Event()
        self.newest: Image | None = None
        self.status: DiagnosticArray | None = None
        self._joints_wanted = getattr(arguments, "joints", False)
        self.isocenter_mm = [0.0, 0.0, 0.0]
        self._poses = self.node.writer(ros_topic("/carm/pose"), PoseStamped, qos.reliable())
        self._joints = self.node.writer(ros_topic("/carm/joints"), JointState, qos.reliable())
        listen, name = self.node.listen, lambda last: ros_topic(f"{arguments.prefix}/{last}")
        self._images = listen(name("image_raw"), Image, qos.reliable(), self._on_image)
        listen(name("frame_info"), DiagnosticArray, qos.reliable(), self._on_frame_info)
        listen(ros_topic("/diagnostics"), DiagnosticArray, qos.reliable(), self._on_status)

    def wait_for_simulator(self, simulator: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until both are connected and the simulator reports it, or until its process ends."""
        end_s = time.monotonic() + START_WAIT_S
        where = f"DDS domain {self.node.config.domain} on {self.node.config.interface}"
        print(f"robot: waiting for the simulator in {where}", file=sys.stderr)
        while not self._ready():
            if simulator and simulator.poll() is not None:
                sys.exit(f"robot: the simulator ended with code {simulator.returncode}")
            if time.monotonic() > end_s:
                sys.exit(f"robot: no simulator within {START_WAIT_S:g} s in this domain")
            time.sleep(0.05)
        self.isocenter_mm = [float(m) * 1000 for m in self.told("isocenter_m").split()]

    def send(self, robot: RobotCarm, time_ns: int) -> None:
        """Say where the robot is, at a time [ns]."""
        if self._joints_wanted:
            self._joints.write(robot.joints(time_ns))
        else:
            self.send_pose(robot.pose(), time_ns)

    def send_pose(self, pose: CarmPose, time_ns: int) -> None:
        """Say where the C-arm is, at a time [ns]."""
        self._poses.write(pose_message(pose, self.isocenter_mm, time_ns))

    def told(self, key: str) -> str:
        """A figure of the simulator's status; empty where there is none."""
        parts = self.status.status if self.status else []
        return next((v.value for part in parts for v in part.values if v.key == key), "")

    def _ready(self) -> bool:
        poses = self._joints if self._joints_wanted else self._poses
        return bool(poses.readers() and self._images.writers() and int(self.told("readers") or 0))

    def _on_image(self, message: Image, _writer: int) -> None:
        now_ns = time.time_ns()
        self.log.add(stamp_ns(message.header.stamp), now_ns)
        self.newest = message
        self.came.set()

    def _on_frame_info(self, message: DiagnosticArray, _writer: int) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        self.log.add_number(int(values["number"]), stamp_ns(message.header.stamp))

    def _on_status(self, message: DiagnosticArray, _writer: int) -> None:
        self.status = message


def run_freely(robot: RobotNode, arguments: argparse.Namespace) -> None:
    """Move in real time, poses at a fixed rate, and measure the frames that come back."""
    arm, period_s = RobotCarm(), 1 / arguments.rate
    start_s = time.monotonic()
    for count in range(round(arguments.seconds * arguments.rate)):
        arm.step(period_s)
        robot.send(arm, time.time_ns())
        time.sleep(max(0.0, start_s + (count + 1) * period_s - time.monotonic()))
    if robot.newest is None:
        sys.exit("robot: no frame came")
    row = robot.log.row("hil with rendering", robot.newest.width, None)
    print("\n".join(table_lines([row])))
    if arguments.results:
        write_rows(arguments.results, [row])
        print(f"written to {arguments.results}")


def run_in_lockstep(robot: RobotNode, arguments: argparse.Namespace) -> None:
    """Send a pose, wait for its frame, move on; the clock is the count. Prints what was seen."""
    arm, seen = RobotCarm(), hashlib.sha256()
    for count in range(1, arguments.lockstep + 1):
        arm.step(1 / arguments.rate)
        robot.came.clear()
        time_ns = round(count * 1e9 / arguments.rate)
        robot.send(arm, time_ns)
        if not robot.came.wait(FRAME_WAIT_S) or robot.newest is None:
            sys.exit(f"robot: no frame for pose {count} within {FRAME_WAIT_S:g} s")
        if stamp_ns(robot.newest.header.stamp) != time_ns:
            sys.exit(f"robot: pose {count} was answered with another one's frame")
        seen.update(robot.newest.data)
    time.sleep(0.2)
    if robot.log.received != arguments.lockstep:
        sys.exit(f"robot: {robot.log.received} frames for {arguments.lockstep} poses")
    print(f"{robot.log.received} poses, {robot.log.received} frames, sha256 {seen.hexdigest()}")


@contextmanager
def with_simulator(arguments: argparse.Namespace) -> Iterator[subprocess.Popen[bytes] | None]:
    """Where asked, the simulator as another process, in the robot's domain; ended at the end."""
    if arguments.with_simulator is None:
        yield None
        return
    command = [sys.executable, ROOT / "app.py", "run", arguments.with_simulator]
    command += ["--set", f"dds.domain={arguments.domain}"]
    command += ["--set", f"dds.interface={arguments.interface}"]
    command += [part for override in arguments.set for part in ("--set", override)]
    simulator = subprocess.Popen([str(part) for part in command], cwd=ROOT)
    try:
        yield simulator
    finally:
        simulator.send_signal(signal.SIGINT)
        simulator.wait(60)


def positive(text: str) -> float:
    """A number above 0 from the command line."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number


def domain(text: str) -> int:
    """A DDS domain from the command line."""
    if not text.isdecimal() or int(text) > 232:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 232, got {text}")
    return int(text)


def common_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Options of a robot, whatever it is to do."""
    parser.add_argument("--domain", type=domain, default=42, help="DDS domain")
    parser.add_argument("--interface", default="lo", help="network interface")
    parser.add_argument("--prefix", default="/fluoro", help="in front of the frames' topics")
    parser.add_argument("--with-simulator", type=Path, metavar="YAML", help="start app.py run YAML")
    parser.add_argument("--set", action="append", default=[], help="passed on to the simulator")
    return parser


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = common_options(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    found.add_argument("--seconds", type=positive, default=20.0, help="how long to move")
    found.add_argument("--rate", type=positive, default=60.0, help="poses per second")
    found.add_argument(
        "--lockstep", type=int, metavar="N", help="N poses, each waits for its frame"
    )
    found.add_argument("--joints", action="store_true", help="JointState instead of PoseStamped")
    found.add_argument("--results", type=Path, metavar="JSON", help="where latencies are kept")
    return found


def main() -> int:
    """Run the robot, and where asked the simulator with it."""
    arguments = parser().parse_args()
    with with_simulator(arguments) as simulator:
        robot = RobotNode(arguments)
        try:
            robot.wait_for_simulator(simulator)
            (run_in_lockstep if arguments.lockstep else run_freely)(robot, arguments)
        finally:
            robot.node.close()
    return 0


def program(run: Callable[[], int]) -> None:
    """Run a robot and leave with its exit code; one line for what goes wrong, and for Ctrl-C."""
    try:
        sys.exit(run())
    except KeyboardInterrupt:
        sys.exit("robot: interrupted")
    except FluoroError as error:
        sys.exit(f"robot: {error}")


if __name__ == "__main__":
    program(main)
