"""Volumes: read or made, on a grid in the patient, as CT numbers or attenuation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.volume.ct import Ct, CtFormat
    from fluoro.volume.grid import VolumeGrid
    from fluoro.volume.hu_to_mu import HuToMu, LinearCurve, PhysicalCurve, mu_from_hu
    from fluoro.volume.inspect import VolumeReport
    from fluoro.volume.labels.label_volume import LabelVolume
    from fluoro.volume.labels.load import load_labels
    from fluoro.volume.labels.segment import segment
    from fluoro.volume.labels.structures import Structure
    from fluoro.volume.load import load_volume, preprocess_volume
    from fluoro.volume.material_volume import MaterialVolume, Solid
    from fluoro.volume.patient_surface import bone_surface, skin_surface
    from fluoro.volume.phantom.thorax import make_thorax, thorax_landmarks
    from fluoro.volume.resample import Resampling
    from fluoro.volume.store.fetch import fetch
    from fluoro.volume.store.preprocessed_folder import open_preprocessed
    from fluoro.volume.volumes import HuVolume, MuVolume

__all__ = [
    "Ct",
    "CtFormat",
    "HuToMu",
    "HuVolume",
    "LabelVolume",
    "LinearCurve",
    "MaterialVolume",
    "MuVolume",
    "PhysicalCurve",
    "Resampling",
    "Solid",
    "Structure",
    "VolumeGrid",
    "VolumeReport",
    "bone_surface",
    "fetch",
    "load_labels",
    "load_volume",
    "make_thorax",
    "mu_from_hu",
    "open_preprocessed",
    "preprocess_volume",
    "segment",
    "skin_surface",
    "thorax_landmarks",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
