"""OpenIGTLink: the frame as IMAGE and the C-arm as TRANSFORM to 3D Slicer and others, in mm, RAS.

A client may send TRANSFORM messages too, by which it moves the C-arm
(fluoro.interop.igtl.igtl_poses), and ask for STATUS and CAPABILITY
(fluoro.interop.igtl.igtl_replies). The simulator may also be the client of a server, such as a
tracker's (PLUS): from then on that server is a client like the others.

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
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pyigtl import ImageMessage, TransformMessage

from fluoro.errors import DeviceError
from fluoro.geometry.projection import View
from fluoro.imaging.frame import FluoroFrame, to_uint8
from fluoro.interop.dds.network import is_loopback
from fluoro.interop.igtl.igtl_poses import RAS_FROM_LPS, Transform, read_messages
from fluoro.interop.igtl.igtl_replies import capability_message, status_message
from fluoro.interop.refusals import FieldError, Refusals, RefusedError

__all__ = ["IgtlServer", "ras_from_pixel"]

log = logging.getLogger(__name__)

IMAGE_DEVICE, TRANSFORM_DEVICE = "fluoro", "CarmToPatient"
SEND_TIMEOUT_S = 5.0
"""A client that takes nothing for so long is dropped."""
POLL_S = 0.2
RETRY_S = 1.0
"""Between two attempts to reach a server."""
MOST_CLIENTS = 32
"""Clients that may be connected at once."""


@dataclass(eq=False)
class _Client:
    """A connection, which two threads share: one sends, one hears.

    Attributes:
        socket: The connection; the thread that sends closes it once the other one has ended.
        number: Identifies the client.
        gone: Whether the client has ended the connection, or is cut off.
        sending: Held while a message is on its way.
    """

    socket: socket.socket
    number: int
    gone: bool = False
    sending: threading.Lock = field(default_factory=threading.Lock)

    def send(self, data: bytes) -> None:
        """Send whole messages.

        Raises:
            OSError: The client is gone, or takes nothing.
        """
        with self.sending:
            self.socket.sendall(data)

    def cut_off(self) -> None:
        """End the connection; threads that wait for it go on at once."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class IgtlServer:
    """Serves the newest frame to every client that connects; a slow one misses frames.

    Args:
        host: Name or address to bind, IPv4 or IPv6; 127.0.0.1 or ::1: this machine only.
        port: TCP port; 0: any free one.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        on_transform: Told of each TRANSFORM that a client sends, with the client's number; None:
            what clients send is thrown away.
        servers: Host and port of servers to connect to as a client, again and again.

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
        servers: Sequence[tuple[str, int]] = (),
    ) -> None:
        self._isocenter_xyz_mm, self._on_transform = isocenter_xyz_mm, on_transform
        self._listener = _listen(host, port)
        if not is_loopback(host):
            log.warning(
                "WARNING: OpenIGTLink is not limited to this host; clients of %s see the frames%s",
                host,
                " and move the C-arm" if on_transform else "",
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
        threads = [self._thread(self._accept)]
        threads += [self._thread(self._keep_connected, server) for server in servers]
        self._finders = threads
        for thread in threads:
            thread.start()

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
        for thread in (*self._finders, *threads.values()):
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

    @staticmethod
    def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
        return threading.Thread(target=target, args=arguments, name="igtl", daemon=True)

    def _keep_connected(self, server: tuple[str, int]) -> None:
        """Be a server's client; where it cannot be reached or goes, try again, and say so once."""
        reached = True
        while not self._ended:
            try:
                connection = _connect(server, self.port)
            except OSError as error:
                if reached:
                    log.warning("igtl.servers: %s:%d: %s; trying again", *server, _why(error))
                reached = False
            else:
                log.info("igtl.servers: connected to %s:%d", *server)
                reached = True
                if thread := self._admit(connection):
                    thread.join()
            with self._changed:
                self._changed.wait_for(lambda: self._ended, RETRY_S)

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

    def _admit(self, connection: socket.socket) -> threading.Thread | None:
        """Serve a client in threads of its own; None: there are too many."""
        connection.settimeout(SEND_TIMEOUT_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._number += 1
        client = _Client(connection, self._number)
        thread = self._thread(self._serve, client)
        with self._changed:
            admitted = not self._ended and len(self._open) < MOST_CLIENTS
            if admitted:
                self._open[client] = thread
                thread.start()
        if not admitted:
            self.refusals.add(RefusedError("too many", f"{MOST_CLIENTS} are connected"))
            connection.close()
        return thread if admitted else None

    def _serve(self, client: _Client) -> None:
        """Send the newest frame again and again until the client is gone."""
        hearing = self._thread(self._hear, client)
        hearing.start()
        last = None
        try:
            while (newest := self._next(client, last)) is not None:
                last = newest[0]
                client.send(newest[1])
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
            answer = partial(self._answer, client)
            read_messages(client.socket, on_transform, answer, lambda: self._ended)
        except FieldError as error:
            self.refusals.add(error)
        except OSError as error:
            log.info("igtl: client %d is gone: %s", client.number, error)
        finally:
            client.cut_off()
            with self._changed:
                client.gone = True
                self._changed.notify_all()

    def _answer(self, client: _Client, query: str) -> None:
        """Answer a query for STATUS or CAPABILITY; frames are sent without a query."""
        if query == "GET_CAPABIL":
            client.send(capability_message(IMAGE_DEVICE))
        elif query == "GET_STATUS":
            newest = self._newest
            text = f"frame {newest[0]}" if newest else "no frame yet"
            client.send(status_message(IMAGE_DEVICE, ready=newest is not None, text=text))

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


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, of the family that the host's name resolves to.

    Raises:
        DeviceError: The name cannot be resolved, or the port cannot be had.
    """
    try:
        bare = host.removeprefix("[").removesuffix("]")
        passive = socket.AI_PASSIVE
        found = socket.getaddrinfo(bare or None, port, type=socket.SOCK_STREAM, flags=passive)
        family, address = found[0][0], found[0][4]
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError, ValueError, TypeError) as error:  # such as a NUL in the name
        raise DeviceError(f"igtl.port: cannot listen at {host}:{port}: {_why(error)}") from None


def _connect(server: tuple[str, int], own_port: int) -> socket.socket:
    """Return a connection to a server.

    Args:
        server: Host and port.
        own_port: Where we listen ourselves.

    Raises:
        OSError: It cannot be reached, or it is this program. On one machine a socket may also reach
            itself, where no program listens at a port that the system gives away.
    """
    connection = socket.create_connection(server, timeout=RETRY_S)
    own, peer = connection.getsockname(), connection.getpeername()
    if own[0] == peer[0] and peer[1] in (own[1], own_port):
        connection.close()
        raise ConnectionRefusedError("no other program listens there")
    return connection


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).partition(" (while")[0]


def _throw_away(_transform: Transform) -> None:
    pass


def ras_from_pixel(view: View) -> NDArray[np.float64]:
    """Return 4x4 from column, row and slice, counted from the first pixel's centre, to RAS [mm]."""
    du, dv = view.column_step_xyz_mm, view.row_step_xyz_mm
    normal = np.cross(du, dv)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = du, dv
    matrix[:3, 2] = normal / np.linalg.norm(normal)
    matrix[:3, 3] = view.corner_xyz_mm + (du + dv) / 2
    return np.asarray(RAS_FROM_LPS @ matrix)
