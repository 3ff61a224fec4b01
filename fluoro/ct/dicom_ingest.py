"""fluorosim's CT loaders."""

from fluoro.compat.ct import CtVolume, load_dicom_series_hu, load_nifti_hu

__all__ = ["CtVolume", "load_dicom_series_hu", "load_nifti_hu"]
