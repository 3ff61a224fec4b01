"""Addresses of other machines, as keys of the YAML."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from fluoro.mistakes import shown

__all__ = ["Peer"]

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
