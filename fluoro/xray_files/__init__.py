"""X-ray images in DICOM: XA, XRF, RF, DX, CR and Enhanced XA, in and out (docs/xray_files.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.xray_files.geometry import FrameGeometry
    from fluoro.xray_files.header import XrayHeader, is_xray_file, read_header
    from fluoro.xray_files.recorded import RecordedFrame, Recording
    from fluoro.xray_files.report import report_lines
    from fluoro.xray_files.xray_file import XrayFile, XrayFrame

__all__ = [
    "FrameGeometry",
    "RecordedFrame",
    "Recording",
    "XrayFile",
    "XrayFrame",
    "XrayHeader",
    "is_xray_file",
    "read_header",
    "report_lines",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
