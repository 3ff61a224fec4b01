"""OpenIGTLink: the frame as IMAGE and the C-arm as TRANSFORM to 3D Slicer and others, in mm, RAS.

A client may send TRANSFORM messages too, by which it moves the C-arm (fluoro.dds.igtl_poses).

pyigtl packs the messages; its server is not used: it takes over the process's signals and queues
100 messages for a client that is slow.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pyigtl import ImageMessage, TransformMessage

from fluoro.dds.igtl_poses import RAS_FROM_LPS, Transform, read_transforms
from fluoro.dds.network import is_loopback
from fluoro.dds.refusals import FieldError, Refusals, RefusedError
from fluoro.errors import DeviceError
from fluoro.geometry.projection import View
from fluoro.imaging.frame import FluoroFrame, to_uint8

__all__ = ["IgtlServer", "ras_from_pixel"]

log = logging.getLogger(__name__)

IMAGE_DEVICE, TRANSFORM_DEVICE = "fluoro", "CarmToPatient"
SEND_TIMEOUT_S = 5.0
"""A client that takes nothing for so long is dropped."""
POLL_S = 0.2
MOST_CLIENTS = 32
"""Clients that may be connected at once."""


@dataclass(eq=False)
class _Client:
    """A connection, which two threads share: one sends, one hears.

    Attributes:
        socket: The connection; the thread that sends closes it once the other one has ended.
        number: Tells clients apart.
        gone: Whether the client has ended the connection, or is cut off.
    """

    socket: socket.socket
    number: int
    gone: bool = False

    def cut_off(self) -> None:
        """End the connection; threads that wait for it go on at once."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class IgtlServer:
    """Serves the newest frame to every client that connects; a slow one misses frames.

    Args:
        host: Address to bind; 127.0.0.1: this machine only.
        port: TCP port; 0: any free one.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        on_transform: Told of each TRANSFORM that a client sends, with the client's number; None:
            what clients send is thrown away.

    Attributes:
        port: Where it listens.
        sent: Frames sent, to all clients together.
        refusals: Clients that were refused or cut off.

    Raises:
        DeviceError: The port cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        isocenter_xyz_mm: Sequence[float],
        on_transform: Callable[[int, Transform], None] | None = None,
    ) -> None:
        self._isocenter_xyz_mm, self._on_transform = isocenter_xyz_mm, on_transform
        try:
            self._listener = socket.create_server((host, port))
        except (OSError, TypeError) as error:  # TypeError: a NUL in the host's name
            why = (getattr(error, "strerror", None) or str(error)).partition(" (while")[0]
            raise DeviceError(f"igtl.port: cannot listen at {host}:{port}: {why}") from None
        if not is_loopback(host):
            log.warning(
                "OPENIGTLINK LEAVES THIS MACHINE: whoever reaches %s sees the frames%s",
                host,
                " and moves the C-arm" if on_transform else "",
            )
        self._listener.settimeout(POLL_S)
        self.port = int(self._listener.getsockname()[1])
        self.sent = 0
        self._changed = threading.Condition()
        self._newest: tuple[int, bytes] | None = None
        self._open: dict[_Client, threading.Thread] = {}
        self._number = 0
        self._ended = False
        self.refusals = Refusals("an OpenIGTLink client")
        self._acceptor = threading.Thread(target=self._accept, name="igtl", daemon=True)
        self._acceptor.start()

    @property
    def clients(self) -> int:
        """Clients that are connected."""
        return len(self._open)

    def send(self, frame: FluoroFrame) -> None:
        """Offer a frame to the clients; nothing is packed where there are none."""
        if self._open:
            packed = self._packed(frame)
            with self._changed:
                self._newest = (frame.number, packed)
                self._changed.notify_all()

    def close(self) -> None:
        """End all connections, without waiting for what clients have not taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            threads = dict(self._open)
        for client in threads:
            client.cut_off()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in (self._acceptor, *threads.values()):
            thread.join()
        self._listener.close()
        self.refusals.close()

    def _packed(self, frame: FluoroFrame) -> bytes:
        time_s = (frame.origin.time_ns if frame.origin else time.time_ns()) * 1e-9
        view = frame.geometry.view(frame.pose, self._isocenter_xyz_mm)
        image = ImageMessage(
            to_uint8(frame.image)[None],
            ijk_to_world_matrix=ras_from_pixel(view),
            world_coordinate_system="ras",
            timestamp=time_s,
            device_name=IMAGE_DEVICE,
        )
        world_from_carm = frame.pose.world_from_carm(self._isocenter_xyz_mm)
        transform = TransformMessage(
            RAS_FROM_LPS @ world_from_carm @ RAS_FROM_LPS,
            timestamp=time_s,
            device_name=TRANSFORM_DEVICE,
        )
        return bytes(transform.pack()) + bytes(image.pack())

    def _accept(self) -> None:
        while not self._ended:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # the server ends, or no descriptor is free
                self._cannot_accept(error)
                continue
            self._admit(connection)

    def _cannot_accept(self, error: OSError) -> None:
        if not self._ended:
            self.refusals.add(RefusedError("not accepted", error.strerror or str(error)))
            time.sleep(POLL_S)

    def _admit(self, connection: socket.socket) -> None:
        """Serve a client in threads of its own, unless there are too many."""
        connection.settimeout(SEND_TIMEOUT_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._number += 1
        client = _Client(connection, self._number)
        thread = threading.Thread(target=self._serve, args=(client,), name="igtl", daemon=True)
        with self._changed:
            admitted = not self._ended and len(self._open) < MOST_CLIENTS
            if admitted:
                self._open[client] = thread
                thread.start()
        if not admitted:
            self.refusals.add(RefusedError("too many", f"{MOST_CLIENTS} are connected"))
            connection.close()

    def _serve(self, client: _Client) -> None:
        """Send the newest frame again and again until the client is gone."""
        hearing = threading.Thread(target=self._hear, args=(client,), name="igtl", daemon=True)
        hearing.start()
        last = None
        try:
            while (newest := self._next(client, last)) is not None:
                last = newest[0]
                client.socket.sendall(newest[1])
                self.sent += 1
        except OSError as error:
            log.info("igtl: client %d is gone: %s", client.number, error)
        finally:
            client.cut_off()
            hearing.join()
            client.socket.close()
            with self._changed:
                del self._open[client]

    def _hear(self, client: _Client) -> None:
        """Take what a client sends until it is gone; one that sends nonsense is cut off."""
        take = self._on_transform
        on_transform = partial(take, client.number) if take else _throw_away
        try:
            read_transforms(client.socket, on_transform, lambda: self._ended)
        except FieldError as error:
            self.refusals.add(error)
        except OSError as error:
            log.info("igtl: client %d is gone: %s", client.number, error)
        finally:
            client.cut_off()
            with self._changed:
                client.gone = True
                self._changed.notify_all()

    def _next(self, client: _Client, last: int | None) -> tuple[int, bytes] | None:
        """The newest frame once it is another one than `last`; None: there is none to send."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._ended
                    or client.gone
                    or (self._newest is not None and self._newest[0] != last)
                )
            )
            return None if self._ended or client.gone else self._newest


def _throw_away(_transform: Transform) -> None:
    pass


def ras_from_pixel(view: View) -> NDArray[np.float64]:
    """4x4 from column, row and slice, counted from the first pixel's centre, to RAS [mm]."""
    du, dv = view.column_step_xyz_mm, view.row_step_xyz_mm
    normal = np.cross(du, dv)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = du, dv
    matrix[:3, 2] = normal / np.linalg.norm(normal)
    matrix[:3, 3] = view.corner_xyz_mm + (du + dv) / 2
    return np.asarray(RAS_FROM_LPS @ matrix)
