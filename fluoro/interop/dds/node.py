"""A participant in DDS with its readers and writers; samples that cannot be read are counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from cyclonedds.core import (
    DDSException,
    InstanceState,
    ReadCondition,
    SampleState,
    ViewState,
    WaitSet,
)
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from fluoro.config import DdsConfig
from fluoro.errors import DeviceError
from fluoro.interop.dds.discovery import Discovery, policy_name
from fluoro.interop.dds.network import cyclone_xml, warn_if_wide
from fluoro.interop.refusals import Refusals, RefusedError

__all__ = ["DdsNode", "Listener", "Writer", "ros_topic"]

Sample = TypeVar("Sample", bound=IdlStruct)
POLL_S = 0.1
"""How long a thread waits for samples before it looks whether it is to end."""


def ros_topic(name: str) -> str:
    """Return the name on the wire of ROS 2's topic."""
    return f"rt/{name.lstrip('/')}"


class DdsNode:
    """A participant: one to a process and domain.

    Args:
        config: Domain, interface, peers.
        name: What others in the domain may know it by; empty: none.

    Attributes:
        config: As it was given.
        discovery: Knows the other participants.

    Raises:
        InputError: An interface that is not there.
        DeviceError: Cyclone DDS does not start; the message has a hint.
    """

    def __init__(self, config: DdsConfig, name: str = "") -> None:
        self.config = config
        xml = cyclone_xml(config)
        warn_if_wide(config)
        try:
            self._domain = Domain(config.domain, xml)
            named = Qos(Policy.EntityName(name)) if name else None
            self._participant = DomainParticipant(config.domain, named)
        except DDSException as error:
            raise DeviceError(
                f"dds: no participant in domain {config.domain} on {config.interface} ({error}); "
                "is the domain open in this process already, or are its ports taken?"
            ) from None
        self.discovery = Discovery(self._participant)
        self._listeners: list[Listener[Any]] = []
        self._open: list[Any] = [self._domain, self._participant, *self.discovery.readers]

    def writer(self, topic: str, kind: type[Sample], qos: Qos) -> Writer[Sample]:
        """Return a writer of a topic, by its name on the wire."""
        writer = DataWriter(self._participant, Topic(self._participant, topic, kind), qos)
        return Writer(writer, topic)

    def listen(
        self,
        topic: str,
        kind: type[Sample],
        qos: Qos,
        on_sample: Callable[[Sample, int], None],
    ) -> Listener[Sample]:
        """Return a thread that calls `on_sample(sample, its writer's handle)` for each sample."""
        reader = DataReader(self._participant, Topic(self._participant, topic, kind), qos)
        listener = Listener(self._participant, reader, topic, on_sample)
        self._listeners.append(listener)
        return listener

    def close(self) -> None:
        """End the threads and leave the domain; may be called again."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        while self._open:
            self._open.pop().__del__()  # Cyclone's objects know no other way to be closed


class Writer(Generic[Sample]):
    """Writes without waiting; what did not go out is counted in `lost`."""

    def __init__(self, writer: Any, topic: str) -> None:
        self._writer, self.topic = writer, topic
        self.written = 0
        self.lost = 0

    def write(self, sample: Sample) -> bool:
        """Send a sample; False where it was lost here.

        Raises:
            DeviceError: Cyclone refuses it.
        """
        try:
            self._writer.write(sample)
        except DDSException as error:
            if error.code != DDSException.DDS_RETCODE_TIMEOUT:
                raise DeviceError(f"dds: a sample cannot be written: {error}") from None
            self.lost += 1
            return False
        self.written += 1
        return True

    def readers(self) -> int:
        """Readers that listen now."""
        return int(self._writer.get_publication_matched_status().current_count)

    def mismatch(self) -> str:
        """Return the policy in which a reader asks for more than is offered; empty: none."""
        status = self._writer.get_offered_incompatible_qos_status()
        return policy_name(status.last_policy_id) if status.total_count else ""


class Listener(Generic[Sample]):
    """Takes samples in a thread of its own until closed.

    Attributes:
        received: Samples that were read.
        malformed: Samples that could not be read, or on which `on_sample` failed.
    """

    def __init__(
        self, participant: Any, reader: Any, topic: str, on_sample: Callable[[Sample, int], None]
    ) -> None:
        self._reader, self._on_sample = reader, on_sample
        self._waitset = WaitSet(participant)
        mask = ViewState.Any | InstanceState.Alive | SampleState.NotRead
        self._condition = ReadCondition(reader, mask)
        self._waitset.attach(self._condition)
        self._ended = threading.Event()
        self.received = 0
        self.malformed = 0
        self._refusals = Refusals(f"a sample of {topic}")
        self._thread = threading.Thread(target=self._run, name=f"dds {topic}", daemon=True)
        self._thread.start()

    def writers(self) -> int:
        """Writers that are heard now."""
        return int(self._reader.get_subscription_matched_status().current_count)

    def mismatch(self) -> str:
        """Return the policy in which a writer offers less than is requested; empty: none."""
        status = self._reader.get_requested_incompatible_qos_status()
        return policy_name(status.last_policy_id) if status.total_count else ""

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()
        self._refusals.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._waitset.wait(duration(seconds=POLL_S)):
                self._take_all()

    def _take_all(self) -> None:
        while not self._ended.is_set():
            try:
                samples = self._reader.take(N=1, condition=self._condition)
                if not samples:
                    return
                self._on_sample(samples[0], samples[0].sample_info.publication_handle)
                self.received += 1
            except Exception as error:  # noqa: BLE001  (whatever a stranger sends, we go on)
                self.malformed += 1
                kind = type(error).__name__
                self._refusals.add(RefusedError(kind, f"it cannot be read: {kind}: {error}"))
