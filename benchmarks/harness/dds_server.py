"""The other process of benchmarks/latency.py: takes poses and answers with frames from memory.

`bare` answers in the thread that took the pose; `graph` takes the application's own operators.
Ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import operators.runtime  # noqa: F401  (prepares the imports of Holoscan)

# isort: split

import numpy as np
from holoscan.core import (
    Application,
    ConditionType,
    DataFlowMetric,
    Operator,
    Tracker,
)
from holoscan.schedulers import EventBasedScheduler

from fluoro.config import Config, DdsConfig
from fluoro.console.controls import LiveControls
from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.limits import CarmLimits
from fluoro.imaging.frame import FluoroFrame
from fluoro.interop.dds import qos
from fluoro.interop.dds.image_messages import image_message
from fluoro.interop.dds.node import DdsNode, ros_topic
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import Image
from fluoro.interop.frame_publisher import FrameSink
from fluoro.poses.base import PoseSetup
from fluoro.recording.run_record import RunRecord
from operators.links import Links
from operators.messages import Host, emit
from operators.monitor import StreamMonitor
from operators.pace import Pace
from operators.pose_source import PoseSourceOp
from operators.sinks.dds import DdsSink
from operators.stream_clock import StreamClock

ORIGIN = (0.0, 0.0, 0.0)
IMAGES = 8
"""Held in memory and shown in turn."""
WORKER_THREADS = 5
SKIPPED = 20
"""Messages of the start that neither Holoscan's Tracker nor our own figure counts."""


def noise_images(size: int) -> list[np.ndarray]:
    """Images of noise, display values [0, 1]."""
    random = np.random.default_rng(0)
    return [random.random((size, size), np.float32) for _ in range(IMAGES)]


def serve_bare(domain: int, size: int) -> None:
    """Answer each pose with an image whose bytes lie ready."""
    node = DdsNode(DdsConfig(domain=domain))
    images = [image_message(image, "mono8", 0) for image in noise_images(size)]
    writer = node.writer(ros_topic("/fluoro/image_raw"), Image, qos.frames())

    def answer(pose: PoseStamped, _writer: int) -> None:
        image = images[writer.written % IMAGES]
        image.header.stamp = pose.header.stamp
        writer.write(image)

    node.listen(ros_topic("/carm/pose"), PoseStamped, qos.sensor_data(), answer)
    sys.stdin.read()
    node.close()


class ReplayOp(Operator):
    """Images from memory, in the place of renderer and image chain.

    Ports:
        pose (in): `FrameHeader`.
        view (out): tensor (height, width) float32, display values in [0, 1].
    """

    def __init__(self, fragment: Any, *args: Any, images: list[np.ndarray], **kwargs: Any) -> None:
        self._images = images
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: Any) -> None:
        """Declare the ports."""
        spec.input("pose")
        spec.output("view").condition(ConditionType.NONE)

    def compute(self, input_: Any, output: Any, _context: Any) -> None:
        """Show one image."""
        header = input_.receive("pose")
        emit(self, output, "view", self._images[header.number % IMAGES], header)


class TimedSourceOp(PoseSourceOp):
    """Notes when the tick began that issued a pose: there Holoscan's Tracker begins."""

    def compute(self, *ports: Any) -> None:
        """Issue a pose."""
        number, start_ns = self._number, time.time_ns()
        super().compute(*ports)
        if self._number > number:
            STARTED_NS[number] = start_ns


class ServerLinks(Links):
    """Connections of a server that has its participant already."""

    def __init__(
        self, config: Config, node: DdsNode, monitor: StreamMonitor, controls: LiveControls
    ) -> None:
        super().__init__(config, ORIGIN, monitor, controls, ExitStack())
        self._node = node


def _monitor() -> StreamMonitor:
    return StreamMonitor(RunRecord(config={}, device="", seed=0), None, "")


