"""OpenIGTLink: what clients send, TRANSFORM messages for poses of the C-arm, in mm and RAS."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pyigtl import TransformMessage
from pyigtl.messages import CRC64

from fluoro.config import IgtlPoses
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.interop.dds.timestamps import SECOND_NS, SECONDS_END
from fluoro.interop.pose_feed import PoseFeed
from fluoro.interop.pose_filter import SentPose
from fluoro.interop.refusals import FieldError
from fluoro.interop.steering import Steering
from fluoro.volume.posed_solid import LivePose

__all__ = [
    "RAS_FROM_LPS",
    "IgtlPoseFeed",
    "Transform",
    "instruments_first",
    "live_pose",
    "read_messages",
    "transform_pose",
]

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
HEADER = struct.Struct("> H 12s 20s I I Q Q")
"""Version, type, device, seconds, fraction of a second in 2^-32, size of the body, its CRC."""
VERSIONS = (1, 2)
"""Of the header: OpenIGTLink 1 and 2 write 1, OpenIGTLink 3 writes 2."""
LARGEST_BODY = 64 * 2**20
"""A client that announces more is cut off."""
LARGEST_TRANSFORM = 64 * 2**10
TURN_SLACK = 1e-3
"""How far from a rotation a matrix may be: it travels as float32."""
FARTHEST_MM = 100_000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Transform:
    """A message as it came.

    Attributes:
        header: The 58 bytes before the body.
        body: The rest.
    """

    header: bytes
    body: bytes

    @property
    def device(self) -> str:
        """Name of the device."""
        return bytes(HEADER.unpack(self.header)[2]).rstrip(b"\0").decode("ascii", "replace")

    def stamp_ns(self) -> int:
        """Return the sender's stamp [ns since 1970]; 0: it gave none.

        Raises:
            FieldError: The stamp is later than messages of ROS 2 can say.
        """
        _, _, _, seconds, fraction, *_ = HEADER.unpack(self.header)
        if seconds >= SECONDS_END:
            raise FieldError("timestamp", f"must be below {SECONDS_END} s, got {seconds} s")
        return int(seconds) * SECOND_NS + (int(fraction) * SECOND_NS >> 32)

    def matrix(self) -> NDArray[np.float64]:
        """Return the 4x4 matrix [mm], RAS.

        Raises:
            FieldError: The version, the checksum or the body is not what it must be.
        """
        version, *_, crc = HEADER.unpack(self.header)
        if version not in VERSIONS:
            raise FieldError("version", f"must be 1 or 2, got {version}")
        if (own := CRC64(self.body)) != crc:
            raise FieldError("crc", f"must be the body's checksum, {own:016x}, got {crc:016x}")
        fields = {"header_version": version, "message_type": "TRANSFORM", "device_name": ""}
        message = TransformMessage()
        try:
            message.unpack({**fields, "timestamp": 0.0}, self.body)
        except (struct.error, IndexError, UnicodeDecodeError, TypeError) as error:
            raise FieldError(
                "body", f"must be a transform's, and cannot be read: {error}"
            ) from None
        return np.asarray(message.matrix, np.float64)


class IgtlPoseFeed(PoseFeed):
    """Poses that clients send by OpenIGTLink.

    Args:
        config: Name of the device, what is refused.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        limits: How far the C-arm reaches.
    """

    def __init__(
        self, config: IgtlPoses, isocenter_xyz_mm: Sequence[float], limits: CarmLimits
    ) -> None:
        super().__init__(config, limits, f"OpenIGTLink's TRANSFORM {config.device}")
        self._device, self._isocenter_xyz_mm = config.device, isocenter_xyz_mm
        self.others: Counter[str] = Counter()

    def take(self, client: int, transform: Transform) -> None:
        """A client has sent a transform; those of other devices are counted and left alone."""
        if transform.device != self._device:
            self.others["of other devices"] += 1
            return
        self.offer(client, partial(self._sent, transform))

    def counts(self) -> dict[str, int]:
        """Return what came and what became of it, by name."""
        return super().counts() | dict(self.others)

    def _sent(self, transform: Transform) -> SentPose:
        stamp_ns = transform.stamp_ns()
        pose = transform_pose(transform.matrix(), self._isocenter_xyz_mm)
        return SentPose(pose=pose, stamp_ns=stamp_ns)


def live_pose(ras_from_object: NDArray[np.float64]) -> LivePose:
    """Return where an object is, of a transform [mm] between RAS coordinates, as of the C-arm."""
    return LivePose(matrix=RAS_FROM_LPS @ ras_from_object @ RAS_FROM_LPS)


def instruments_first(
    steering: Steering, others: Callable[[int, Transform], None] | None
) -> Callable[[int, Transform], None] | None:
    """Return what takes transforms: those whose device is an instrument's name steer it.

    Args:
        steering: Of the instruments.
        others: Takes the other transforms; None: they are thrown away.
    """
    if not steering.names:
        return others

    def take(client: int, transform: Transform) -> None:
        if steering.knows(transform.device):
            steering.offer(transform.device, lambda: live_pose(transform.matrix()))
        elif others:
            others(client, transform)

    return take


def transform_pose(
    ras_from_carm: NDArray[np.float64], isocenter_xyz_mm: Sequence[float]
) -> CarmPose:
    """Return the C-arm's pose of a transform from the C-arm's frame to RAS.

    Args:
        ras_from_carm: The 4x4 transform [mm].
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].

    Raises:
        FieldError: The values are not finite, no rotation, or a position beyond 100 m.
    """
    if not np.isfinite(ras_from_carm).all():
        raise FieldError("matrix", "must hold finite values")
    turn, shift = ras_from_carm[:3, :3], ras_from_carm[:3, 3]
    _require_rotation(turn)
    if np.abs(shift).max() > FARTHEST_MM:
        raise FieldError("matrix", f"must be within {FARTHEST_MM:g} mm, got {shift.tolist()}")
    world_from_carm = RAS_FROM_LPS @ ras_from_carm @ RAS_FROM_LPS
    u, _, vt = np.linalg.svd(world_from_carm[:3, :3])
    world_from_carm[:3, :3] = u @ vt  # float32 rounded it
    return CarmPose.from_world_from_carm(world_from_carm, isocenter_xyz_mm)


def _require_rotation(turn: NDArray[np.float64]) -> None:
    """Raise a FieldError that names what a 3x3 matrix is where it is no rotation."""
    lengths = np.linalg.norm(turn, axis=0)
    if np.abs(turn @ turn.T - np.eye(3)).max() > TURN_SLACK:
        scaled = np.abs(lengths - 1).max() > TURN_SLACK
        columns = ", ".join(f"{length:.4g}" for length in lengths)
        got = f"a scale: columns of length {columns}" if scaled else "a shear"
        raise FieldError("matrix", f"must be a rotation and a shift, got {got}")
    if np.linalg.det(turn) < 0:
        raise FieldError("matrix", "must be a rotation and a shift, got a mirror (determinant -1)")


def read_messages(
    client: socket.socket,
    on_transform: Callable[[Transform], None],
    on_query: Callable[[str], None],
    ended: Callable[[], bool],
) -> None:
    """Read a client's messages until it goes; those of other kinds are passed over.

    Args:
        client: With a timeout, after which `ended` is called.
        on_transform: Told of each TRANSFORM.
        on_query: Called with the kind of each query, such as "GET_STATUS".
        ended: Whether to stop.

    Raises:
        OSError: The connection broke.
        FieldError: The client announced a body that is too large to be one.
    """
    while (header := _exactly(client, HEADER.size, ended)) is not None:
        _, kind, *_, size, _ = HEADER.unpack(header)
        is_transform = kind.rstrip(b"\0") == b"TRANSFORM"
        largest = LARGEST_TRANSFORM if is_transform else LARGEST_BODY
        if size > largest:
            raise FieldError("body size", f"must be at most {largest} bytes, got {size}")
        if not is_transform:
            _skip(client, size, ended)
            if kind.startswith(b"GET_"):
                on_query(kind.rstrip(b"\0").decode("ascii", "replace"))
            continue
        body = _exactly(client, size, ended)
        if body is None:
            return
        on_transform(Transform(header=header, body=body))


def _exactly(client: socket.socket, size: int, ended: Callable[[], bool]) -> bytes | None:
    """Return `size` bytes; None where the client is gone or `ended` returns true."""
    found = bytearray()
    while len(found) < size:
        if ended():
            return None
        try:
            piece = client.recv(min(size - len(found), 2**16))
        except TimeoutError:
            continue
        if not piece:
            return None
        found += piece
    return bytes(found)


def _skip(client: socket.socket, size: int, ended: Callable[[], bool]) -> None:
    while size > 0:
        piece = _exactly(client, min(size, 2**16), ended)
        if piece is None:
            return
        size -= len(piece)
