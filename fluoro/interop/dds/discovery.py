"""Who else is in the domain, and why two endpoints do not find each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsParticipant,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.core import InstanceState, ReadCondition, SampleState, ViewState
from cyclonedds.qos import Policy

from fluoro.interop.refusals import one_line

__all__ = ["Discovery", "best_effort_bytes", "domains_of_ports", "domains_on_this_machine"]

MOST = 1000
"""Participants and endpoints that are looked at."""
POLICIES = {2: "durability", 5: "deadline", 8: "liveliness", 11: "reliability"}
"""Numbers of the policies that ROS 2 sets (OMG DDS 1.4, 2.3.3)."""
FIRST_PORT, PORTS_OF_A_DOMAIN, UNICAST_OFFSET = 7400, 250, 10
"""UDP ports of RTPS 2.5, 9.6.2.3: a domain's multicast port, and where its participants' begin."""
MOST_PARTICIPANTS = 30
FIRST_EPHEMERAL_PORT = 32768
"""From here on a port may be anyone's."""


class Discovery:
    """What DDS's discovery reports about the other participants.

    Args:
        participant: Ours.
    """

    def __init__(self, participant: Any) -> None:
        self._own = participant.guid
        self.readers = [
            BuiltinDataReader(participant, topic)
            for topic in (
                BuiltinTopicDcpsParticipant,
                BuiltinTopicDcpsPublication,
                BuiltinTopicDcpsSubscription,
            )
        ]

    def participants(self) -> int:
        """Return the number of other participants in the domain."""
        return sum(found.key != self._own for found in self._alive(0))

    def namesakes(self, name: str) -> list[str]:
        """Return the other participants of a name, by process and host, sorted."""
        return sorted(
            _process_of(found.qos)
            for found in self._alive(0)
            if found.key != self._own and _name_of(found.qos) == name
        )

    def types_written(self, topic: str) -> set[str]:
        """Return the types with which others write a topic, by its name on the wire."""
        return {found.type_name for found in self._endpoints(1, topic)}

    def best_effort_readers(self, topic: str) -> int:
        """Return the number of others' readers of a topic that do not ask for lost samples."""
        best_effort = Policy.Reliability.BestEffort
        return sum(
            found.qos[Policy.Reliability] == best_effort for found in self._endpoints(2, topic)
        )

    def _endpoints(self, which: int, topic: str) -> Iterator[Any]:
        for found in self._alive(which):
            if found.topic_name == topic and found.participant_key != self._own:
                yield found

    def _alive(self, which: int) -> list[Any]:
        reader = self.readers[which]
        mask = ViewState.Any | InstanceState.Alive | SampleState.Any
        return list(reader.read(N=MOST, condition=ReadCondition(reader, mask)))


def _name_of(participant: Any) -> str:
    """Return a participant's name by its quality of service; empty: it has none."""
    named = (each.name for each in participant if isinstance(each, Policy.EntityName))
    return next(named, "")


def _process_of(participant: Any) -> str:
    """Return a participant's process and host in words, where it has them (Cyclone DDS)."""
    told = {each.key: each.value for each in participant if isinstance(each, Policy.Property)}
    process, host = told.get("__Pid", "?"), told.get("__Hostname", "?")
    return one_line(f"process {process} on {host}")


def policy_name(number: int) -> str:
    """Return the name of a quality-of-service policy by its number in DDS."""
    return POLICIES.get(number, f"policy {number}")


def domains_of_ports(ports: set[int]) -> list[int]:
    """Return the domains whose participants would have bound these UDP ports.

    Args:
        ports: UDP ports in use; those from 32768 on are left aside.
    """
    found = set()
    for port in ports:
        domain, offset = divmod(port - FIRST_PORT, PORTS_OF_A_DOMAIN)
        unicast = UNICAST_OFFSET <= offset < UNICAST_OFFSET + 2 * MOST_PARTICIPANTS
        if FIRST_PORT <= port < FIRST_EPHEMERAL_PORT and (offset == 0 or unicast):
            found.add(domain)
    return sorted(found)


def domains_on_this_machine() -> list[int]:
    """Return the domains that programs on this machine seem to be in, by their UDP ports."""
    try:
        lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    except OSError:  # no Linux
        return []
    return domains_of_ports({int(line.split()[1].partition(":")[2], 16) for line in lines})


def best_effort_bytes() -> int:
    """Return the largest sample [bytes] that a best-effort reader gets whole, by default.

    Half of the receive buffer that Linux gives a socket (net.core.rmem_default): the kernel counts
    its own data of each packet too.
    """
    try:
        return int(Path("/proc/sys/net/core/rmem_default").read_text()) // 2
    except OSError:
        return 212_992 // 2
