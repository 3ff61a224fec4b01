"""Kernels that follow rays, put together: a task, what it sums, and a projector's packet.

A task (shaders/tasks/) is a struct that says what becomes of the packets of a thread: line
integrals, thicknesses, derivatives, the transpose. Its members are its uniforms; what the packet
reads (its `Source`) and the views (`Rays`) are the others. All uniforms have one definition each,
in the structs. Counts of ramps and labels are arguments of generic structs, so that a kernel is
compiled for each number that comes up.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from fluoro.rendering.deferred_integrals import PixelStage
from fluoro.rendering.devices.base import KernelText
from fluoro.rendering.projectors import PROJECTORS, Projector, SlangType

__all__ = [
    "BACKPROJECT",
    "BACKPROJECT_THICKNESSES",
    "DISPLACE",
    "DISPLACED_JACOBIAN",
    "EXACT_CELLS",
    "JACOBIAN",
    "PLAIN",
    "PROJECT",
    "RAYS_ENTRY",
    "ROOT_CELLS",
    "THICKNESSES",
    "WEIGHTED_JACOBIAN",
    "Quantity",
    "all_kernels",
    "labels",
    "line_integral_stage",
    "ramps",
    "ray_kernel",
    "single_rays",
]

RAYS_ENTRY = "follow_rays"
"""Entry point of every kernel that is put together here."""

PROJECT = SlangType("project", "Project")
THICKNESSES = SlangType("thicknesses", "Thicknesses")
DISPLACE = SlangType("displace", "Displace")
DISPLACED_JACOBIAN = SlangType("displaced_jacobian", "DisplacedJacobian")
JACOBIAN = SlangType("jacobian", "Jacobian")
WEIGHTED_JACOBIAN = SlangType("jacobian", "WeightedJacobian")
BACKPROJECT = SlangType("backproject", "Backproject")
BACKPROJECT_THICKNESSES = SlangType("backproject", "BackprojectThicknesses")

ROOT_CELLS = SlangType("cells", "RootCells")
EXACT_CELLS = SlangType("cells", "ExactCells")
"""Kinds of copies of a volume: of 16 bits a voxel, and of the voxels themselves."""

ALWAYS = ("rays", "packets")
"""Files that every kernel imports."""


class Quantity(NamedTuple):
    """What is integrated along rays.

    Attributes:
        sums: Slang struct that sums samples.
        field: Slang struct of what has derivatives.
        size: Number of sums.
    """

    sums: SlangType
    field: SlangType
    size: int


PLAIN = Quantity(SlangType("sums", "PlainSums"), SlangType("sums", "PlainField"), 1)
"""The attenuation itself."""


@cache
def ramps(count: int) -> Quantity:
    """Return the sums over `count` ramps of a tissue map, or over one of shares."""
    sums, field = SlangType("sums", "RampSums"), SlangType("sums", "RampField")
    return Quantity(sums.of(count), field.of(count), count)


@cache
def labels(count: int) -> Quantity:
    """Return the sums over `count` labels of a segmentation."""
    sums, field = SlangType("labels", "LabelSums"), SlangType("labels", "LabelField")
    return Quantity(sums.of(count), field.of(count), count)


@cache
def ray_kernel(
    generic: SlangType, packet: SlangType, *arguments: int, listed: bool = False
) -> KernelText:
    """Return the kernel of a task, entry point `RAYS_ENTRY`.

    Args:
        generic: The task, a generic struct of a packet.
        packet: Whose source the kernel reads.
        arguments: Of the task, besides the packet.
        listed: Whether rays are listed, and not those of an image's pixels.
    """
    task = generic.of(packet, *arguments)
    imports = [f"import {name};" for name in dict.fromkeys((*ALWAYS, *task.modules()))]
    lines = [
        *imports,
        "#ifndef GROUP_COLUMNS",
        "#define GROUP_COLUMNS 16",
        "#define GROUP_ROWS 8",
        "#endif",
        f"uniform {packet}::Source source;",
        f"uniform Rays<{int(listed)}> rays;",
        f"uniform {task} task;",
        '[shader("compute")]',
        "[numthreads(GROUP_COLUMNS, GROUP_ROWS, 1)]",
        f"void {RAYS_ENTRY}(uint3 thread: SV_DispatchThreadID)",
        "{",
        # a copy, so that a compiler sees that nothing else changes it, and keeps it in registers
        f"    {packet}::Source here = source;",
        "    task.run(rays, here, thread);",
        "}",
    ]
    scatters = task.module == BACKPROJECT.module
    return KernelText(
        "\n".join(lines) + "\n",
        name=f"{task}, listed rays" if listed else str(task),
        scatters=scatters,
    )


@cache
def line_integral_stage(packet: SlangType) -> PixelStage:
    """Return the stage of the image chain that integrates each pixel's ray."""
    imports = [f"import {name};" for name in dict.fromkeys((*ALWAYS, *packet.modules()))]
    head = "\n".join(['#include "line_integral.slang"', *imports])
    return PixelStage(head, f"LineIntegral<{packet}>")


