"""Connections that pose sources and sinks share: DDS participant, OpenIGTLink server, bags."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from fluoro.config import Config
from fluoro.console.controls import ControlState, LiveControls, first_wire
from fluoro.interop.dds.installed import require_cyclonedds
from fluoro.interop.refusals import Refusals
from fluoro.interop.steering import Steering
from fluoro.volume.posed_solid import LiveInsertion, PosedSolid
from operators.monitor import StreamMonitor

if TYPE_CHECKING:
    from fluoro.interop.dds.node import DdsNode
    from fluoro.interop.frame_publisher import FrameSink
    from fluoro.interop.igtl.igtl_poses import Transform
    from fluoro.interop.pose_feed import PoseFeed

__all__ = ["Links"]

log = logging.getLogger(__name__)
SIMULATOR = "fluoro simulator"
"""Name of a simulator's participant in DDS."""


class Links:
    """Opens each connection when a part first needs it, and closes it after the graph.

    Args:
        config: The application's configuration.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        monitor: Knows the state of the stream.
        controls: Set by the control topic.
        stack: Closes what is opened.
        posed: Objects with a pose per frame.

    Attributes:
        steering: Steers the objects; OpenIGTLink and DDS do so.
        feed: Takes poses that are sent; None: the poses come from elsewhere.
        frames: Sends frames over DDS; None: none are sent.
        igtl_place: Host and port of the OpenIGTLink server; None: there is none.
        take_transform: Takes what OpenIGTLink's clients send; None: it is thrown away.
        on_blank: Called when poses stop and the image is to be black.
        refusing: Refusals of what takes messages that are no poses, by its name.
        clock: Time of frames that show no sender's pose [ns since 1970]; a simulation's time where
            DDS has one.
    """

    def __init__(
        self,
        config: Config,
        isocenter_xyz_mm: Sequence[float],
        monitor: StreamMonitor,
        controls: LiveControls,
        stack: ExitStack,
        posed: Sequence[PosedSolid] = (),
    ) -> None:
        self.steering = Steering(posed)
        stack.callback(self.steering.close)
        wire = first_wire(config)
        if wire and posed:
            controls.insert = partial(self._insert, wire.title)
        self.config, self.isocenter_xyz_mm, self.monitor = config, isocenter_xyz_mm, monitor
        self._controls, self._stack = controls, stack
        self.feed: PoseFeed | None = None
        self.frames: FrameSink | None = None
        self.igtl_place: str | None = None
        self.take_transform: Callable[[int, Transform], None] | None = None
        self.on_blank: list[Callable[[], None]] = []
        self._before_blank: ControlState | None = None
        self.refusing: dict[str, Refusals] = {}
        if posed:
            self.refusing["instruments"] = self.steering.refusals
        self.clock: Callable[[], int] = time.time_ns
        self._node: DdsNode | None = None
        self._rivals: set[str] = set()

    def dds(self, key: str) -> DdsNode:
        """Return the DDS participant; the first call opens it, and sets `clock`.

        Args:
            key: Key of the configuration that needs it.

        Raises:
            InputError: An interface that is not there.
            DeviceError: DDS does not start, or its package is not installed.
        """
        if self._node is None:
            require_cyclonedds(key)
            from fluoro.interop.dds.node import DdsNode
            from fluoro.interop.dds.outgoing_clock import RosClock, make_clock

            self._node = DdsNode(self.config.dds, SIMULATOR)
            self._stack.callback(self._node.close)
            self.clock = make_clock(self._node)
            if isinstance(self.clock, RosClock):
                self.refusing["clock"] = self.clock.refusals
        return self._node

    def _insert(self, name: str, inserted_mm: float, roll_deg: float) -> None:
        """Move a wire by the console's sliders."""
        sample = LiveInsertion(inserted_mm=inserted_mm, roll_deg=roll_deg)
        self.steering.offer(name, lambda: sample, continues=False)

    def rivals(self) -> list[str]:
        """Return other simulators in the DDS domain, and log each of them once."""
        found = self._node.discovery.namesakes(SIMULATOR) if self._node else []
        for rival in found:
            if rival not in self._rivals:
                self._rivals.add(rival)
                log.warning(
                    "another simulator is in DDS domain %d (%s): both take the same poses, and "
                    "receivers mix their frames; give one of them another dds.domain",
                    self.config.dds.domain,
                    rival,
                )
        return found

    def blank(self) -> None:
        """End the beam and show a black frame, since poses have stopped."""
        state = self._controls.snapshot()
        if state.beam_on:
            self._before_blank = state
            self._controls.update(beam_on=False, last_image_hold=False)
            for show_black in self.on_blank:
                show_black()

    def unblank(self) -> None:
        """Undo `blank`, where it has had an effect."""
        before, self._before_blank = self._before_blank, None
        if before:
            self._controls.update(beam_on=True, last_image_hold=before.last_image_hold)

    def start(self) -> None:
        """Take messages of the control topic, and publish the state of the stream over DDS.

        Raises:
            InputError: An interface that is not there.
            DeviceError: DDS does not start, or its package is not installed.
        """
        topic, prefix = self.config.dds.control_topic, self.config.dds.instrument_topic
        if prefix:
            from fluoro.interop.dds.instrument_topics import listen

            listen(self.dds("dds.instrument_topic"), prefix, self.steering)
        node = self.dds("dds.control_topic") if topic else self._node
        if node is None:
            return
        from fluoro.interop.dds.diagnostics_publisher import StatusPublisher
        from fluoro.interop.dds.remote_controls import RemoteControls
        from operators.link_states import states

        if topic:
            remote = RemoteControls(node, topic, self._controls, self.monitor.pose)
            self._stack.callback(remote.close)
            self.refusing["controls"] = remote.refusals
        publisher = StatusPublisher(node, self.clock, lambda: states(self))
        self._stack.callback(publisher.close)

    def lines(self) -> list[str]:
        """Return where other programs find the simulator, a line for each connection."""
        lines = [f"DDS           {', '.join(self._dds_words())}"] if self._node else []
        if self.igtl_place:
            lines.append(f"OpenIGTLink   {self.igtl_place}")
        return lines

    def _dds_words(self) -> list[str]:
        """The domain, and the topics of poses, frames and controls."""
        dds, source = self.config.dds, self.config.pose_source
        words = [f"domain {dds.domain} on {dds.interface}"]
        if source.kind == "dds":
            words.append(f"poses from {source.topic}")
        if self.frames:
            words.append(f"frames to {self.frames.topic}")
        if dds.control_topic:
            words.append(f"controls from {dds.control_topic}")
        return words

    def dropped(self) -> dict[str, int]:
        """Return how many poses and messages were lost here, by where."""
        counts = self.feed.counts() if self.feed else {}
        poses = {f"poses {name}": n for name, n in counts.items() if name.startswith("refused")}
        if counts.get("malformed"):
            poses["poses malformed"] = counts["malformed"]
        refused = {
            f"{name} refused: {reason}": count
            for name, refusals in self.refusing.items()
            for reason, count in refusals.counts().items()
        }
        return poses | refused
