"""What an X-ray file holds, in lines to read."""

from __future__ import annotations

from collections.abc import Sequence

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.view_text import angle_label
from fluoro.volume.formats.dicom.tags import Tags
from fluoro.xray_files.geometry import FrameGeometry
from fluoro.xray_files.xray_file import XrayFile, XrayFrame

__all__ = ["report_lines"]

UNKNOWN = "not in the file"


def report_lines(file: XrayFile, shown: XrayFrame) -> list[str]:
    """Return the report, one fact a line: image, values, geometry, then what is open.

    Args:
        file: The file.
        shown: The frame whose image is shown.
    """
    geometries = [file.geometry(number) for number in range(1, file.count + 1)]
    facts = {
        "file": str(file.path),
        "kind": _kind(file),
        "image": _image(file),
        "values": _values(shown),
        "geometry": _lengths(geometries[0]),
        "detector": _detector(geometries[0]),
        "angles": _angles([geometry.pose for geometry in geometries]),
        "isocentre": _moved([geometry.pose for geometry in geometries]),
        "beam": _beam(file.header.tags),
    }
    lines = [f"{name + ':':<15}{fact}" for name, fact in facts.items()]
    return lines + [f"{kind + ':':<15}{text}" for kind, text in file.notes]


def _kind(file: XrayFile) -> str:
    tags = file.header.tags
    made = " ".join(filter(None, (tags.text("Manufacturer"), tags.text("ManufacturerModelName"))))
    return ", ".join(filter(None, (file.header.kind, tags.text("Modality"), made)))


def _image(file: XrayFile) -> str:
    tags = file.header.tags
    size = f"{tags.text('Columns')} x {tags.text('Rows')} pixels of {tags.text('BitsStored')} bits"
    if file.count == 1:
        return f"{size}, one frame"
    span_s = file.times_s[-1]
    rate = f", {(file.count - 1) / span_s:.4g} a second" if span_s > 0 else ""
    return f"{size}, {file.count} frames in {span_s:.4g} s{rate}"


def _values(frame: XrayFrame) -> str:
    words = {
        "raw": "X-ray intensity",
        "log": "logarithm, up to scale and offset",
        "display": "as shown",
    }[frame.meaning.kind]
    low, high = frame.values.min(), frame.values.max()
    polarity = f", {frame.meaning.polarity}" if frame.meaning.polarity else ""
    covered = (~frame.mask).mean()
    shut = f"; {covered:.1%} covered by collimator, shutter or padding" if covered else ""
    return f"{words} ({frame.meaning.in_words}){polarity}, {low:g} to {high:g}{shut}"


def _lengths(first: FrameGeometry) -> str:
    return (
        f"source to detector {_mm(first.source_to_detector_mm)}, "
        f"source to isocentre {_mm(first.source_to_isocenter_mm)}"
    )


def _detector(first: FrameGeometry) -> str:
    text = f"{first.size_px[0]} x {first.size_px[1]} pixels, {_mm(first.pixel_spacing_mm)} apart"
    if any(first.detector_offset_mm):
        text += ", {:.4g} and {:.4g} mm off the central ray".format(*first.detector_offset_mm)
    if any(first.detector_tilt_deg):
        text += ", tilted by {:.4g} and {:.4g} degrees".format(*first.detector_tilt_deg)
    return text


def _angles(poses: Sequence[CarmPose | None]) -> str:
    known = [pose for pose in poses if pose is not None]
    if len(known) < len(poses):
        return UNKNOWN
    text = _pose_text(known[0])
    for name, values in (
        ("primary", [pose.lao_deg for pose in known]),
        ("secondary", [pose.cra_deg for pose in known]),
    ):
        if max(values) > min(values):
            text += f"; {name} {min(values):.5g} to {max(values):.5g}"
    return text


def _pose_text(pose: CarmPose) -> str:
    turned = f", turned by {pose.roll_deg:.4g}" if pose.roll_deg else ""
    return f"{angle_label(pose)} ({pose.lao_deg:.5g}, {pose.cra_deg:.5g} degrees{turned})"


def _moved(poses: Sequence[CarmPose | None]) -> str:
    known = [pose.translation_mm for pose in poses if pose is not None]
    if not known:
        return UNKNOWN
    text = _vector(known[0])
    if any(each != known[0] for each in known):
        text += f" to {_vector(known[-1])}"
    return f"{text} mm beside where it starts (patient LPS)"


def _vector(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _beam(tags: Tags) -> str:
    found = [
        f"{value:g} {unit}"
        for names, unit in (
            (("KVP",), "kV"),
            (("XRayTubeCurrentInmA", "XRayTubeCurrent"), "mA"),
            (("AveragePulseWidth",), "ms a pulse"),
            (("ExposureInmAs", "Exposure"), "mAs"),
            (("ImageAndFluoroscopyAreaDoseProduct",), "dGy cm2"),
        )
        if (value := next((v for name in names if (v := tags.hint(name))), None))
    ]
    return ", ".join(found) or UNKNOWN


def _mm(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.6g} mm"