class TimedSink(FrameSink):
    """Notes when a frame is out."""

    def send(self, frame: FluoroFrame) -> None:
        """Send a frame."""
        super().send(frame)
        ENDED_NS[frame.number] = time.time_ns()


STARTED_NS: dict[int, int] = {}
ENDED_NS: dict[int, int] = {}


class ReplayApp(Application):
    """Poses in, images from memory out."""

    def __init__(self, config: Config, node: DdsNode, size: int, stop: threading.Event) -> None:
        self._config, self._node, self._size, self._stop = config, node, size, stop
        super().__init__()
        self.scheduler(
            EventBasedScheduler(
                self,
                worker_thread_number=WORKER_THREADS,
                stop_on_deadlock=True,
                stop_on_deadlock_timeout=200,
            )
        )

    def compose(self) -> None:
        """Subscriber -> replay -> publisher."""
        subscriber, publisher = self._subscriber(), self._publisher()
        replay = ReplayOp(self, images=noise_images(self._size), name="replay")
        self.add_flow(subscriber, replay, {("pose", "pose")})
        self.add_flow(replay, publisher, {("view", "frame")})
        for operator in (subscriber, publisher):
            pool = self.make_thread_pool(f"{operator.name}_thread", 1)
            pool.add(operator, pin_operator=True)

    def _subscriber(self) -> Operator:
        config, monitor = self._config, _monitor()
        setup = PoseSetup(seed=0, isocenter_xyz_mm=ORIGIN, limits=CarmLimits())
        controls, source = LiveControls.from_config(config), config.pose_source.make(setup)
        source.open(ServerLinks(config, self._node, monitor, controls))
        return TimedSourceOp(
            self,
            pace=Pace(None),
            source=source,
            config=config.pose_source,
            fps=config.run.fps,
            clock=StreamClock(config),
            geometry=CarmGeometry(detector_width_px=self._size, detector_height_px=self._size),
            controls=controls,
            limits=CarmLimits(),
            monitor=monitor,
            frames=None,
            stop=self._stop,
            name="pose_source",
        )

    def _publisher(self) -> Operator:
        frames = TimedSink(self._node, self._config.dds.frames, ORIGIN, time.time_ns)
        return DdsSink(frames, None, _monitor()).operator(self, Host())


def serve_graph(domain: int, size: int, run: Callable[[ReplayApp], None]) -> None:
    """Run the graph until standard input is closed."""
    config = Config.model_validate(
        {
            "volume": {"phantom": "thorax"},
            "pose_source": {"kind": "dds", "watchdog_ms": 60_000},
            "dds": {"domain": domain, "frames": {}},
        }
    )
    node, stop = DdsNode(config.dds), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    run(ReplayApp(config, node, size, stop))
    node.close()


def run_tracked(app: ReplayApp) -> None:
    """Run it under Holoscan's Tracker; print its mean of the whole way [ms] beside ours."""
    with Tracker(
        app,
        num_start_messages_to_skip=SKIPPED,
        num_last_messages_to_discard=0,
        is_limited_tracking=True,
    ) as tracker:
        app.run()
        (path,) = tracker.get_path_strings()
        theirs_ms = tracker.get_metric(path, DataFlowMetric.AVG_E2E_LATENCY)
    ours = [(ENDED_NS[n] - STARTED_NS[n]) * 1e-6 for n in sorted(ENDED_NS)[SKIPPED:]]
    figures = {"tracker_ms": theirs_ms, "ours_ms": float(np.mean(ours)), "frames": len(ours)}
    print(json.dumps(figures), flush=True)


def main() -> None:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=["bare", "graph", "tracked"])
    parser.add_argument("domain", type=int)
    parser.add_argument("size", type=int)
    arguments = parser.parse_args()
    if arguments.role == "bare":
        serve_bare(arguments.domain, arguments.size)
    else:
        run = run_tracked if arguments.role == "tracked" else Application.run
        serve_graph(arguments.domain, arguments.size, run)


if __name__ == "__main__":
    main()
