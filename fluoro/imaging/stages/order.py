"""The order of the stages, defined in this place only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fluoro import plugins
from fluoro.imaging.stage import Stage
from fluoro.imaging.stages.antiscatter_grid import ANTISCATTER_GRID
from fluoro.imaging.stages.aperture import Aperture
from fluoro.imaging.stages.attenuate import Attenuate
from fluoro.imaging.stages.beer_lambert import BeerLambert, Integrals
from fluoro.imaging.stages.blur import Blur
from fluoro.imaging.stages.brightness import Brightness
from fluoro.imaging.stages.collimator import Collimator
from fluoro.imaging.stages.digitise import Digitise
from fluoro.imaging.stages.dsa import Dsa
from fluoro.imaging.stages.edge_enhancement import EdgeEnhancement
from fluoro.imaging.stages.electronic_noise import ElectronicNoise
from fluoro.imaging.stages.focal_spot import FocalSpot
from fluoro.imaging.stages.gain_bias import GainBias
from fluoro.imaging.stages.heel import Heel
from fluoro.imaging.stages.hold import Hold
from fluoro.imaging.stages.image_intensifier import ImageIntensifier
from fluoro.imaging.stages.inverse_square import InverseSquare
from fluoro.imaging.stages.lag import Lag
from fluoro.imaging.stages.logarithm import Logarithm
from fluoro.imaging.stages.lookup import Lookup
from fluoro.imaging.stages.mtf import Mtf
from fluoro.imaging.stages.pixel_pattern import PixelPattern
from fluoro.imaging.stages.poisson import Poisson
from fluoro.imaging.stages.recursive_filter import RecursiveFilter
from fluoro.imaging.stages.scatter import Scatter
from fluoro.imaging.stages.shutter import Shutter
from fluoro.imaging.stages.veiling_glare import VeilingGlare
from fluoro.imaging.stages.window import Window

__all__ = ["HOLD", "ORDER"]

HOLD = Hold()

BUILT_IN: tuple[Stage, ...] = (
    Integrals(),
    BeerLambert(),
    FocalSpot(),
    InverseSquare(),
    Heel(),
    Collimator(),
    Attenuate(),
    Scatter(),
    ANTISCATTER_GRID,
    Aperture(),
    Poisson(),
    Blur(),
    Mtf(),
    ImageIntensifier(),
    VeilingGlare(),
    Lag(),
    Brightness(),
    ElectronicNoise(),
    PixelPattern(),
    GainBias(),
    Digitise(),
    Logarithm(),
    RecursiveFilter(),
    Dsa(),
    EdgeEnhancement(),
    HOLD,
    Window(),
    Lookup(),
    Shutter(),
)
"""From line integrals to display values. Stages before `HOLD` run with a pulse alone."""


def _with_plugins(order: Sequence[Stage], added: Mapping[str, type[Stage]]) -> tuple[Stage, ...]:
    """Return the stages and those of plugins, each behind the one that it follows.

    Raises:
        InputError: There is no such stage, or one has another key than its name.
    """
    stages = list(order)
    for name, kind in added.items():
        before = [number for number, each in enumerate(stages) if kind.follows in each.keys]
        if not before:
            text = f"follows must be a key of a stage, such as lag, got {kind.follows!r}"
            raise plugins.error("stages", name, text)
        if kind.keys != (name,):
            raise plugins.error("stages", name, f"keys must be ({name!r},), got {kind.keys}")
        stages.insert(before[-1] + 1, kind())
    return tuple(stages)


def _is_stage(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Stage)


ORDER: tuple[Stage, ...] = _with_plugins(
    BUILT_IN, plugins.find("stages", _is_stage, "a Stage class")
)
"""The stages that run: fluoro's own and those of plugins."""
