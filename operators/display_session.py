"""The display's part of an application whose renderer runs on another machine."""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress

from fluoro.config import Config
from fluoro.console.scene_view import SceneModel
from fluoro.console.server import Console
from fluoro.errors import DeviceError, InputError
from fluoro.geometry.from_config import make_geometry
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.dds.remote_controls import RelayedControls, control_sender
from fluoro.recording.run_record import RunRecord
from fluoro.volume.load import load_volume
from fluoro.volume.patient_surface import PatientSurfaces
from operators.assembly import isocenter_of
from operators.context import Reporter
from operators.distributed_app import DisplaySetup, SplitApp, SplitOptions
from operators.monitor import StreamMonitor
from operators.session import Outcome
from operators.shutdown import StopSignals, run_app
from operators.sinks.console import ConsoleSink

__all__ = ["run_display"]

REPORT_INTERVAL_S = 0.1
CONNECT_S = 1.0
"""Between two looks for the driver."""
ELSEWHERE = "another machine"
"""What renders, as the console shows it."""


def run_display(
    config: Config, split: SplitOptions, reporter: Reporter, started_ns: int
) -> Outcome:
    """Show what the renderer's machine sends, until it ends or SIGINT or SIGTERM.

    Args:
        config: The same as on the other machine.
        split: Where that is.
        reporter: Told of progress.
        started_ns: When the program started, Unix time [ns].

    Raises:
        FluoroError: No console, a volume that cannot be read, a port that is taken.
    """
    if not config.console.enabled:
        raise InputError("console.enabled must be true where the fragment display runs")
    record = RunRecord(
        config=config.model_dump(mode="json", by_alias=True),
        device=ELSEWHERE,
        seed=config.run.seed or 0,
        started_ns=started_ns,
    )
    with ExitStack() as stack:
        monitor, geometry = StreamMonitor(record, None, ELSEWHERE), make_geometry(config.carm)
        controls = _controls(config, stack)
        console = _console(config, controls, reporter)
        url = console.start()
        stack.callback(console.close)
        reporter.started(console_url=url, device=ELSEWHERE, folder=None, links=())
        ready = config.pose_source.brings_images
        sink = ConsoleSink(console, monitor, config.image_chain, controls, url, ready_images=ready)
        parts = DisplaySetup(sink=sink, geometry=geometry, monitor=monitor)
        number = _shown(split, reporter, parts)
    dropped = {**monitor.dropped(), "link": monitor.missed()}
    stopped_by = signal.Signals(number).name if number else "the renderer's end"
    summary = record.summary(dropped=dropped, completed=number is None, stopped_by=stopped_by)
    return Outcome(summary=summary, folder=None, signal_number=number)


def _shown(split: SplitOptions, reporter: Reporter, parts: DisplaySetup) -> int | None:
    """Run the fragment to its end; the signal that ended it, or None."""
    stop, failure, monitor = threading.Event(), [], parts.monitor
    with StopSignals(stop) as signals:
        if not _driver_is_there(split.address, reporter, stop):
            return next(iter(signals.caught), None)
    app = SplitApp(split, parts)
    thread = threading.Thread(target=run_app, args=(app, failure), name="graph", daemon=True)
    with StopSignals(stop) as signals:
        thread.start()
        while thread.is_alive():
            signals.hold()
            thread.join(REPORT_INTERVAL_S)
            reporter.streaming(monitor.frames, monitor.status())
            if stop.is_set():
                app.stop_execution()
                time.sleep(REPORT_INTERVAL_S)
    if failure:
        raise failure[0]
    number = next(iter(signals.caught), None)
    if not (number or monitor.frames):
        raise DeviceError(f"no frame came from the renderer by the driver at {split.address}")
    return number


def _driver_is_there(address: str, reporter: Reporter, stop: threading.Event) -> bool:
    """Wait until somebody listens at the driver's address; False: stopped before."""
    host, _, port = address.rpartition(":")
    while not stop.is_set():
        reporter.stage(f"waiting for the driver at {address}", 0.0)
        with suppress(OSError), socket.create_connection((host, int(port)), CONNECT_S):
            return True
        stop.wait(CONNECT_S)
    return False


def _controls(config: Config, stack: ExitStack) -> RelayedControls:
    """Controls that go over DDS, where there is a topic for them."""
    controls = RelayedControls.from_config(config)
    if config.dds.control_topic:
        node = DdsNode(config.dds)
        stack.callback(node.close)
        controls.send = control_sender(node, config.dds.control_topic)
    return controls


def _console(config: Config, controls: RelayedControls, reporter: Reporter) -> Console:
    """The console, whose 3D view shows the same volume as there."""
    volume = load_volume(config.volume, reporter.stage)
    scene = SceneModel(
        isocenter_xyz_mm=isocenter_of(config.carm, volume),
        patient_position=config.volume.patient_position,
    )
    return Console(config.console, controls, scene=scene, surfaces=PatientSurfaces(volume))
