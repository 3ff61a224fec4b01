#!/usr/bin/env python3
"""Latency over DDS from a pose's stamp to its frame in another process, on loopback.

    benchmarks/latency.py                            all sizes and rates, about 3 minutes
    benchmarks/latency.py --seconds 2 --sizes 512 --rates 60

Three ways for the same pose and picture, measured in the same run:

bare loopback        the other process answers each pose with a picture from memory: DDS alone
transport and graph  the application's operators for poses and frames in a Holoscan graph, with
                     pictures from memory in place of renderer and image chain
hil with rendering   the whole simulator (configs/robot.yaml) under examples/robot_carm.py, at the
                     rate that this machine reaches
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # runs from a checkout, from any folder

from fluoro.config import DdsConfig  # noqa: E402
from fluoro.dds import qos  # noqa: E402
from fluoro.dds.latency import FrameLog, LatencyRow, table_lines, write_rows  # noqa: E402
from fluoro.dds.node import DdsNode, Writer, ros_topic  # noqa: E402
from fluoro.dds.pose_messages import pose_message  # noqa: E402
from fluoro.dds.ros_geometry import PoseStamped  # noqa: E402
from fluoro.dds.ros_sensor import Image  # noqa: E402
from fluoro.dds.stamps import stamp_ns  # noqa: E402
from fluoro.geometry.carm import CarmPose  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "latency.json"
SERVER = ROOT / "benchmarks" / "harness" / "dds_server.py"
WAYS = (("bare", "bare loopback"), ("graph", "transport and graph"))
ORIGIN = (0.0, 0.0, 0.0)
WARM_UP_S = 1.0
TRACKED_SIZE, TRACKED_HZ = 512, 60.0


class Client:
    """The process that sends poses and receives frames."""

    def __init__(self, domain: int) -> None:
        self.node = DdsNode(DdsConfig(domain=domain))
        self.log = FrameLog()
        self._images = self.node.listen(
            ros_topic("/fluoro/image_raw"), Image, qos.reliable(), self._on_image
        )
        self._poses: Writer[PoseStamped] = self.node.writer(
            ros_topic("/carm/pose"), PoseStamped, qos.reliable()
        )

    def matched(self) -> bool:
        """Whether the other process is there."""
        return bool(self._poses.readers() and self._images.writers())

    def send_poses(self, seconds: float, rate_hz: float) -> int:
        """A slow turn, each pose stamped as it is sent; returns how many."""
        count, start_s = round(seconds * rate_hz), time.monotonic()
        for number in range(count):
            pose = CarmPose(lao_deg=0.05 * (number % 200))
            self._poses.write(pose_message(pose, ORIGIN, time.time_ns()))
            time.sleep(max(0.0, start_s + (number + 1) / rate_hz - time.monotonic()))
        return count

    def _on_image(self, message: Image, _writer: int) -> None:
        self.log.add(stamp_ns(message.header.stamp), time.time_ns())


@contextmanager
def served(role: str, size: int, domain: int) -> Iterator[tuple[Client, subprocess.Popen[bytes]]]:
    """A client beside its server; both are ended."""
    command = [sys.executable, str(SERVER), role, str(domain), str(size)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    client = Client(domain)
    try:
        while not client.matched():
            if server.poll() is not None:
                sys.exit(f"latency: the other process ({role}) ended early")
            time.sleep(0.05)
        yield client, server
    finally:
        client.node.close()
        if server.stdin and not server.stdin.closed:
            server.stdin.close()
        server.wait(30)


def measure(
    role: str, what: str, size: int, rate_hz: float, arguments: argparse.Namespace
) -> LatencyRow:
    """One row: poses at a rate to the other process, frames back from it."""
    with served(role, size, arguments.domain) as (client, _):
        client.send_poses(WARM_UP_S, rate_hz)
        time.sleep(0.2)
        client.log = FrameLog()
        sent = client.send_poses(arguments.seconds, rate_hz)
        time.sleep(0.2)
        return client.log.row(what, size, rate_hz, lost=sent - client.log.received)


def compare_with_tracker(arguments: argparse.Namespace) -> str:
    """Holoscan's own mean over the graph beside ours, in words."""
    with served("tracked", TRACKED_SIZE, arguments.domain) as (client, server):
        client.send_poses(WARM_UP_S + arguments.seconds, TRACKED_HZ)
        output, _ = server.communicate(timeout=30)
    found = json.loads(output.splitlines()[-1])
    return (
        f"through the graph, {TRACKED_SIZE} px at {TRACKED_HZ:g} Hz, mean of {found['frames']}: "
        f"Holoscan's Tracker {found['tracker_ms']:.2f} ms, our stamps {found['ours_ms']:.2f} ms"
    )


def run_simulator(arguments: argparse.Namespace) -> None:
    """The row with rendering, by the robot and the simulator."""
    command = [sys.executable, ROOT / "examples" / "robot_carm.py"]
    command += ["--with-simulator", ROOT / "configs" / "robot.yaml", "--domain", arguments.domain]
    command += ["--seconds", 2 * arguments.seconds, "--results", arguments.results]
    command += ["--set", "console.enabled=false", "--set", "recorder.enabled=false"]
    subprocess.run([str(part) for part in command], check=True)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each row")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--rates", type=float, nargs="+", default=[30.0, 60.0])
    parser.add_argument("--domain", type=int, default=43, help="DDS domain")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="JSON")
    arguments = parser.parse_args()
    rows: list[LatencyRow] = []
    print(table_lines([])[0])
    for size in arguments.sizes:
        for rate_hz in arguments.rates:
            for role, what in WAYS:
                rows.append(measure(role, what, size, rate_hz, arguments))
                print(table_lines(rows)[-1], flush=True)
    write_rows(arguments.results, rows)
    print(compare_with_tracker(arguments), flush=True)
    run_simulator(arguments)


if __name__ == "__main__":
    main()
