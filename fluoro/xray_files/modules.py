"""Modules that all written images share: patient, study, equipment, pixels (PS3.3 annex C)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from typing import Any

from fluoro.imaging.exposure.dose_meter import DoseTotal
from fluoro.xray_files.numbers import decimal
from fluoro.xray_files.recorded import RecordedFrame, Recording

__all__ = ["code_item", "described", "new_dataset", "pixel_module", "plain", "stamp", "technique"]

MADE_BY = "fluoro"
UID_OF = {
    "XA": "1.2.840.10008.5.1.4.1.1.12.1",
    "XRF": "1.2.840.10008.5.1.4.1.1.12.2",
    "enhanced_xa": "1.2.840.10008.5.1.4.1.1.12.1.1",
    "dose_report": "1.2.840.10008.5.1.4.1.1.88.67",
}


def new_dataset(recording: Recording, kind: str, modality: str, instance: int) -> Any:
    """Return a dataset with patient, study, series, equipment and SOP common.

    Args:
        recording: Of the run.
        kind: Key of `UID_OF`.
        modality: Of the series.
        instance: InstanceNumber.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(UID_OF[kind])
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationVersionName = "FLUORO"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = UID_OF[kind], meta.MediaStorageSOPInstanceUID
    ds.PatientName, ds.PatientID = "Simulated^Patient", "SIMULATED"
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyInstanceUID, ds.StudyID = recording.study_uid, "1"
    ds.StudyDescription = "Simulated fluoroscopy"
    ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.SeriesInstanceUID, ds.SeriesDescription = recording.series_uid, recording.name[:64]
    ds.SeriesNumber, ds.InstanceNumber, ds.Modality = 1, instance, modality
    _equipment(ds)
    for name in ("Study", "Series", "Content"):
        setattr(ds, f"{name}Date", recording.began.strftime("%Y%m%d"))
        setattr(ds, f"{name}Time", recording.began.strftime("%H%M%S.%f"))
    return ds


def _equipment(ds: Any) -> None:
    ds.Manufacturer, ds.ManufacturerModelName = MADE_BY, "fluoro simulated C-arm"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", _version()


def _version() -> str:
    try:
        return metadata.version("fluoro")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "unreleased"


def described(ds: Any, recording: Recording) -> None:
    """Say that the images are simulated."""
    ds.DerivationDescription = (
        "Simulated X-ray images, computed from a CT volume by fluoro; no patient was exposed"
    )
    ds.DerivationCodeSequence = [code_item("113085", "DCM", "Spatial resampling")]
    ds.ImageComments = f"SIMULATED: fluoro run {recording.name}"[:10240]
    ds.BurnedInAnnotation = "NO"


def code_item(value: str, scheme: str, meaning: str) -> Any:
    """Return a code sequence's item."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def plain(**attributes: Any) -> Any:
    """Return a dataset of attributes, such as an item of a sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def stamp(moment: datetime) -> str:
    """Return a DT of microseconds."""
    return moment.strftime("%Y%m%d%H%M%S.%f")


def pixel_module(ds: Any, columns: int, rows: int, bits: int) -> None:
    """One sample of `bits` bits a pixel; larger is brighter."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = (8 if bits == 8 else 16), bits, bits - 1
    ds.PixelRepresentation = 0
    ds.LossyImageCompression = "00"


def technique(ds: Any, frames: Sequence[RecordedFrame]) -> None:
    """Tube voltage, current, times and dose of a run, as far as they are known (PS3.3 C.8.7.2)."""
    tubes = [frame.tube for frame in frames if frame.tube and frame.pulse]
    voltages = [tube.tube_voltage_kv for tube in tubes if tube.tube_voltage_kv]
    ds.KVP = decimal(sum(voltages) / len(voltages), 1) if voltages else None
    widths_ms = [tube.pulse_width_ms for tube in tubes if tube.pulse_width_ms]
    charge_mas = sum(tube.charge_mas for tube in tubes)
    ds.XRayTubeCurrent = ds.ExposureTime = ds.Exposure = None
    if charge_mas:
        ds.Exposure = round(charge_mas) if charge_mas >= 1 else None
        ds.ExposureInuAs = max(1, round(charge_mas * 1000))
    if widths_ms:
        mean_ms = sum(widths_ms) / len(widths_ms)
        ds.AveragePulseWidth = decimal(mean_ms, 3)
        ds.ExposureTime = max(1, round(sum(widths_ms)))
        ds.XRayTubeCurrent = max(1, round(charge_mas / sum(widths_ms) * 1000))
    ds.RadiationSetting, ds.RadiationMode = "SC", "PULSED"
    _dose(ds, _spent(frames))


def _spent(frames: Sequence[RecordedFrame]) -> DoseTotal | None:
    totals = [frame.total for frame in frames if frame.total]
    return totals[-1] if totals else None


def _dose(ds: Any, total: DoseTotal | None) -> None:
    if total is None or not total.pulses:
        return
    # 1 mGy cm2 is 0.01 dGy cm2
    ds.ImageAndFluoroscopyAreaDoseProduct = f"{total.kerma_area_mgycm2 * 0.01:.9g}"
    ds.EntranceDoseInmGy = f"{total.reference_kerma_mgy:.9g}"
