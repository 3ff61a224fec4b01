"""Line integrals: devices, kernels, the DRR renderer and its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.rendering.contrast_renderer import ContrastRenderer
    from fluoro.rendering.devices.base import ComputeDevice
    from fluoro.rendering.devices.selection import DEVICES, choose_device, open_device
    from fluoro.rendering.label_renderer import LabelImages, LabelRenderer
    from fluoro.rendering.material_renderer import MaterialRenderer
    from fluoro.rendering.moving_renderer import MovingRenderer
    from fluoro.rendering.patient_renderer import PatientRenderer, make_patient
    from fluoro.rendering.projectors.base import Projector
    from fluoro.rendering.reference import (
        exact_integrals,
        joseph_reference,
        march_reference,
        siddon_reference,
        slab_reference,
    )
    from fluoro.rendering.renderer import DrrRenderer
    from fluoro.rendering.tiles import render_tiled

__all__ = [
    "DEVICES",
    "ComputeDevice",
    "ContrastRenderer",
    "DrrRenderer",
    "LabelImages",
    "LabelRenderer",
    "MaterialRenderer",
    "MovingRenderer",
    "PatientRenderer",
    "Projector",
    "choose_device",
    "exact_integrals",
    "joseph_reference",
    "make_patient",
    "march_reference",
    "open_device",
    "render_tiled",
    "siddon_reference",
    "slab_reference",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
