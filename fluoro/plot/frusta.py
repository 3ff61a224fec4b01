"""Camera poses as frusta around the patient: one HTML page that needs nothing else."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.files.atomic_write import replacing
from fluoro.geometry.projection import View
from fluoro.volume.grid import VolumeGrid

__all__ = ["frusta_page", "write_frusta"]

COLOUR = "#7fb2e5"
DECIMALS = 2


def write_frusta(
    path: Path | str,
    views: Mapping[str, View],
    *,
    title: str = "Camera poses",
    grid: VolumeGrid | None = None,
    points_xyz_mm: ArrayLike = (),
    colours: Mapping[str, str] | None = None,
) -> None:
    """Write `frusta_page` to a file; arguments as there.

    Raises:
        InputError: No views.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    page = frusta_page(views, title=title, grid=grid, points_xyz_mm=points_xyz_mm, colours=colours)
    with replacing(path) as file:
        file.write(page)


def frusta_page(
    views: Mapping[str, View],
    *,
    title: str = "Camera poses",
    grid: VolumeGrid | None = None,
    points_xyz_mm: ArrayLike = (),
    colours: Mapping[str, str] | None = None,
) -> str:
    """Return an HTML page with each view as a pyramid from its source to its detector.

    Args:
        views: By name, patient LPS [mm].
        title: Above it.
        grid: Volume whose box is drawn; None: none.
        points_xyz_mm: Landmarks in LPS [mm], shape (N, 3).
        colours: CSS colour of each name; others are blue.

    Raises:
        InputError: No views.
    """
    if not views:
        raise InputError("views must hold at least one view, got none")
    points = np.asarray(points_xyz_mm, float).reshape(-1, 3)
    frusta = [
        {
            "name": name,
            "colour": (colours or {}).get(name, COLOUR),
            "source": _plain(view.source_xyz_mm),
            "corners": _plain(_corners(view)),
        }
        for name, view in views.items()
    ]
    center, radius_mm = _sphere(views.values(), grid, points)
    scene: dict[str, Any] = {
        "center_mm": _plain(center),
        "radius_mm": radius_mm,
        "box": [] if grid is None else _plain(_box_edges(grid)),
        "points": _plain(points),
        "frusta": frusta,
    }
    template = (files("fluoro.plot") / "web" / "frusta.html").read_text("utf-8")
    # "<" would end the script inside a name
    text = json.dumps(scene).replace("<", "\\u003c")
    return template.replace("__TITLE__", html.escape(title)).replace("__SCENE__", text)


def _corners(view: View) -> NDArray[np.float64]:
    """The detector's corners in turn, from the image's top left, shape (4, 3)."""
    across = view.column_step_xyz_mm * view.width_px
    down = view.row_step_xyz_mm * view.height_px
    first = view.corner_xyz_mm
    return np.array([first, first + across, first + across + down, first + down])


def _box_edges(grid: VolumeGrid) -> NDArray[np.float64]:
    """The twelve edges of a volume, shape (12, 2, 3)."""
    ends = [(-0.5, count - 0.5) for count in grid.shape_xyz]
    corners = [np.array(each) for each in product(*ends)]
    edges = [pair for pair in combinations(corners, 2) if np.count_nonzero(pair[0] - pair[1]) == 1]
    indices = np.concatenate([np.array(edges), np.ones((len(edges), 2, 1))], axis=-1)
    return np.asarray((indices @ grid.world_from_index.T)[..., :3])


def _sphere(
    views: Iterable[View], grid: VolumeGrid | None, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """A centre to look at, and the distance of the farthest source or detector [mm]."""
    every = np.concatenate([[view.source_xyz_mm, *_corners(view)] for view in views])
    if grid is not None:
        center = grid.center_xyz_mm
    else:
        center = points.mean(axis=0) if len(points) else every.mean(axis=0)
    return center, float(np.linalg.norm(every - center, axis=1).max())


def _plain(values: NDArray[np.float64]) -> Any:
    return np.round(values, DECIMALS).tolist()
