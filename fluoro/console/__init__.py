"""The browser console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.console.controls import ControlState, LiveControls
    from fluoro.console.scene_view import SceneModel
    from fluoro.console.server import Console
    from fluoro.console.stream_status import StreamStatus
    from fluoro.console.tracking_view import TrackingView

__all__ = [
    "Console",
    "ControlState",
    "LiveControls",
    "SceneModel",
    "StreamStatus",
    "TrackingView",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
