"""Small CTs written as DICOM, attribute by attribute, so that any of them can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gdcm
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from fluoro.volume.grid import VolumeGrid
from tests.volume_files import SHAPE_ZYX, SPACING_MM, ramp

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SERIES, FRAME = "1.2.826.0.1.3680043.10.511.1", "1.2.826.0.1.3680043.10.511.2"
GRID = VolumeGrid(shape_zyx=SHAPE_ZYX, spacing_xyz_mm=SPACING_MM, origin_xyz_mm=(10.0, 20.0, 30.0))
"""Where the voxels of `ramp` lie unless another grid is given."""
INTERCEPT = -1024
ENCODERS = {JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg", RLELossless: "pydicom"}
"""Not the libraries that decode, where others have an encoder."""
Change = Callable[[Dataset, int], None]


def numbers(values) -> list[str]:
    """As DICOM holds decimal numbers: at most 16 characters."""
    return [f"{value:.10f}"[:16] for value in np.ravel(values)]


def base(stored_yx, *, sop_class=CT, uid=None, series=SERIES) -> FileDataset:
    """A CT image without a place."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid or generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber = "CT", series, 4
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = f"{SERIES}.0", FRAME
    ds.PatientName, ds.PatientID, ds.PatientPosition = "Ramp^Test", "1", "HFS"
    ds.SeriesDescription = "Ramp"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored_yx.shape[-2:]
    store(ds, stored_yx)
    return ds


def store(ds, stored, bits_stored=None) -> None:
    """Pixels, with the attributes that tell their type."""
    bits = 8 * stored.dtype.itemsize
    ds.BitsAllocated, ds.BitsStored = bits, bits_stored or bits
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(stored.dtype.kind == "i")
    ds.PixelData = np.ascontiguousarray(stored).tobytes()


def slices(hu_zyx=None, grid=GRID, change: Change | None = None, **keys) -> list[FileDataset]:
    """One image for each z of a grid, changed each by `change(image, z)`."""
    hu_zyx = ramp() if hu_zyx is None else hu_zyx
    made = []
    for z, hu_yx in enumerate(hu_zyx):
        ds = base((np.rint(hu_yx) - INTERCEPT).astype(np.uint16), **keys)
        ds.RescaleSlope, ds.RescaleIntercept = 1, INTERCEPT
        ds.InstanceNumber, ds.AcquisitionNumber, ds.SliceThickness = z + 1, 1, 99
        direction = np.asarray(grid.direction)
        ds.ImagePositionPatient = numbers((grid.world_from_index @ [0, 0, z, 1])[:3])
        ds.ImageOrientationPatient = numbers(direction[:, :2].T)
        ds.PixelSpacing = numbers(grid.spacing_xyz_mm[1::-1])
        if change is not None:
            change(ds, z)
        made.append(ds)
    return made


def written(folder: Path, images: list[FileDataset], start: int = 0) -> Path:
    """The folder, with each image in a file named against its order."""
    folder.mkdir(parents=True, exist_ok=True)
    for z, ds in enumerate(images, start):
        ds.save_as(folder / f"IM{9999 - z:04d}.dcm", enforce_file_format=True)
    return folder


def series(folder: Path, hu_zyx=None, grid=GRID, change: Change | None = None, **keys) -> Path:
    """A folder with one series."""
    return written(folder, slices(hu_zyx, grid, change, **keys))


def enhanced(path: Path, hu_zyx=None, grid=GRID, order=None, change=None) -> Path:
    """One multi-frame file, its frames in the given order of z."""
    hu_zyx = ramp() if hu_zyx is None else hu_zyx
    order = range(len(hu_zyx)) if order is None else order
    stored = np.stack([(hu_zyx[z] - INTERCEPT).astype(np.uint16) for z in order])
    ds = base(stored, sop_class=ENHANCED_CT)
    ds.NumberOfFrames = len(stored)
    ds.SharedFunctionalGroupsSequence = Sequence([_shared(grid)])
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        [_placed((grid.world_from_index @ [0, 0, z, 1])[:3]) for z in order]
    )
    if change is not None:
        change(ds)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def _shared(grid: VolumeGrid) -> Dataset:
    orientation, measures, transformation, group = (Dataset() for _ in range(4))
    orientation.ImageOrientationPatient = numbers(np.asarray(grid.direction)[:, :2].T)
    measures.PixelSpacing = numbers(grid.spacing_xyz_mm[1::-1])
    transformation.RescaleSlope, transformation.RescaleIntercept = 1, INTERCEPT
    transformation.RescaleType = "HU"
    group.PlaneOrientationSequence = Sequence([orientation])
    group.PixelMeasuresSequence = Sequence([measures])
    group.PixelValueTransformationSequence = Sequence([transformation])
    return group


def _placed(position) -> Dataset:
    place, group = Dataset(), Dataset()
    place.ImagePositionPatient = numbers(position)
    group.PlanePositionSequence = Sequence([place])
    return group


def compressed(path: Path, syntax: UID) -> None:
    """Rewrite a file with its pixels compressed without loss."""
    ds = dcmread(path)
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        ds.PixelData = _jpeg_lossless(path, syntax)
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = syntax
    else:
        ds.compress(syntax, encoding_plugin=ENCODERS[syntax], generate_instance_uid=False)
    ds.save_as(path)


def _jpeg_lossless(path: Path, syntax: UID) -> bytes:
    """GDCM has the encoder; of the file that it writes only the pixels are taken."""
    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    name = "JPEGLosslessProcess14" + ("_1" if syntax == JPEGLosslessSV1 else "")
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    reader.SetFileName(str(path))
    if not reader.Read():
        raise OSError(f"{path} is not read")
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise OSError(f"{path} is not turned into {name}")
    writer, other = gdcm.ImageWriter(), path.with_name("other")
    writer.SetFileName(str(other))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise OSError(f"{other} is not written")
    pixels = dcmread(other).PixelData
    other.unlink()
    return pixels
