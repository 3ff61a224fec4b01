"""X-Ray Radiation Dose SR of a run (DICOM PS3.16 TID 10001)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from fluoro.imaging.exposure.dose_meter import DoseTotal
from fluoro.physics.dose import reference_distance_mm
from fluoro.xray_files.modules import code_item, new_dataset, plain
from fluoro.xray_files.recorded import RecordedFrame, Recording

__all__ = ["dose_report"]

Code = tuple[str, str, str]
"""Value, scheme and meaning."""
NO_MODIFIERS: tuple[Any, ...] = ()
UNITS: dict[str, str] = {
    "Gy.m2": "Gy.m2", "Gy": "Gy", "s": "s", "mm": "mm", "kV": "kV", "mA": "mA", "ms": "ms",
    "deg": "deg", "uA.s": "uA.s", "{pulses}": "pulses", "1": "no units", "{pulse}/s": "pulse/s",
}  # fmt: skip
"""UCUM code and meaning."""
GYM2_OF_MGYCM2 = 1e-7
FIELD_POINT: Code = ("113860", "DCM", "15cm from Isocenter toward Source")


def dcm(value: str, meaning: str) -> Code:
    """Return a code of DICOM's own scheme."""
    return value, "DCM", meaning


def dose_report(
    recording: Recording, frames: Sequence[RecordedFrame], images: Sequence[tuple[str, str]]
) -> Any:
    """Return the report of a run, as a dataset.

    Args:
        recording: Of the run.
        frames: One or more, the last one with the run's dose.
        images: SOP class and instance UID of each image of the run.

    Raises:
        ValueError: The last frame does not know its dose.
    """
    from pydicom.uid import generate_uid

    total = frames[-1].total
    if total is None:
        raise ValueError("the last frame must know the run's dose")
    ds = new_dataset(recording, "dose_report", "SR", 1)
    ds.SeriesInstanceUID, ds.SeriesNumber = generate_uid(), 2
    ds.SeriesDescription = "Radiation dose report"
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.PerformedProcedureCodeSequence = []
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [
        code_item(*dcm("113701", "X-Ray Radiation Dose Report")),
    ]
    ds.ContentTemplateSequence = [plain(MappingResource="DCMR", TemplateIdentifier="10001")]
    ds.CurrentRequestedProcedureEvidenceSequence = _evidence(recording, images)
    ds.ContentSequence = _content(recording, frames, total, images)
    return ds


def _evidence(recording: Recording, images: Sequence[tuple[str, str]]) -> list[Any]:
    """The images that the report refers to."""
    references = [
        plain(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance)
        for sop_class, instance in images
    ]
    series = plain(SeriesInstanceUID=recording.series_uid, ReferencedSOPSequence=references)
    return [plain(StudyInstanceUID=recording.study_uid, ReferencedSeriesSequence=[series])]


def _content(
    recording: Recording,
    frames: Sequence[RecordedFrame],
    total: DoseTotal,
    images: Sequence[tuple[str, str]],
) -> list[Any]:
    intent = _code(
        ("363703001", "SCT", "Has Intent"),
        ("261004008", "SCT", "Diagnostic Intent"),
        "HAS CONCEPT MOD",
    )
    procedure = _code(dcm("121058", "Procedure reported"), dcm("113704", "Projection X-Ray"))
    procedure.RelationshipType = "HAS CONCEPT MOD"
    procedure.ContentSequence = [intent]
    scope = _code(dcm("113705", "Scope of Accumulation"), dcm("113014", "Study"), "HAS OBS CONTEXT")
    scope.ContentSequence = [
        _item(
            dcm("110180", "Study Instance UID"), "UIDREF", "HAS PROPERTIES",
            UID=recording.study_uid,
        )
    ]  # fmt: skip
    available = [
        _code(dcm(value, f"{name} Data Available"), ("373066001", "SCT", "Yes"))
        for value, name in (("113943", "X-Ray Source"), ("113944", "X-Ray Mechanical"))
    ]
    return [
        procedure,
        *_observer(),
        scope,
        *available,
        _accumulated(recording, frames, total),
        _event(recording, frames, total, images),
        _text(dcm("121106", "Comment"), "Simulated: computed by fluoro, no patient was exposed"),
        _code(
            dcm("113854", "Source of Dose Information"),
            dcm("113856", "Automated Data Collection"),
        ),
    ]


