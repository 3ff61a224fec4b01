"""Cyclone DDS's settings from ours: which interface, which peers, how large."""

from __future__ import annotations

import ipaddress
import logging
import socket
from xml.sax.saxutils import quoteattr

from fluoro.config import DdsConfig
from fluoro.config.outputs import LARGEST_SAMPLE_BYTES
from fluoro.errors import InputError

__all__ = ["cyclone_xml", "is_local", "is_loopback", "unresolved_peers", "warn_if_wide"]

log = logging.getLogger(__name__)

LOOPBACK = "lo"
WRITER_CACHE = "16MB"
"""What a writer keeps for a reader that is behind before it would have to wait."""
PARTICIPANTS = 30
"""On one machine and in one domain, without multicast: ports that are tried."""
ANNOUNCED_EVERY = "500ms"
"""Interval of the participant's announcements to the peers. A ROS 2 node with rmw_fastrtps learns
of us by them alone, so it waits as long. Cyclone's own choices do not suffice: it announces every
8 s, and gives up peers that have not answered within 30 s."""


def cyclone_xml(config: DdsConfig) -> str:
    """Return the configuration for Cyclone DDS.

    On the loopback interface participants find each other by multicast too, which does not leave
    it: rmw_cyclonedds with ROS_LOCALHOST_ONLY=1 has ports that no list of peers can name.

    Raises:
        InputError: An interface that this machine does not have, a peer that cannot be resolved.
    """
    addresses = map(_peer_address, range(len(config.peers)), config.peers)
    peers = "".join(f"<Peer address={quoteattr(address)}/>" for address in addresses)
    alone = "spdp" if is_loopback(config.interface) else "false"
    multicast = "default" if config.multicast else alone
    return (
        '<CycloneDDS><Domain Id="any">'
        f"<General><Interfaces><NetworkInterface {_interface(config.interface)}/></Interfaces>"
        f"<AllowMulticast>{multicast}</AllowMulticast>"
        "<MaxMessageSize>65500B</MaxMessageSize></General>"
        "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
        f"<MaxAutoParticipantIndex>{PARTICIPANTS}</MaxAutoParticipantIndex>"
        f"<SPDPInterval>{ANNOUNCED_EVERY}</SPDPInterval>"
        "<InitialLocatorPruneDelay>inf</InitialLocatorPruneDelay>"
        f"<Peers>{peers}</Peers></Discovery>"
        f"<Internal><MaxSampleSize>{LARGEST_SAMPLE_BYTES}B</MaxSampleSize>"
        '<SocketReceiveBufferSize min="default" max="4MB"/>'
        f"<Watermarks><WhcHigh>{WRITER_CACHE}</WhcHigh></Watermarks></Internal>"
        "</Domain></CycloneDDS>"
    )


def unresolved_peers(config: DdsConfig) -> list[str]:
    """Return a sentence for each peer whose name this machine cannot resolve."""
    found = []
    for number, peer in enumerate(config.peers):
        try:
            _peer_address(number, peer)
        except InputError as error:
            found.append(str(error))
    return found


def _peer_address(number: int, peer: str) -> str:
    """Return a peer's IPv4 address and port: Cyclone ends the process at a name it cannot resolve.

    Raises:
        InputError: The name cannot be resolved.
    """
    host, colon, port = peer.partition(":")
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_DGRAM)
        address = ipaddress.IPv4Address(found[0][4][0])
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"dds.peers.{number}: {host} cannot be resolved: {why}") from None
    if address.packed[0] in (0, *range(240, 256)):  # such as a blocked name; Cyclone fails at it
        raise InputError(f"dds.peers.{number}: {host} is no machine's address: {address}")
    return f"{address}{colon}{port}"


def _interface(name: str) -> str:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return _named_interface(name)
    if address.version != 4 or not _is_own(str(address)):
        raise InputError(f"dds.interface must be an IPv4 address of this machine, got {name}")
    return f"address={quoteattr(str(address))}"


def _is_own(address: str) -> bool:
    """Return whether an IPv4 address is one of this machine's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _named_interface(name: str) -> str:
    known = [known for _, known in socket.if_nameindex()]
    if name not in known:
        raise InputError(
            f"dds.interface must be an IP address or one of {', '.join(known)}, got {name!r}"
        )
    return f"name={quoteattr(name)}"


def is_local(config: DdsConfig) -> bool:
    """Return whether everything stays on this machine."""
    hosts = (peer.partition(":")[0] for peer in config.peers)
    return all(map(is_loopback, (config.interface, *hosts)))


def is_loopback(name: str) -> bool:
    """Return whether an address or interface is this machine's own."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in (LOOPBACK, "localhost")


def warn_if_wide(config: DdsConfig) -> None:
    """Log a warning where others on a network can see the frames and move the C-arm."""
    if not is_local(config):
        log.warning(
            "WARNING: DDS traffic is not limited to this host (interface %s, domain %d, peers %s) "
            "and not encrypted: every host on that network can see the frames and move the C-arm",
            config.interface,
            config.domain,
            ", ".join(config.peers) or "none",
        )