def single_rays() -> list[SlangType]:
    """Return the packets that `line_integral_stage` takes."""
    return [
        packet.of(PLAIN.sums)
        for each in PROJECTORS.values()
        for packet in (each.packet, each.texture)
        if packet and each.in_place
    ]


def all_kernels(
    ramp_counts: tuple[int, ...], label_counts: tuple[int, ...]
) -> Iterator[KernelText]:
    """Return every kernel of every projector, for such numbers of ramps and labels.

    Of kernels for listed rays those of one projector.
    """
    quantities = [*map(ramps, ramp_counts), *map(labels, label_counts)]
    found = dict.fromkeys(
        ray_kernel(*each)
        for projector in PROJECTORS.values()
        for each in _tasks(projector, quantities)
    )
    yield from found
    yield from _listed()


def _listed() -> Iterator[KernelText]:
    """Those of listed rays of one projector: others differ from it as they do for pixels."""
    march = PROJECTORS["march"]
    yield from (ray_kernel(PROJECT, each, listed=True) for each in _packets(march, PLAIN))
    yield from (ray_kernel(JACOBIAN, each, listed=True) for each in _gradients(march, PLAIN))
    yield ray_kernel(BACKPROJECT, march.backprojector, listed=True)


def _tasks(projector: Projector, quantities: list[Quantity]) -> Iterator[Any]:
    """Tasks, each with its packet and its other arguments."""
    of_materials = quantities if projector.materials else []
    for quantity in (PLAIN, *of_materials):
        for packet in _packets(projector, quantity):
            yield PROJECT if quantity is PLAIN else THICKNESSES, packet
        for packet in _gradients(projector, quantity):
            yield JACOBIAN if quantity is PLAIN else WEIGHTED_JACOBIAN, packet
    back = projector.backprojector
    yield BACKPROJECT, back
    if projector.moving and projector.packet:
        for quantity in of_materials:
            yield DISPLACE, projector.packet.of(quantity.sums)
            if projector.gradient:
                yield DISPLACED_JACOBIAN, projector.gradient.of(quantity.field)
            for solid in (0, 1):
                yield DISPLACE, projector.moving.of(quantity.sums, solid)
    for quantity in of_materials:
        if quantity.sums.module == PLAIN.sums.module:
            yield BACKPROJECT_THICKNESSES, back, quantity.size


def _packets(projector: Projector, quantity: Quantity) -> Iterator[SlangType]:
    plain, by_value = quantity is PLAIN, quantity.sums.module == PLAIN.sums.module
    texture = projector.texture if plain else None
    for each in (projector.packet, projector.across, texture):
        if each:
            yield each.of(quantity.sums)
    if projector.moving:
        yield from (projector.moving.of(quantity.sums, solid) for solid in (0, 1))
    if projector.copies and by_value:
        kind = ROOT_CELLS if plain or projector.copies.needed else EXACT_CELLS
        yield projector.copies.packet.of(kind, quantity.sums)


def _gradients(projector: Projector, quantity: Quantity) -> Iterator[SlangType]:
    if projector.gradient:
        yield projector.gradient.of(quantity.field)
    if projector.copies and quantity.sums.module == PLAIN.sums.module:
        kind = ROOT_CELLS if projector.copies.needed else EXACT_CELLS
        yield projector.copies.gradient.of(kind, quantity.field)
