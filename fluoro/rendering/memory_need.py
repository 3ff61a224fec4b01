"""What a run will need of the machine's memory: volume, copies, labels."""

from __future__ import annotations

import logging

from fluoro.config import Config
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.packed_volume import Precision, packed_bytes
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import copies_fit
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.host_memory import available_memory_bytes, in_gib, require_memory

__all__ = ["memory_parts", "report_memory"]

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # the line is for every user

PROGRAM_BYTES = 400 * 2**20
"""Of Python, Holoscan, the page, encoder and images, measured with a small phantom."""
REPORTED_BYTES = 2**30
"""From which need on a line is logged; below it every machine has the memory."""
VOLUME_BYTES, LABEL_BYTES = 4, 4
"""A voxel: attenuation; a label as it is read (2), as a byte, and in what kernels read."""


def memory_parts(config: Config, grid: VolumeGrid, device: ComputeDevice) -> dict[str, int]:
    """Return what a stream needs at most on the host [bytes], by part.

    Args:
        config: What is to run.
        grid: Of the volume.
        device: Where it is rendered; copies of other devices than the CPU are in their memory.
    """
    voxels = grid.shape_zyx[0] * grid.shape_zyx[1] * grid.shape_zyx[2]
    parts = {"program": PROGRAM_BYTES, "volume": VOLUME_BYTES * voxels}
    if device.kind == "cpu":
        parts["copies"] = _copies_bytes(config, grid, device)
    if config.volume.labels is not None:
        parts["labels"] = LABEL_BYTES * voxels
    return parts


def _copies_bytes(config: Config, grid: VolumeGrid, device: ComputeDevice) -> int:
    copies = PROJECTORS[config.renderer.projector].copies
    if copies is None:
        return 0
    if copies.needed:
        return packed_bytes(grid.shape_xyz, copies.planes)
    exact = config.image_chain.xray is not None
    kind = Precision.EXACT if exact else Precision.ROOTS
    return packed_bytes(grid.shape_xyz, 1, precision=kind) * copies_fit(grid, device, kind)


def report_memory(config: Config, grid: VolumeGrid, device: ComputeDevice) -> None:
    """Log how much memory a large run needs, before it takes it.

    Raises:
        InputError: Copies and labels do not fit in what is available.
    """
    parts = memory_parts(config, grid, device)
    total, available = sum(parts.values()), available_memory_bytes()
    if total < REPORTED_BYTES:
        return
    words = ", ".join(f"{name} {in_gib(count)}" for name, count in parts.items() if count)
    left = "" if available is None else f"; {in_gib(available)} are available"
    log.info("memory: up to %s (%s)%s", in_gib(total), words, left)
    require_memory("copies and labels", total - parts["volume"])
    if available is not None and total > available:
        log.warning("the volume does not stay in memory: frames wait for the disk")
