"""The browser console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import names_for_type_checkers

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
    __getattr__ = names_for_type_checkers(__name__)


def __dir__() -> list[str]:
    return sorted(__all__)
