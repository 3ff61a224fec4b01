"""The browser console's server: one thread, one port, any number of browsers.

Its page is our own, served beside the WebSocket that feeds it, rather than a viser one: viser puts
an image into a side panel, where it is a thumbnail, while here it fills the window, with letters
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from fluoro.config import ConsoleConfig
from fluoro.console.access import Access
from fluoro.console.browser import LATE_S, Browser
from fluoro.console.controls import ControlState, LiveControls
from fluoro.console.page_messages import (
    controls_message,
    frame_message,
    hello_message,
    in_parts,
    parse_request,
    preview_message,
    text,
)
from fluoro.console.pages import Pages, listen, url_of
from fluoro.console.scene_view import SceneModel, body_message, carm_message
from fluoro.console.stream_status import StreamStatus, slowdown_reason
from fluoro.console.tracking_view import TrackingView, Trail
from fluoro.errors import FluoroError
from fluoro.geometry.triangles import Surface
from fluoro.imaging.frame import FluoroFrame

__all__ = ["Console"]

log = logging.getLogger(__name__)
handshakes = logging.getLogger(f"{__name__}.handshakes")
handshakes.setLevel(logging.CRITICAL)
"""websockets reports each served file and each browser that leaves early; none is of interest."""

FRAME, CARM, TRACKING, BODY = "frame", "carm", "tracking", "body"
"""Kinds of messages that a page confirms."""
SCENE_INTERVAL_S = 0.1
STATUS_INTERVAL_S = 0.25
"""Between two statuses; each goes to all browsers, which take silence for a dead link."""
CLOSE_S = 0.2
"""How long browsers have to answer that the console closes."""
SILENCE_S = 1.0
"""A stream without a frame for this time [s] is reported as silent."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """The newest frame; `count` distinguishes frames even where their numbers repeat."""

    count: int
    frame: FluoroFrame
    status: StreamStatus
    at_s: float


class Console:
    """Serves the console's page and keeps its browsers up to date.

    Args:
        config: Address, port and image quality.
        controls: The box that the graph reads.
        scene: Patient and isocentre for the 3D view; None: no 3D view.
        surfaces: Makes the patient's skin and bone for the 3D view, which takes a second: called
            once, beside the stream, when a browser is there. None: `scene` has them.
        on_save: Writes a frame and returns the file; called in a thread of its own when a user
            asks. None: the page offers no saving.
    """

    def __init__(
        self,
        config: ConsoleConfig,
        controls: LiveControls,
        *,
        scene: SceneModel | None,
        surfaces: Callable[[], tuple[Surface, Surface]] | None = None,
        on_save: Callable[[FluoroFrame], Path] | None = None,
    ) -> None:
        self._config, self._controls = config, controls
        self._scene, self._surfaces, self._on_save = scene, surfaces, on_save
        self._browsers: set[Browser] = set()
        self._shown: _Shown | None = None
        self._encoded: tuple[int, list[bytes]] = (0, [])
        self._body: list[bytes] = []
        self._drawing: asyncio.Task[None] | None = None
        self._trail = Trail()
        self._status, self._beat = "", 0
        self._saving: set[asyncio.Task[None]] = set()
        self._dropped: list[dict[str, int]] = []
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Open the port, serve in the background and return the page's address.

        The address has the token in it where browsers need one.

        Raises:
            OutputError: The port is in use, or the address is not this machine's.
            InputError: The token in the environment is not usable.
        """
        self._socket = listen(self._config)
        access = self._access()
        url = url_of(self._socket)
        self._pages = Pages(access)
        if self._scene and not self._surfaces:
            self._body = in_parts(body_message(self._scene))
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="console", daemon=True
        )
        self._thread.start()
        started.wait()
        log.info("console at %s", url)
        return access.address(url)

    def _access(self) -> Access:
        """Return who may use the console; log a warning where other hosts can connect."""
        try:
            access = Access.of(self._config, self._socket)
        except FluoroError:
            self._socket.close()
            raise
        if not access.loopback:
            log.warning(
                "THE CONSOLE IS NOT LIMITED TO THIS MACHINE: it listens on %s, port %d, without "
                "encryption; anyone who can connect and has the token sees the frames and "
                "controls the C-arm (SECURITY.md)",
                *self._socket.getsockname()[:2],
            )
        return access

    def show(self, frame: FluoroFrame, status: StreamStatus) -> None:
        """Show a frame to all clients. Never waits; the image must not change afterwards.

        Args:
            frame: The newest frame.
            status: How the stream is doing.
        """
        count = self._shown.count + 1 if self._shown else 1
        self._shown = _Shown(count, frame, status, time.monotonic())
        self._wake_from_elsewhere()

    def show_again(self, frame: FluoroFrame) -> None:
        """Show the frame on show with another window. Never waits; without effect before it."""
        if self._shown:
            self._shown = replace(self._shown, count=self._shown.count + 1, frame=frame)
            self._wake_from_elsewhere()

    def show_tracking(self, view: TrackingView) -> None:
        """Show an estimate of the pose beside the frames. Never waits."""
        self._trail.add(view)
        self._wake_from_elsewhere()

    @property
    def port(self) -> int:
        """TCP port at which it listens, once it is started."""
        return int(self._socket.getsockname()[1])

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
        server = await serve(
            self._attend,
            sock=self._socket,
            process_request=self._answer,
            logger=handshakes,
            **options,
        )
        started.set()
        ticking = asyncio.create_task(self._tick())
        await self._stop.wait()
        ticking.cancel()
        server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), CLOSE_S)
        for connection in server.handlers:  # silent ones; asyncio.run ends their tasks
            connection.transport.abort()

    def _answer(self, _connection: ServerConnection, request: Request) -> Response | None:
        return self._pages.answer(request)

    def _wake_from_elsewhere(self) -> None:
        if self._browsers:
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for browser in self._browsers:
            browser.wake.set()

    async def _tick(self) -> None:
        """Renew the status and look for changes of the controls made by the graph."""
        while True:
            self._status = self._status_message()
            self._beat += 1
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
        browser = Browser(connection)
        feeding = asyncio.create_task(self._feed(browser))
        self._browsers.add(browser)
        try:
            async for message in connection:
                self._receive(browser, message)
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("the console could not do what a browser asked")
            await connection.close(1011)
        finally:
            self._browsers.discard(browser)
            feeding.cancel()
            with contextlib.suppress(FluoroError):  # no way to a renderer elsewhere
                self._controls.hold(browser, "up")
            self._wake_all()

    async def _feed(self, browser: Browser) -> None:
        """Send whatever is newer than what the browser has, each time it is woken."""
        send = browser.connection.send
        try:
            await send(hello_message(self._controls, can_save=self._on_save is not None))
            while True:
                await self._send_texts(browser)
                await self._send_frame(browser)
                await self._send_scene(browser)
                await self._send_tracking(browser)
                if not await self._send_body_part(browser):
                    await browser.wake.wait()
                    browser.wake.clear()
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("the console could not serve a browser")
            await browser.connection.close(1011)

    async def _send_texts(self, browser: Browser) -> None:
        state = self._controls.snapshot()
        while browser.notices:
            await browser.connection.send(browser.notices.popleft())
        if state.version != browser.controls_version:
            browser.controls_version = state.version
            await browser.connection.send(controls_message(state))
        if self._beat != browser.beat:
            browser.beat = self._beat
            await browser.connection.send(self._status)

    async def _send_frame(self, browser: Browser) -> None:
        shown = self._shown
        if shown is None or shown.count == browser.frame_count:
            return
        if not browser.previewed:
            browser.previewed = True
            await self._send_preview(browser, shown.frame)
        if browser.lanes[FRAME].free:
            browser.frame_count = shown.count
            browser.lanes[FRAME].send()
            for part in self._frame_parts(shown):
                await browser.connection.send(part)

    async def _send_preview(self, browser: Browser, frame: FluoroFrame) -> None:
        message = preview_message(frame)
        if message:
            browser.lanes[FRAME].send()
            for part in in_parts(message):
                await browser.connection.send(part)

    def _frame_parts(self, shown: _Shown) -> list[bytes]:
        """The frame on the wire, encoded once for all browsers."""
        if self._encoded[0] != shown.count:
            message = frame_message(shown.frame, self._config.jpeg_quality)
            self._encoded = (shown.count, in_parts(message))
        return self._encoded[1]

    async def _send_body_part(self, browser: Browser) -> bool:
        """Send the 3D body's next part, after the first frame has been shown; False: not now."""
        waits = self._shown is not None and not browser.lanes[FRAME].confirmed
        if not waits and self._drawing is None and self._scene and self._surfaces:
            self._drawing = asyncio.create_task(self._draw_patient(self._scene, self._surfaces))
        if waits or browser.body_sent == len(self._body) or not browser.lanes[BODY].free:
            return False
        part = self._body[browser.body_sent]
        browser.body_sent += 1
        browser.lanes[BODY].send()
        await browser.connection.send(part)
        return True

    async def _draw_patient(
        self, scene: SceneModel, surfaces: Callable[[], tuple[Surface, Surface]]
    ) -> None:
        """Make skin and bone in a thread; the table, which lies under the skin, comes with them."""
        try:
            skin, bone = await asyncio.to_thread(surfaces)
            scene = replace(scene, skin=skin, bone=bone)
            self._body = in_parts(await asyncio.to_thread(body_message, scene))
        except Exception:
            log.exception("the console could not draw the patient")
            return
        self._scene = scene
        for browser in self._browsers:
            browser.scene = (0, 0)
        self._wake_all()

    async def _send_scene(self, browser: Browser) -> None:
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
        if now_s - browser.scene_at_s >= SCENE_INTERVAL_S and browser.lanes[CARM].free:
            browser.lanes[CARM].send()
            browser.scene, browser.scene_at_s = scene, now_s
            frame = _driven(shown.frame, state) if driven else shown.frame
            await browser.connection.send(carm_message(self._scene, frame))

    async def _send_tracking(self, browser: Browser) -> None:
        newer = self._trail.count != browser.tracking_count
        if newer and browser.lanes[TRACKING].free:
            browser.lanes[TRACKING].send()
            browser.tracking_count = self._trail.count
            for part in in_parts(self._trail.message):
                await browser.connection.send(part)

    def _receive(self, browser: Browser, message: str | bytes) -> None:
        """Handle a page's message without a wait: the pedal's next message must not queue."""
        try:
            request = parse_request(message)
            late_s = browser.uplink.late_s(request, time.monotonic())
            browser.confirm(request)
            if late_s > LATE_S:
                request = self._safe_part(browser, request, late_s)
            self._carry_out(browser, request)
        except (FluoroError, OSError) as error:
            self._refuse(browser, str(error))

    def _refuse(self, browser: Browser, why: str) -> None:
        """Say why something is not done, and show again what the controls are."""
        browser.controls_version = -1
        browser.tell(text("notice", text=why, error=True))

    def _safe_part(
        self, browser: Browser, request: dict[str, Any], late_s: float
    ) -> dict[str, Any]:
        """What is still done of a request that was on its way for too long: the beam goes off."""
        if request.keys() & {"set", "press", "save"} or request.get("pedal") == "down":
            self._refuse(browser, f"A command came {late_s:.1f} s late and was not carried out.")
        safe: dict[str, Any] = {}
        if request.get("pedal") == "up":
            safe["pedal"] = "up"
        if request.get("set", {}).get("beam_on") is False:
            safe["set"] = {"beam_on": False}
        return safe

    def _carry_out(self, browser: Browser, request: dict[str, Any]) -> None:
        if "pedal" in request:
            self._pedal(browser, request["pedal"])
        if "set" in request:
            self._set(request["set"])
        if "press" in request:
            self._controls.press(request["press"])
            self._wake_all()
        if "save" in request:
            saving = asyncio.create_task(self._save(browser))
            self._saving.add(saving)
            saving.add_done_callback(self._saving.discard)

    def _pedal(self, browser: Browser, word: object) -> None:
        holds = self._controls.hold(browser, word)
        if word == "held" and not holds:
            browser.tell(text("pedal", held=False))
        if word != "held":
            self._wake_all()

    def _set(self, values: dict[str, object]) -> None:
        shown = self._shown
        self._controls.apply(values, stream_pose=shown.frame.pose if shown else None)
        self._wake_all()

    async def _save(self, browser: Browser) -> None:
        if not (self._on_save and self._shown):
            return
        try:
            path = await asyncio.to_thread(self._on_save, self._shown.frame)
            browser.tell(text("notice", text=f"Saved {path}", error=False))
        except (FluoroError, OSError) as error:
            browser.tell(text("notice", text=str(error), error=True))
        except Exception:
            log.exception("the console could not save a frame")
            browser.tell(text("notice", text="The frame could not be saved.", error=True))


def _driven(frame: FluoroFrame, state: ControlState) -> FluoroFrame:
    """The frame as if the C-arm had stood where the controls have driven it."""
    distance_mm = state.source_to_detector_mm
    geometry = replace(frame.geometry, source_to_detector_mm=distance_mm)
    return replace(frame, pose=state.pose, geometry=geometry)
