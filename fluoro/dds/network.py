"""Cyclone DDS's settings from ours: which interface, which peers, how large."""

from __future__ import annotations

import ipaddress
import logging
import socket
from xml.sax.saxutils import quoteattr

from fluoro.config import DdsConfig
from fluoro.errors import InputError

__all__ = ["cyclone_xml", "is_local", "is_loopback", "warn_if_wide"]

log = logging.getLogger(__name__)

LOOPBACK = "lo"
LARGEST_SAMPLE = "64MB"
"""A sample that says that it is larger is dropped by Cyclone, whoever sent it."""
WRITER_CACHE = "16MB"
"""What a writer keeps for a reader that is behind before it would have to wait."""
PARTICIPANTS = 30
"""On one machine and in one domain, without multicast: ports that are tried."""


def cyclone_xml(config: DdsConfig) -> str:
    """The configuration for Cyclone DDS.

    Raises:
        InputError: An interface that this machine does not have.
    """
    peers = "".join(f"<Peer address={quoteattr(peer)}/>" for peer in config.peers)
    multicast = "default" if config.multicast else "false"
    return (
        '<CycloneDDS><Domain Id="any">'
        f"<General><Interfaces><NetworkInterface {_interface(config.interface)}/></Interfaces>"
        f"<AllowMulticast>{multicast}</AllowMulticast>"
        "<MaxMessageSize>65500B</MaxMessageSize></General>"
        "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
        f"<MaxAutoParticipantIndex>{PARTICIPANTS}</MaxAutoParticipantIndex>"
        f"<Peers>{peers}</Peers></Discovery>"
        f"<Internal><MaxSampleSize>{LARGEST_SAMPLE}</MaxSampleSize>"
        '<SocketReceiveBufferSize min="default" max="4MB"/>'
        f"<Watermarks><WhcHigh>{WRITER_CACHE}</WhcHigh></Watermarks></Internal>"
        "</Domain></CycloneDDS>"
    )


def _interface(name: str) -> str:
    try:
        return f"address={quoteattr(str(ipaddress.ip_address(name)))}"
    except ValueError:
        pass
    known = [known for _, known in socket.if_nameindex()]
    if name not in known:
        raise InputError(
            f"dds.interface must be an IP address or one of {', '.join(known)}, got {name!r}"
        )
    return f"name={quoteattr(name)}"


def is_local(config: DdsConfig) -> bool:
    """Whether everything stays on this machine."""
    return all(map(is_loopback, (config.interface, *config.peers)))


def is_loopback(name: str) -> bool:
    """Whether an address or interface is this machine's own."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in (LOOPBACK, "localhost")


def warn_if_wide(config: DdsConfig) -> None:
    """Say it loudly where others on a network can see the frames and move the C-arm."""
    if not is_local(config):
        log.warning(
            "DDS LEAVES THIS MACHINE: interface %s, domain %d, peers %s, nothing is encrypted; "
            "whoever is on that network sees the frames and moves the C-arm",
            config.interface,
            config.domain,
            ", ".join(config.peers) or "none",
        )
