"""Measures the figures of docs/validation.md that the tests only hold to limits.

    .venv/bin/python tools/check/measure_gates.py        prints rows for its tables

Takes about a minute on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluoro.geometry.view_derivatives import rigid_motions
from fluoro.rendering import reference
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import DrrRenderer
from tests import test_derivatives, volumes

VOLUMES = ("constant", "linear", "gaussian", "sphere", "noise")


def deviation(image, exact):
    """Root mean square and largest deviation, relative to the largest value."""
    off = np.abs(image - exact) / exact.max()
    return np.sqrt(np.mean(off**2)), off.max()


def worst(figures):
    """The largest of each column."""
    return np.max(np.array(figures), axis=0)


def projectors(device):
    """Compare with the exact integral and with the references, worst of all poses."""
    print(
        "| volume | march 0.5 voxel, exact: RMSE / max | joseph, exact | joseph, reference: max |"
        " siddon, reference: max |"
    )
    for name in VOLUMES:
        volume = getattr(volumes, name)()
        rows = []
        for label, pose in volumes.POSES.items():
            view = volumes.view(pose)
            exact = reference.exact_integrals(volume, view)
            march = deviation(DrrRenderer(volume, device).render(view), exact)
            image = DrrRenderer(volume, device, projector="joseph").render(view)
            joseph = deviation(image, exact)
            off_joseph = deviation(image, reference.joseph_reference(volume, view))[1]
            siddon = 0.0
            if label != "lateral":  # there a row of rays runs along voxel faces
                image = DrrRenderer(volume, device, projector="siddon").render(view)
                siddon = deviation(image, reference.siddon_reference(volume, view))[1]
            rows.append([*march, *joseph, off_joseph, siddon])
        m = worst(rows)
        print(
            f"| {name} | {m[0]:.1e} / {m[1]:.1e} | {m[2]:.1e} / {m[3]:.1e} | {m[4]:.1e} |"
            f" {m[5]:.1e} |"
        )


def derivatives(device):
    """Compare pose Jacobians with central differences of the references, worst of all poses."""
    print("| projector | noise | sphere | Gaussian |")
    center = volumes.GRID.center_xyz_mm
    for projector in PROJECTORS:
        cells = []
        for name in ("noise", "sphere", "gaussian"):
            volume, found = test_derivatives.VOLUMES[name], []
            for pose in test_derivatives.POSES.values():
                view = volumes.view(pose)
                renderer = DrrRenderer(volume, device, projector=projector)
                _, jacobian = renderer.render_jacobian(view, center)
                expected = test_derivatives.differences(
                    projector, volume, view, rigid_motions(view, center), test_derivatives.STEPS
                )
                found.append(test_derivatives.relative(jacobian, expected).max())
            cells.append(f"{max(found):.1e}")
        print(f"| {projector} | {' | '.join(cells)} |")


if __name__ == "__main__":
    cpu = open_device("cpu")
    projectors(cpu)
    derivatives(cpu)
