"""Where frames go: one sink a module."""

from __future__ import annotations

from operators.sinks.bag import BagSink
from operators.sinks.base import Sink
from operators.sinks.beside import BesideSink
from operators.sinks.console import ConsoleSink
from operators.sinks.dds import DdsSink
from operators.sinks.holoviz import HolovizSink
from operators.sinks.igtl import IgtlSink
from operators.sinks.recorder import RecorderSink
from operators.sinks.uplink import UplinkSink

__all__ = ["SINKS"]

SINKS: tuple[type[Sink], ...] = (
    ConsoleSink,
    RecorderSink,
    BesideSink,
    BagSink,
    DdsSink,
    IgtlSink,
    HolovizSink,
    UplinkSink,
)
"""Every sink, in the order in which they are opened; a new one is added here."""
