"""The browser console's server: one thread, one port, any number of browsers.

Its page is our own, served beside the WebSocket that feeds it, rather than a viser one: viser puts
a picture into a side panel, where it is a thumbnail, while here it fills the window, with letters
and angles on it. The page asks nothing of any other host.

The stream hands over a frame by reference and goes on. All else happens in the console's thread
and only for browsers that are there: each gets the newest frame, and the next one once it has
shown all but one of those it got. So neither a slow nor a dead browser holds anything up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from fluoro.config import ConsoleConfig
from fluoro.console.controls import ControlState, LiveControls
from fluoro.console.messages import (
    controls_message,
    frame_message,
    hello_message,
    parse_request,
    text,
)
from fluoro.console.pages import Pages, listen, url_of
from fluoro.console.scene import SceneModel, body_message, carm_message
from fluoro.console.status import StreamStatus, slowdown_reason
from fluoro.console.tracking import TrackingView, Trail
from fluoro.errors import FluoroError
from fluoro.imaging.frame import FluoroFrame

__all__ = ["Console"]

log = logging.getLogger(__name__)
handshakes = logging.getLogger(f"{__name__}.handshakes")
handshakes.setLevel(logging.CRITICAL)
"""websockets reports each served file and each browser that leaves early; none is of interest."""

FRAMES_IN_FLIGHT = 2
"""Frames a browser may have got but not yet shown: one on the way while one is drawn."""
SCENE_INTERVAL_S = 0.1
STATUS_INTERVAL_S = 0.25
SILENCE_S = 1.0
"""From then on a stream that gives no frame is said to be silent."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """The newest frame; `count` tells frames apart even where their numbers repeat."""

    count: int
    frame: FluoroFrame
    status: StreamStatus
    at_s: float


@dataclass(eq=False)
class _Browser:
    """One open page, and what it has of each kind of message."""

    connection: ServerConnection
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0
    frame_count: int = 0
    scene: tuple[int, int] = (0, 0)
    scene_at_s: float = 0.0
    tracking_count: int = 0
    controls_version: int = -1
    status: str = ""


class Console:
    """Serves the console's page and keeps its browsers up to date.

    Args:
        config: Address, port and picture quality.
        controls: The box that the graph reads.
        scene: Patient and isocentre for the 3D view; None: no 3D view.
        on_save: Writes a frame and returns the file; called in a thread of its own when a user
            asks. None: the page offers no saving.
    """

    def __init__(
        self,
        config: ConsoleConfig,
        controls: LiveControls,
        *,
        scene: SceneModel | None,
        on_save: Callable[[FluoroFrame], Path] | None = None,
    ) -> None:
        self._config, self._controls = config, controls
        self._scene, self._on_save = scene, on_save
        self._browsers: set[_Browser] = set()
        self._shown: _Shown | None = None
        self._encoded: tuple[int, bytes] = (0, b"")
        self._trail = Trail()
        self._status = ""
        self._dropped: list[dict[str, int]] = []
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Open the port, serve in the background and return the page's address.

        Raises:
            OutputError: The port is in use, or the address is not this machine's.
        """
        self._socket = listen(self._config)
        url = url_of(self._socket)
        self._pages = Pages(loopback=ip_address(self._socket.getsockname()[0]).is_loopback)
        self._body = body_message(self._scene) if self._scene else b""
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="console", daemon=True
        )
        self._thread.start()
        started.wait()
        log.info("console at %s", url)
        return url

    def show(self, frame: FluoroFrame, status: StreamStatus) -> None:
        """Show a frame to whoever watches. Never waits; the picture must not be written to after.

        Args:
            frame: The newest frame.
            status: How the stream is doing.
        """
        count = self._shown.count + 1 if self._shown else 1
        self._shown = _Shown(count, frame, status, time.monotonic())
        if self._browsers:
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._loop.call_soon_threadsafe(self._wake_all)

    def show_tracking(self, view: TrackingView) -> None:
        """Show an estimate of the pose beside the frames. Never waits."""
        self._trail.add(view)
        if self._browsers:
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._loop.call_soon_threadsafe(self._wake_all)

    @property
    def browser_count(self) -> int:
        """Pages that are open now."""
        return len(self._browsers)

    def close(self) -> None:
        """Tell the browsers, stop serving and free the port; a second time without effect."""
        if self._thread and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options: dict[str, Any] = {"compression": None, "close_timeout": 1, "max_size": 2**16}
        async with serve(
            self._attend,
            sock=self._socket,
            process_request=self._answer,
            logger=handshakes,
            **options,
        ):
            started.set()
            ticking = asyncio.create_task(self._tick())
            await self._stop.wait()
            ticking.cancel()

    def _answer(self, _connection: ServerConnection, request: Request) -> Response | None:
        return self._pages.answer(request)

    def _wake_all(self) -> None:
        for browser in self._browsers:
            browser.wake.set()

    async def _tick(self) -> None:
        """Renew the status and look for changes of the controls made by the graph."""
        while True:
            self._status = self._status_message()
            self._wake_all()
            await asyncio.sleep(STATUS_INTERVAL_S)

    def _status_message(self) -> str:
        shown = self._shown
        if shown is None:
            return text("status", fps=0.0, target_fps=None, reason="waiting for the first frame")
        silent_s = time.monotonic() - shown.at_s
        silent = silent_s > SILENCE_S
        fields = {
            "fps": 0.0 if silent else round(shown.status.fps, 1),
            "target_fps": shown.status.target_fps,
            "latency_ms": {key: round(ms, 1) for key, ms in shown.status.latency_ms.items()},
            "dropped": dict(shown.status.dropped),
            "device": shown.status.device,
            "reason": f"no frame for {silent_s:.0f} s" if silent else self._reason(shown.status),
        }
        if not self._controls.snapshot().beam_on:
            fields |= {"fps": 0.0, "reason": ""}
        return text("status", **fields)

    def _reason(self, status: StreamStatus) -> str:
        """The slowdown's reason, drops counted over the last second."""
        self._dropped = [*self._dropped[-3:], dict(status.dropped)]
        return slowdown_reason(status, self._dropped[0])

    async def _attend(self, connection: ServerConnection) -> None:
        browser = _Browser(connection)
        feeding = asyncio.create_task(self._feed(browser))
        self._browsers.add(browser)
        try:
            async for message in connection:
                await self._receive(browser, message)
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("the console could not do what a browser asked")
            await connection.close(1011)
        finally:
            self._browsers.discard(browser)
            feeding.cancel()

    async def _feed(self, browser: _Browser) -> None:
        """Send whatever is newer than what the browser has, each time it is woken."""
        send = browser.connection.send
        try:
            await send(hello_message(self._controls, can_save=self._on_save is not None))
            if self._body:
                await send(self._body)
            while True:
                await self._send_texts(browser)
                await self._send_frame(browser)
                await self._send_scene(browser)
                await self._send_tracking(browser)
                await browser.wake.wait()
                browser.wake.clear()
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("the console could not serve a browser")
            await browser.connection.close(1011)

    async def _send_texts(self, browser: _Browser) -> None:
        state = self._controls.snapshot()
        if state.version != browser.controls_version:
            browser.controls_version = state.version
            await browser.connection.send(controls_message(state))
        if self._status != browser.status:
            browser.status = self._status
            await browser.connection.send(self._status)

    async def _send_frame(self, browser: _Browser) -> None:
        shown = self._shown
        if shown is None or shown.count == browser.frame_count:
            return
        if browser.in_flight < FRAMES_IN_FLIGHT:
            browser.frame_count = shown.count
            browser.in_flight += 1
            await browser.connection.send(self._frame_message(shown))

    def _frame_message(self, shown: _Shown) -> bytes:
        """The frame on the wire, encoded once for all browsers."""
        if self._encoded[0] != shown.count:
            message = frame_message(shown.frame, self._config.jpeg_quality)
            self._encoded = (shown.count, message)
        return self._encoded[1]

    async def _send_scene(self, browser: _Browser) -> None:
        shown, now_s = self._shown, time.monotonic()
        if self._scene is None or shown is None:
            return
        state = self._controls.snapshot()
        count, version = browser.scene
        no_frame_tells = not state.beam_on or (version > 0 and count == shown.count)
        driven = state.manual_pose and no_frame_tells
        scene = (shown.count, state.version if driven else 0)
        if scene == browser.scene:
            return
        if now_s - browser.scene_at_s >= SCENE_INTERVAL_S and browser.in_flight < FRAMES_IN_FLIGHT:
            browser.scene, browser.scene_at_s = scene, now_s
            frame = _driven(shown.frame, state) if driven else shown.frame
            await browser.connection.send(carm_message(self._scene, frame))

    async def _send_tracking(self, browser: _Browser) -> None:
        newer = self._trail.count != browser.tracking_count
        if newer and browser.in_flight < FRAMES_IN_FLIGHT:
            browser.tracking_count = self._trail.count
            await browser.connection.send(self._trail.message)

    async def _receive(self, browser: _Browser, message: str | bytes) -> None:
        try:
            request = parse_request(message)
            if "shown" in request:
                browser.in_flight = max(0, browser.in_flight - 1)
                browser.wake.set()
            if "set" in request:
                self._set(request["set"])
            if "press" in request:
                self._controls.press(request["press"])
                self._wake_all()
            if "save" in request:
                await self._save(browser)
        except (FluoroError, OSError) as error:
            await browser.connection.send(text("notice", text=str(error), error=True))

    def _set(self, values: dict[str, object]) -> None:
        shown = self._shown
        self._controls.apply(values, stream_pose=shown.frame.pose if shown else None)
        self._wake_all()

    async def _save(self, browser: _Browser) -> None:
        if self._on_save and self._shown:
            path = await asyncio.to_thread(self._on_save, self._shown.frame)
            await browser.connection.send(text("notice", text=f"Saved {path}", error=False))


def _driven(frame: FluoroFrame, state: ControlState) -> FluoroFrame:
    """The frame as if the C-arm had stood where the controls have driven it."""
    distance_mm = state.source_to_detector_mm
    geometry = replace(frame.geometry, source_to_detector_mm=distance_mm)
    return replace(frame, pose=state.pose, geometry=geometry)
