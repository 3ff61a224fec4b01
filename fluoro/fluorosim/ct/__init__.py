"""Where fluorosim's scripts look for its CT loaders; fluoro's own are in `fluoro.volume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.fluorosim.ct.dicom_ingest import CtVolume, load_dicom_series_hu, load_nifti_hu

__all__ = ["CtVolume", "load_dicom_series_hu", "load_nifti_hu"]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