def _observer() -> list[Any]:
    """The device that observed (TID 1002, 1004)."""
    from pydicom.uid import generate_uid

    context = "HAS OBS CONTEXT"
    return [
        _code(dcm("121005", "Observer Type"), dcm("121007", "Device"), context),
        _item(dcm("121012", "Device Observer UID"), "UIDREF", context, UID=generate_uid()),
        _text(dcm("121013", "Device Observer Name"), "fluoro", context),
        _text(dcm("121014", "Device Observer Manufacturer"), "fluoro", context),
        _text(dcm("121015", "Device Observer Model Name"), "fluoro simulated C-arm", context),
        _text(dcm("121016", "Device Observer Serial Number"), "0", context),
    ]


def _accumulated(recording: Recording, frames: Sequence[RecordedFrame], total: DoseTotal) -> Any:
    """Dose of the plane (TID 10002, 10004, 10007)."""
    product, kerma = total.kerma_area_mgycm2 * GYM2_OF_MGYCM2, total.reference_kerma_mgy * 1e-3
    fluoroscopy = _is_fluoroscopy(recording)
    none = 0.0
    point = _code(dcm("113780", "Reference Point Definition"), FIELD_POINT)
    distance_mm = reference_distance_mm(frames[-1].geometry.source_to_isocenter_mm)
    content = [
        _plane(),
        _number(dcm("113722", "Dose Area Product Total"), product, "Gy.m2"),
        _number(dcm("113725", "Dose (RP) Total"), kerma, "Gy"),
        _number(dcm("113737", "Distance Source to Reference Point"), distance_mm, "mm"),
        _number(
            dcm("113726", "Fluoro Dose Area Product Total"), product if fluoroscopy else none,
            "Gy.m2",
        ),
        _number(dcm("113728", "Fluoro Dose (RP) Total"), kerma if fluoroscopy else none, "Gy"),
        _number(dcm("113730", "Total Fluoro Time"), total.beam_s if fluoroscopy else none, "s"),
        _number(
            dcm("113727", "Acquisition Dose Area Product Total"), none if fluoroscopy else product,
            "Gy.m2",
        ),
        _number(
            dcm("113729", "Acquisition Dose (RP) Total"), none if fluoroscopy else kerma, "Gy"
        ),
        _number(
            dcm("113855", "Total Acquisition Time"), none if fluoroscopy else total.beam_s, "s"
        ),
        point,
        _number(
            dcm("113731", "Total Number of Radiographic Frames"),
            none if fluoroscopy else float(total.pulses), "1",
        ),
    ]  # fmt: skip
    return _container(dcm("113702", "Accumulated X-Ray Dose Data"), content)


def _event(
    recording: Recording,
    frames: Sequence[RecordedFrame],
    total: DoseTotal,
    images: Sequence[tuple[str, str]],
) -> Any:
    """The run as one irradiation event (TID 10003)."""
    product, kerma = total.kerma_area_mgycm2 * GYM2_OF_MGYCM2, total.reference_kerma_mgy * 1e-3
    content = [
        _plane(),
        _item(
            dcm("113769", "Irradiation Event UID"), "UIDREF", "CONTAINS", UID=recording.event_uid
        ),
        _item(
            dcm("111526", "DateTime Started"), "DATETIME", "CONTAINS",
            DateTime=_moment(recording.began),
        ),
        _code(dcm("113721", "Irradiation Event Type"), _event_type(recording, frames)),
        _text(dcm("125203", "Acquisition Protocol"), recording.name),
        _code(
            ("123014", "DCM", "Target Region"), (recording.anatomy[0], "SCT", recording.anatomy[1])
        ),
        _number(dcm("122130", "Dose Area Product"), product, "Gy.m2"),
        *(
            _item(
                dcm("113795", "Acquired Image"), "IMAGE", "CONTAINS",
                ReferencedSOPSequence=[
                    plain(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance)
                ],
            )
            for sop_class, instance in images
        ),
        _number(dcm("113738", "Dose (RP)"), kerma, "Gy"),
        _code(dcm("113780", "Reference Point Definition"), FIELD_POINT),
        *_source(recording, frames, total),
        *_mechanics(frames),
    ]  # fmt: skip
    return _container(dcm("113706", "Irradiation Event X-Ray Data"), content)


def _is_fluoroscopy(recording: Recording) -> bool:
    return recording.object == "XRF"


def _event_type(recording: Recording, frames: Sequence[RecordedFrame]) -> Code:
    if _is_fluoroscopy(recording):
        return ("44491008", "SCT", "Fluoroscopy")
    if any(
        (f.pose.lao_deg, f.pose.cra_deg) != (frames[0].pose.lao_deg, frames[0].pose.cra_deg)
        for f in frames
    ):
        return dcm("113613", "Rotational Acquisition")
    return dcm("113611", "Stationary Acquisition")


