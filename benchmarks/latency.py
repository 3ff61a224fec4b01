#!/usr/bin/env python3
"""Latency over DDS from a pose's stamp to its frame in another process, on loopback.

    make hil                                         robot and simulator for 20 s, then the rest:
                                                     a minute and a half in all
    make hil ARGS="--seconds 8 --repeat 3"           medians of three runs
    make hil ARGS="--record"                         into benchmarks/results/latency.json
    benchmarks/latency.py --seconds 2 --sizes 512 --rates 60

Three ways for the same pose and image, measured in the same run:

bare loopback        the other process answers each pose with an image from memory: DDS alone
transport and graph  the application's operators for poses and frames in a Holoscan graph, with
                     images from memory in place of renderer and image chain
hil with rendering   the whole simulator (configs/robot.yaml) under examples/robot_carm.py, at the
                     rate that this machine reaches
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # runs from a checkout, from any folder

from benchmarks.harness.command_line import count  # noqa: E402
from fluoro.config import DdsConfig  # noqa: E402
from fluoro.geometry.carm import CarmPose  # noqa: E402
from fluoro.interop.dds import qos  # noqa: E402
from fluoro.interop.dds.node import DdsNode, Writer, ros_topic  # noqa: E402
from fluoro.interop.dds.pose_messages import pose_message  # noqa: E402
from fluoro.interop.dds.ros_geometry import PoseStamped  # noqa: E402
from fluoro.interop.dds.ros_sensor import Image  # noqa: E402
from fluoro.interop.dds.timestamps import stamp_ns  # noqa: E402
from fluoro.interop.latency import (  # noqa: E402
    FrameLog,
    LatencyRow,
    median_row,
    table_lines,
    write_rows,
)
from fluoro.paths import output_dir  # noqa: E402

RECORD = ROOT / "benchmarks" / "results" / "latency.json"
SERVER = ROOT / "benchmarks" / "harness" / "dds_server.py"
WAYS = (("bare", "bare loopback"), ("graph", "transport and graph"))
ORIGIN = (0.0, 0.0, 0.0)
WARM_UP_S = 0.5
TRACKED_SIZE, TRACKED_HZ = 512, 60.0
AGREE_MS = 1.0
P50_MS, P99_MS, P99_SHARE = 3.0, 10.0, 3.0
"""To reach with 512 pixels at 60 Hz; the last as a multiple of bare DDS's 99th percentile."""


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

    def warm_up(self, rate_hz: float) -> None:
        """Send poses until frames come, then wait for those that are on their way."""
        sent = self.send_poses(WARM_UP_S, rate_hz)
        while not self.log.received:
            sent = self.send_poses(WARM_UP_S, rate_hz)
        self.wait_for_frames(sent)

    def wait_for_frames(self, count: int) -> None:
        """Wait until `count` frames have come; those that take longer than a second are lost."""
        end_s = time.monotonic() + 1.0
        while self.log.received < count and time.monotonic() < end_s:
            time.sleep(0.01)

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


def measure(role: str, what: str, size: int, arguments: argparse.Namespace) -> Iterator[LatencyRow]:
    """One row a rate: poses to the other process, which stays the same, frames back from it."""
    with served(role, size, arguments.domain) as (client, _):
        for rate_hz in arguments.rates:
            client.warm_up(rate_hz)
            client.log = FrameLog()
            sent = client.send_poses(arguments.seconds, rate_hz)
            client.wait_for_frames(sent)
            yield client.log.row(what, size, rate_hz, lost=sent - client.log.received)


def compare_with_tracker(arguments: argparse.Namespace) -> dict[str, float]:
    """Holoscan's own mean over the graph beside ours: size, rate, frames, both [ms]."""
    with served("tracked", TRACKED_SIZE, arguments.domain) as (client, server):
        client.warm_up(TRACKED_HZ)
        client.send_poses(arguments.seconds, TRACKED_HZ)
        output, _ = server.communicate(timeout=60)
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    load = round(os.getloadavg()[0], 1)
    return {"size": TRACKED_SIZE, "rate_hz": TRACKED_HZ, "load_1min": load, **found}


