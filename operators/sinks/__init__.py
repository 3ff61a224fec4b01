"""Where frames go: one sink a module."""

from __future__ import annotations

from fluoro import plugins
from fluoro.recording.frame_sink import FrameSink
from operators.sinks.bag import BagSink
from operators.sinks.beside import BesideSink
from operators.sinks.console import ConsoleSink
from operators.sinks.dds import DdsSink
from operators.sinks.holoviz import HolovizSink
from operators.sinks.igtl import IgtlSink
from operators.sinks.recorder import RecorderSink
from operators.sinks.uplink import UplinkSink

__all__ = ["SINKS"]

BUILT_IN: tuple[type[FrameSink], ...] = (
    ConsoleSink,
    RecorderSink,
    BesideSink,
    BagSink,
    DdsSink,
    IgtlSink,
    HolovizSink,
    UplinkSink,
)
"""Fluoro's own sinks, in the order in which they are opened; a new one is added here."""


def _is_sink(found: object) -> bool:
    return FrameSink in getattr(found, "__mro__", ())


SINKS: tuple[type[FrameSink], ...] = tuple(
    plugins.extend(
        "sinks",
        {sink.name: sink for sink in BUILT_IN},
        plugins.find("sinks", _is_sink, "a class of FrameSink"),
    ).values()
)
"""Every sink, those of plugins last."""
