"""What an OpenIGTLink client is answered: how we are doing, and which messages we know."""

from __future__ import annotations

import struct
import time

from pyigtl.messages import CRC64

from fluoro.interop.igtl.igtl_poses import HEADER

__all__ = ["KNOWN_TYPES", "capability_message", "status_message"]

KNOWN_TYPES = ("IMAGE", "TRANSFORM", "STATUS", "GET_STATUS", "CAPABILITY", "GET_CAPABIL")
"""Messages that are sent or understood."""
NAME_BYTES = 12
STATUS = struct.Struct("> H q 20s")
"""Code, subcode and name of the error, before the text; OpenIGTLink's protocol, STATUS."""
OK, NOT_READY = 1, 13
"""Codes of OpenIGTLink's STATUS."""


def status_message(device: str, *, ready: bool, text: str) -> bytes:
    """Return a STATUS message.

    Args:
        device: Name of the device, at most 20 characters.
        ready: Whether frames come.
        text: How it is doing.
    """
    code, name = (OK, b"") if ready else (NOT_READY, b"NOT_READY")
    return _packed("STATUS", device, STATUS.pack(code, 0, name) + text.encode() + b"\0")


def capability_message(device: str) -> bytes:
    """Return a CAPABILITY message, which lists the messages that are sent or understood."""
    body = b"".join(name.encode().ljust(NAME_BYTES, b"\0") for name in KNOWN_TYPES)
    return _packed("CAPABILITY", device, body)


def _packed(kind: str, device: str, body: bytes) -> bytes:
    seconds, rest_ns = divmod(time.time_ns(), 1_000_000_000)
    fraction = (rest_ns << 32) // 1_000_000_000
    name = device.encode()[:20]
    return HEADER.pack(1, kind.encode(), name, seconds, fraction, len(body), CRC64(body)) + body