def tracker_line(found: dict[str, float]) -> str:
    """Whether both agree, in words."""
    apart_ms = abs(found["tracker_ms"] - found["ours_ms"])
    agreement = "they agree" if apart_ms < AGREE_MS else "THEY DISAGREE"
    return (
        f"through the graph, {found['size']} px at {found['rate_hz']:g} Hz, mean of "
        f"{found['frames']}: Holoscan's Tracker {found['tracker_ms']:.2f} ms, fluoro's stamps "
        f"{found['ours_ms']:.2f} ms: {agreement} within {AGREE_MS:g} ms"
    )


def reach_line(rows: Sequence[LatencyRow]) -> str:
    """What 512 pixels at 60 Hz are to reach, and what they do."""
    by_what = {r.what: r for r in rows if (r.size, r.rate_hz) == (TRACKED_SIZE, TRACKED_HZ)}
    graph, bare = (by_what.get(what) for _, what in reversed(WAYS))
    if graph is None or bare is None:
        return f"{TRACKED_SIZE} px at {TRACKED_HZ:g} Hz were not measured"
    share = graph.p99_ms / bare.p99_ms
    reached = graph.p50_ms <= P50_MS and graph.p99_ms <= P99_MS and share <= P99_SHARE
    return (
        f"{TRACKED_SIZE} px at {TRACKED_HZ:g} Hz through transport and graph: p50 "
        f"{graph.p50_ms:.2f} ms (aim {P50_MS:g}), p99 {graph.p99_ms:.2f} ms (aim {P99_MS:g}), "
        f"{share:.1f} times bare DDS's (aim {P99_SHARE:g})\n"
        f"result: {'within' if reached else 'outside'} the aims, {_load_words(graph)}"
    )


def _load_words(row: LatencyRow) -> str:
    """Return the load, and what it means for the result."""
    cores = os.cpu_count() or 1
    busy = row.load_1min is not None and row.load_1min > cores
    worth = "; more work than cores, so an idle machine may do better" if busy else ""
    return f"at a load average of {row.load_1min} on {cores} cores{worth} (measured, not a test)"


def run_simulator(arguments: argparse.Namespace) -> None:
    """The row with rendering, by the robot and the simulator; they write it themselves."""
    command = [sys.executable, ROOT / "examples" / "robot_carm.py"]
    command += ["--with-simulator", ROOT / "configs" / "robot.yaml", "--domain", arguments.domain]
    command += ["--seconds", arguments.robot_seconds, "--results", arguments.results]
    command += ["--set", "recorder.enabled=false", "--set", "console.port=0"]
    subprocess.run([str(part) for part in command], check=True)


def measure_all(arguments: argparse.Namespace) -> list[LatencyRow]:
    """Measure every way, size and rate alternately, so that all runs meet the same load."""
    cases = [(role, what, size) for size in arguments.sizes for role, what in WAYS]
    runs: dict[tuple[str, int, float], list[LatencyRow]] = {}
    for _ in range(arguments.repeat):
        for case in cases:
            for row in measure(*case, arguments):
                runs.setdefault((row.what, row.size, row.rate_hz), []).append(row)
                print(table_lines([row])[1], flush=True)
    return [median_row(found) for found in runs.values()]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--seconds", type=float, default=2.0, help="of each row")
    found.add_argument("--repeat", type=count, default=1, help="runs of each row; their medians")
    found.add_argument("--robot-seconds", type=float, default=20.0, help="robot and simulator")
    found.add_argument("--sizes", type=count, nargs="+", default=[256, 512, 1024])
    found.add_argument("--rates", type=float, nargs="+", default=[30.0, 60.0])
    found.add_argument("--domain", type=int, default=43, help="DDS domain")
    where = found.add_mutually_exclusive_group()
    own = output_dir() / RECORD.name
    where.add_argument("--results", type=Path, default=own, metavar="JSON", help=f"default: {own}")
    to_record = {"action": "store_const", "const": RECORD, "help": "write the repository's record"}
    where.add_argument("--record", dest="results", **to_record)
    return found


def main() -> None:
    """Measure, print, write."""
    arguments = parser().parse_args()
    run_simulator(arguments)
    print("\n" + table_lines([])[0])
    rows = measure_all(arguments)
    tracked = compare_with_tracker(arguments)
    write_rows(arguments.results, rows, tracker=tracked)
    print(f"\nwritten to {arguments.results}")
    print(reach_line(rows))
    print(tracker_line(tracked))


if __name__ == "__main__":
    main()