def _source(
    recording: Recording, frames: Sequence[RecordedFrame], total: DoseTotal
) -> Iterable[Any]:
    """What the tube did (TID 10003B), as far as it is known."""
    tubes = [frame.tube for frame in frames if frame.tube and frame.pulse]
    yield _code(dcm("113732", "Fluoro Mode"), dcm("113631", "Pulsed"))
    if total.beam_s > 0:
        rate = total.pulses / total.beam_s
        yield _number(dcm("113791", "Pulse Rate"), rate, "{pulse}/s")
    yield _number(dcm("113768", "Number of Pulses"), float(total.pulses), "1")
    voltages = [float(tube.tube_voltage_kv) for tube in tubes if tube.tube_voltage_kv]
    if voltages:
        yield _number(dcm("113733", "KVP"), float(np.mean(voltages)), "kV")
    currents = [tube.tube_current_ma for tube in tubes if tube.tube_current_ma]
    if currents:
        yield _number(dcm("113734", "X-Ray Tube Current"), float(np.mean(currents)), "mA")
    widths = [tube.pulse_width_ms for tube in tubes if tube.pulse_width_ms]
    if widths:
        yield _number(dcm("113824", "Exposure Time"), float(np.sum(widths)), "ms")
        yield _number(dcm("113793", "Pulse Width"), float(np.mean(widths)), "ms")
    if tubes:
        charge = sum(tube.charge_mas for tube in tubes) * 1000
        yield _number(dcm("113736", "Exposure"), charge, "uA.s")
    yield _number(dcm("113742", "Irradiation Duration"), total.beam_s, "s")
    yield from _filters(recording) if tubes else ()


def _filters(recording: Recording) -> Iterable[Any]:
    xray = recording.image_chain.xray
    if xray is None or not xray.copper_mm:
        return
    content = [
        _code(dcm("113772", "X-Ray Filter Type"), dcm("113653", "Flat filter")),
        _code(
            dcm("113757", "X-Ray Filter Material"),
            ("66925006", "SCT", "Copper or Copper compound"),
        ),
        _number(dcm("113758", "X-Ray Filter Thickness Minimum"), xray.copper_mm, "mm"),
        _number(dcm("113773", "X-Ray Filter Thickness Maximum"), xray.copper_mm, "mm"),
    ]
    yield _container(dcm("113771", "X-Ray Filters"), content)


def _mechanics(frames: Sequence[RecordedFrame]) -> Iterable[Any]:
    """Where the C-arm stood (TID 10003C)."""
    first, last = frames[0], frames[-1]
    yield _number(dcm("112011", "Positioner Primary Angle"), first.pose.lao_deg, "deg")
    yield _number(dcm("112012", "Positioner Secondary Angle"), first.pose.cra_deg, "deg")
    if (first.pose.lao_deg, first.pose.cra_deg) != (last.pose.lao_deg, last.pose.cra_deg):
        yield _number(dcm("113739", "Positioner Primary End Angle"), last.pose.lao_deg, "deg")
        yield _number(dcm("113740", "Positioner Secondary End Angle"), last.pose.cra_deg, "deg")
    lengths = first.geometry
    yield _number(dcm("113750", "Distance Source to Detector"), lengths.source_to_detector_mm, "mm")
    yield _number(
        dcm("113748", "Distance Source to Isocenter"), lengths.source_to_isocenter_mm, "mm"
    )


# Items of an SR tree


def _item(concept: Code, value_type: str, relationship: str, **values: Any) -> Any:
    return plain(
        RelationshipType=relationship,
        ValueType=value_type,
        ConceptNameCodeSequence=[code_item(*concept)],
        **values,
    )


def _code(concept: Code, value: Code, relationship: str = "CONTAINS") -> Any:
    return _item(concept, "CODE", relationship, ConceptCodeSequence=[code_item(*value)])


def _text(concept: Code, text: str, relationship: str = "CONTAINS") -> Any:
    return _item(concept, "TEXT", relationship, TextValue=text)


def _number(concept: Code, value: float, unit: str) -> Any:
    measured = plain(
        NumericValue=f"{value:.9g}",
        MeasurementUnitsCodeSequence=[code_item(unit, "UCUM", UNITS[unit])],
    )
    return _item(concept, "NUM", "CONTAINS", MeasuredValueSequence=[measured])


def _container(concept: Code, content: Sequence[Any]) -> Any:
    return _item(
        concept, "CONTAINER", "CONTAINS", ContinuityOfContent="SEPARATE", ContentSequence=content
    )


def _plane() -> Any:
    return _code(dcm("113764", "Acquisition Plane"), dcm("113622", "Single Plane"))


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S.%f")
