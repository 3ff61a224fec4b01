"""Derivatives of what posed solids add and displace, with respect to view, poses and points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.geometry.view_derivatives import rigid_motions
from fluoro.rendering.devices.base import ComputeDevice, KernelText
from fluoro.rendering.packing import FLOATS_PER_MOTION
from fluoro.volume.posed_solid import PosedSolid

__all__ = ["SLOPE_FLOATS", "Slopes", "SolidMotion", "make_slopes", "sloped"]

SLOPE_FLOATS = 6
"""Floats of an end of a span: shaders/span_ends.slang."""

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class SolidMotion:
    """How one solid moves with the parameters of a derivative.

    Attributes:
        solid: The solid.
        twists: Rotation [rad] about `center_xyz_mm` and translation [mm] in world axes per unit of
            each of K parameters, shape (K, 6); None: it keeps its pose.
        center_xyz_mm: World LPS [mm], shape (3,).
        ends_xyz_mm: Of a solid of N tubes: how their ends move [mm] per unit of each parameter,
            beside the twist, shape (K, N, 2, 3); None: they do not. One solid may have them.
    """

    solid: PosedSolid
    twists: Array | None = None
    center_xyz_mm: Sequence[float] | Array = (0.0, 0.0, 0.0)
    ends_xyz_mm: Array | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Slopes:
    """What derivatives are taken with respect to, and where they go; arrays lie on the device.

    Attributes:
        weights: Worth of a millimetre of each material, shape (planes, height, width).
        view: Motions of the view, shape (K, 12) [mm].
        solids: The same as each solid sees them, in the order of drawing, shape (S, K, 12) [mm].
        parameters: Uniforms `Parameters` of shaders/span_ends.slang.
    """

    weights: Any
    view: Any
    solids: Any
    parameters: dict[str, Any]


def sloped(module: str) -> KernelText:
    """Return the kernel of a part (shaders/parts/) that adds up derivatives besides."""
    return KernelText(f'#define SLOPES\n#include "{module}.slang"\n', name=f"{module}, sloped")


def make_slopes(
    device: ComputeDevice,
    view: View,
    view_motions: Array,
    solids: Sequence[PosedSolid],
    moved: Sequence[SolidMotion],
    arrays: tuple[Any, Any],
) -> Slopes:
    """Return what the kernels of all solids take.

    Args:
        device: Where.
        view: Where the parameters are 0.
        view_motions: What each of K parameters does to the view, shape (K, 4, 3) [mm].
        solids: All, in the order of drawing.
        moved: How some of them move.
        arrays: On the device: weights (planes, height, width) and derivatives (K, height, width).

    Raises:
        InputError: A solid that is not among them, or motions of another shape.
    """
    count = len(view_motions)
    seen = np.repeat(view_motions[None], len(solids), axis=0)
    ends, bent = np.zeros((count, 1, 2, 3)), -1
    for each in moved:
        number = _number(each.solid, solids)
        if each.twists is not None:
            twists = _shaped("twists", each.twists, (count, 6))
            motions = rigid_motions(view, each.center_xyz_mm)
            seen[number] -= np.tensordot(twists, motions, axes=1)
        if each.ends_xyz_mm is not None:
            if bent >= 0:
                raise InputError("ends_xyz_mm must be given of one solid, got more")
            tubes = each.ends_xyz_mm.shape[1] if np.ndim(each.ends_xyz_mm) == 4 else 1
            ends, bent = _shaped("ends_xyz_mm", each.ends_xyz_mm, (count, tubes, 2, 3)), number
    weights, jacobian = arrays
    by_view, by_solid = (
        device.to_device(np.ascontiguousarray(each.reshape(*each.shape[:-2], -1), np.float32))
        for each in (view_motions, seen)
    )
    assert by_view.shape[-1] == FLOATS_PER_MOTION
    parameters = {
        "view_motions": by_view,
        "solid_motions": by_solid,
        "tube_motions": device.to_device(np.ascontiguousarray(ends, np.float32)),
        "count": count,
        "tubes": ends.shape[1],
        "bent": bent,
        "jacobian": jacobian,
    }
    return Slopes(weights=weights, view=by_view, solids=by_solid, parameters=parameters)


def _number(solid: PosedSolid, solids: Sequence[PosedSolid]) -> int:
    for number, each in enumerate(solids):
        if each is solid:
            return number
    raise InputError(f"solid must be one of the renderer's, got {solid.name}")


def _shaped(name: str, values: Array, shape: tuple[int, ...]) -> Array:
    found = np.asarray(values, float)
    if found.shape != shape or not np.isfinite(found).all():
        raise InputError(f"{name} must be finite and of shape {shape}, got {found.shape}")
    return found
