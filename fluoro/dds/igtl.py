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
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pyigtl import ImageMessage, TransformMessage

from fluoro.dds.igtl_poses import RAS_FROM_LPS, Transform, read_transforms
from fluoro.dds.network import is_loopback
from fluoro.errors import DeviceError
from fluoro.geometry.projection import View
from fluoro.imaging.frame import FluoroFrame, to_uint8

__all__ = ["IgtlServer", "ras_from_pixel"]

log = logging.getLogger(__name__)

IMAGE_DEVICE, TRANSFORM_DEVICE = "fluoro", "CarmToPatient"
SEND_TIMEOUT_S = 5.0
"""A client that takes nothing for so long is dropped."""
POLL_S = 0.2


class IgtlServer:
    """Serves the newest frame to every client that connects; a slow one misses frames.

    Args:
        host: Address to bind; 127.0.0.1: this machine only.
        port: TCP port; 0: any free one.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        on_transform: Told of each TRANSFORM that a client sends, with the client's number; None:
            what clients send is not read.

    Attributes:
        port: Where it listens.
        sent: Frames sent, to all clients together.

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
        except OSError as error:
            why = (error.strerror or str(error)).partition(" (while")[0]
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
        self._clients = self._number = 0
        self._ended = False
        self._threads: list[threading.Thread] = []  # one for each client and direction
        self._acceptor = threading.Thread(target=self._accept, name="igtl", daemon=True)
        self._acceptor.start()

    def send(self, frame: FluoroFrame) -> None:
        """Offer a frame to the clients; nothing is packed where there are none."""
        if self._clients:
            packed = self._packed(frame)
            with self._changed:
                self._newest = (frame.number, packed)
                self._changed.notify_all()

    def close(self) -> None:
        """End all connections."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._acceptor.join()  # it starts the others
        for thread in self._threads:
            thread.join()
        self._listener.close()

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
                client, address = self._listener.accept()
            except TimeoutError:
                continue
            log.info("igtl: %s is connected", address)
            self._number += 1
            self._start(self._serve, client)
            if self._on_transform:
                self._start(
                    self._hear, client, self._number, partial(self._on_transform, self._number)
                )

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads = [thread, *(t for t in self._threads if t.is_alive())]
        thread.start()

    def _hear(
        self, client: socket.socket, number: int, on_transform: Callable[[Transform], None]
    ) -> None:
        """Take what a client sends; one that sends nonsense is cut off."""
        try:
            read_transforms(client, on_transform, lambda: self._ended)
        except (OSError, ValueError) as error:  # ValueError: closed by the other thread
            log.info("igtl: client %d is cut off: %s", number, error)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _serve(self, client: socket.socket) -> None:
        self._clients += 1
        client.settimeout(SEND_TIMEOUT_S)
        last = None
        try:
            with client:
                while (newest := self._next(last)) is not None:
                    last = newest[0]
                    client.sendall(newest[1])
                    self.sent += 1
        except OSError as error:
            log.info("igtl: a client is gone: %s", error)
        finally:
            self._clients -= 1

    def _next(self, last: int | None) -> tuple[int, bytes] | None:
        """The newest frame once it is another one than `last`; None: the server ends."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or (self._newest is not None and self._newest[0] != last)
            )
            return None if self._ended else self._newest


def ras_from_pixel(view: View) -> NDArray[np.float64]:
    """4x4 from column, row and slice, counted from the first pixel's centre, to RAS [mm]."""
    du, dv = view.column_step_xyz_mm, view.row_step_xyz_mm
    normal = np.cross(du, dv)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = du, dv
    matrix[:3, 2] = normal / np.linalg.norm(normal)
    matrix[:3, 3] = view.corner_xyz_mm + (du + dv) / 2
    return np.asarray(RAS_FROM_LPS @ matrix)
