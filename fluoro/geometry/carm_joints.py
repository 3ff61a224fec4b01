"""The C-arm's own chain of joints, whose motions in turn are `CarmPose.world_from_carm`."""

from __future__ import annotations

from fluoro.names import JointKind

__all__ = ["CARM_CHAIN"]

CARM_CHAIN: tuple[tuple[str, JointKind, tuple[float, float, float]], ...] = (
    ("carm_x", "prismatic", (1.0, 0.0, 0.0)),
    ("carm_y", "prismatic", (0.0, 1.0, 0.0)),
    ("carm_z", "prismatic", (0.0, 0.0, 1.0)),
    ("carm_lao", "revolute", (0.0, 0.0, 1.0)),
    ("carm_cra", "revolute", (-1.0, 0.0, 0.0)),
    ("carm_roll", "revolute", (0.0, 1.0, 0.0)),
)
"""Name, kind and axis of each joint, from the isocentre on (docs/conventions.md)."""
