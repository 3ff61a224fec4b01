"""Numbers and models of X-ray physics; no GPU code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.physics.beam import Beam, make_beam
    from fluoro.physics.detector import DetectorResponse
    from fluoro.physics.dose import detector_photons, open_kerma_ngy
    from fluoro.physics.materials import Material, material
    from fluoro.physics.metrology import noise_power, slanted_edge_mtf
    from fluoro.physics.spectrum import (
        NAMED_SPECTRA,
        Spectrum,
        named_spectrum,
        read_spectrum,
        tube_spectrum,
    )
    from fluoro.physics.tissues import TISSUE_MAPS, TissueMap, tissue_map

__all__ = [
    "NAMED_SPECTRA",
    "TISSUE_MAPS",
    "Beam",
    "DetectorResponse",
    "Material",
    "Spectrum",
    "TissueMap",
    "detector_photons",
    "make_beam",
    "material",
    "named_spectrum",
    "noise_power",
    "open_kerma_ngy",
    "read_spectrum",
    "slanted_edge_mtf",
    "tissue_map",
    "tube_spectrum",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
