"""Addresses of other machines, as keys of the YAML."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from fluoro.config.validation_errors import shown

__all__ = ["Peer", "TcpAddress", "host_and_port"]

_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"(2[0-3][0-9]|1[0-9][0-9]|[1-9][0-9]?)(\.{_OCTET}){{3}}"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_PORT = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
PEER = rf"^({_IPV4}|(?![0-9.]+(:|$)){_LABEL}(\.{_LABEL}){{0,9}})(:{_PORT})?$"
"""What Cyclone DDS can look up; it ends the process at any other address."""


def _is_peer(peer: str) -> str:
    if not re.fullmatch(PEER, peer):
        raise ValueError(
            "must be an IPv4 address from 1.0.0.0 to 239.255.255.255 or a host name, with :PORT "
            f"where it is needed, got {shown(peer)}"
        )
    return peer


Peer = Annotated[str, AfterValidator(_is_peer), WithJsonSchema({"type": "string", "pattern": PEER})]

_IPV6 = r"\[[0-9A-Fa-f:.]{2,45}\]"
TCP_ADDRESS = rf"^({_IPV6}|{_LABEL}(\.{_LABEL}){{0,9}}):{_PORT}$"


def _is_tcp_address(address: str) -> str:
    if not re.fullmatch(TCP_ADDRESS, address):
        raise ValueError(
            "must be HOST:PORT, with a port up to 65535, such as localhost:18944 or [::1]:18944, "
            f"got {shown(address)}"
        )
    return address


TcpAddress = Annotated[
    str,
    AfterValidator(_is_tcp_address),
    WithJsonSchema({"type": "string", "pattern": TCP_ADDRESS}),
]


def host_and_port(address: str) -> tuple[str, int]:
    """Return the host, an IPv6 address without brackets, and the port of a `TcpAddress`."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
