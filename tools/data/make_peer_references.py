#!/usr/bin/env python3
"""Renders one small volume with nanodrr, DiffDRR and RTK, for tests/geometry/test_converters.py.

    make peers        # makes their environment, benchmarks/.venv-peers
    PY=benchmarks/.venv-peers/bin/python
    $PY tools/data/make_peer_references.py tests/data/peer_references.npz

The file holds the volume, each pose in the program's own words, each image, and the versions.
With --poses FILE, the poses are those of a JSON file: by name, with the class and its fields.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from fluoro.geometry.converters import DiffdrrPose, NanodrrPose, RtkPose
from fluoro.geometry.converters.patient_frames import turn
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

MU_PER_LEVEL = 1e-4
"""The volume is kept as whole numbers of this attenuation [1/mm]."""


def asymmetric_volume() -> MuVolume:
    """Five balls of different size in an oblique volume: no mirror image of itself."""
    grid = VolumeGrid(
        shape_zyx=(34, 40, 37),
        spacing_xyz_mm=(3.1, 2.7, 3.6),
        origin_xyz_mm=(-40.0, 35.0, -120.0),
        direction=tuple(map(tuple, turn("ZXY", (12.0, -7.0, 5.0)).tolist())),
    )
    z, y, x = np.indices(grid.shape_zyx).astype(float)
    levels = np.zeros(grid.shape_zyx)
    for center, radius, level in [
        ((18, 20, 17), 9.0, 60),
        ((9, 12, 10), 4.5, 190),
        ((27, 14, 22), 3.5, 240),
        ((23, 29, 9), 5.0, 120),
        ((12, 28, 26), 2.8, 250),
    ]:
        distance = np.sqrt((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2)
        levels += level * np.clip(radius - distance + 0.5, 0, 1)
    mu = np.rint(np.minimum(levels, 255)).astype(np.float32) * np.float32(MU_PER_LEVEL)
    return MuVolume(mu_zyx=mu, grid=grid)


def nanodrr_poses(grid: VolumeGrid) -> dict[str, NanodrrPose]:
    """Poses in nanodrr's words."""
    center = tuple(grid.center_xyz_mm.tolist())
    shared = {
        "sdd_mm": 1020.0,
        "height_px": 48,
        "width_px": 40,
        "delx_mm": 6.5,
        "dely_mm": 5.5,
        "x0_mm": 9.0,
        "y0_mm": -6.0,
        "isocenter_xyz_mm": center,
    }
    return {
        "AP": NanodrrPose(
            rotation_deg=(0, 0, 0), translation_mm=(0, 600, 0), orientation="AP", **shared
        ),
        "AP turned": NanodrrPose(
            rotation_deg=(25, -15, 8), translation_mm=(10, 600, -12), orientation="AP", **shared
        ),
        "PA": NanodrrPose(
            rotation_deg=(0, 0, 0), translation_mm=(0, -600, 0), orientation="PA", **shared
        ),
        "PA turned": NanodrrPose(
            rotation_deg=(-40, 20, 12), translation_mm=(-8, -610, 5), orientation="PA", **shared
        ),
    }


def diffdrr_poses(grid: VolumeGrid) -> dict[str, DiffdrrPose]:
    """Poses in DiffDRR's words."""
    shared = {
        "sdd_mm": 1020.0,
        "height_px": 41,
        "width_px": 46,
        "delx_mm": 6.0,
        "dely_mm": 6.5,
        "x0_mm": 9.0,
        "y0_mm": -7.0,
        "center_xyz_mm": tuple(grid.center_xyz_mm.tolist()),
    }
    return {
        "AP": DiffdrrPose(
            rotation_deg=(20, -10, 8), translation_mm=(10, 600, -12), orientation="AP", **shared
        ),
        "PA": DiffdrrPose(
            rotation_deg=(-30, 15, 5), translation_mm=(-8, -610, 5), orientation="PA", **shared
        ),
        "None, x not reversed": DiffdrrPose(
            rotation_deg=(5, -70, 10),
            translation_mm=(6, 9, -600),
            orientation=None,
            reverse_x_axis=False,
            **shared,
        ),
    }


def rtk_poses(grid: VolumeGrid) -> dict[str, RtkPose]:
    """Poses in RTK's words; the CT as it lies, so the isocentre is moved to its centre."""
    x, y, z = grid.center_xyz_mm.tolist()
    lps_from_rtk = ((1, 0, 0, x), (0, 1, 0, y), (0, 0, 1, z), (0, 0, 0, 1))
    shared = {
        "sdd_mm": 1100.0,
        "origin_xy_mm": (-124.0, -120.0),
        "spacing_xy_mm": (6.0, 5.5),
        "size_px": (42, 44),
        "lps_from_rtk": lps_from_rtk,
    }
    return {
        "zero": RtkPose(sid_mm=600.0, gantry_deg=0.0, **shared),
        "gantry": RtkPose(sid_mm=600.0, gantry_deg=70.0, **shared),
        "all": RtkPose(
            sid_mm=640.0,
            gantry_deg=-35.0,
            out_of_plane_deg=20.0,
            in_plane_deg=-15.0,
            offset_xy_mm=(14.0, -9.0),
            source_offset_xy_mm=(-11.0, 7.0),
            **shared,
        ),
    }


def render_nanodrr(volume: MuVolume, pose: NanodrrPose) -> np.ndarray:
    """Nanodrr's image, shape (height, width)."""
    import torch
    from nanodrr.camera import make_rt_inv
    from nanodrr.data import Subject
    from nanodrr.drr import DRR
    from torchio import ScalarImage

    ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    data = torch.from_numpy(np.ascontiguousarray(volume.mu_zyx.transpose(2, 1, 0)))[None]
    image = ScalarImage(tensor=data, affine=ras @ volume.grid.world_from_index)
    drr = DRR.from_carm_intrinsics(
        pose.sdd_mm,
        pose.delx_mm,
        pose.dely_mm,
        pose.x0_mm,
        pose.y0_mm,
        pose.height_px,
        pose.width_px,
    )
    rt_inv = make_rt_inv(
        torch.tensor([pose.rotation_deg], dtype=torch.float32),
        torch.tensor([pose.translation_mm], dtype=torch.float32),
        orientation=pose.orientation,
        isocenter=torch.tensor(ras[:3, :3] @ pose.isocenter_xyz_mm, dtype=torch.float32),
    )
    subject = Subject.from_images(image, convert_to_mu=False)
    return drr(subject, rt_inv, n_samples=400, backend="torch")[0, 0].numpy()


def render_diffdrr(volume: MuVolume, pose: DiffdrrPose) -> np.ndarray:
    """DiffDRR's image, shape (height, width)."""
    import torch
    from diffdrr.data import read
    from diffdrr.drr import DRR
    from torchio import ScalarImage

    ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    data = torch.from_numpy(np.ascontiguousarray(volume.mu_zyx.transpose(2, 1, 0)))[None]
    image = ScalarImage(tensor=data, affine=ras @ volume.grid.world_from_index)
    subject = read(image, orientation=pose.orientation)
    subject.density.set_data(data)
    drr = DRR(
        subject,
        pose.sdd_mm,
        pose.height_px,
        pose.delx_mm,
        width=pose.width_px,
        dely=pose.dely_mm,
        x0=pose.x0_mm,
        y0=pose.y0_mm,
        reverse_x_axis=pose.reverse_x_axis,
        renderer="trilinear",
    )
    rendered = drr(
        torch.tensor([pose.rotation_deg], dtype=torch.float32),
        torch.tensor([pose.translation_mm], dtype=torch.float32),
        parameterization="euler_angles",
        convention="ZXY",
        degrees=True,
        n_points=1500,
    )
    return rendered[0, 0].numpy()


def render_rtk(volume: MuVolume, pose: RtkPose) -> np.ndarray:
    """RTK's image, shape (rows, columns), by its Joseph projector."""
    import itk
    from itk import RTK

    image_type = itk.Image[itk.F, 3]
    ct = itk.image_from_array(volume.mu_zyx)
    rtk_from_lps = np.linalg.inv(np.asarray(pose.lps_from_rtk, float))
    origin = rtk_from_lps @ [*volume.grid.origin_xyz_mm, 1.0]
    ct.SetOrigin(origin[:3].tolist())
    ct.SetSpacing(volume.grid.spacing_xyz_mm)
    direction = rtk_from_lps[:3, :3] @ np.asarray(volume.grid.direction)
    ct.SetDirection(itk.matrix_from_array(np.ascontiguousarray(direction)))
    geometry = RTK.ThreeDCircularProjectionGeometry.New()
    geometry.AddProjection(
        pose.sid_mm,
        pose.sdd_mm,
        pose.gantry_deg,
        *pose.offset_xy_mm,
        pose.out_of_plane_deg,
        pose.in_plane_deg,
        *pose.source_offset_xy_mm,
    )
    empty = RTK.ConstantImageSource[image_type].New()
    empty.SetOrigin([*pose.origin_xy_mm, 0.0])
    empty.SetSpacing([*pose.spacing_xy_mm, 1.0])
    empty.SetSize([*pose.size_px, 1])
    joseph = RTK.JosephForwardProjectionImageFilter[image_type, image_type].New()
    joseph.SetGeometry(geometry)
    joseph.SetInput(0, empty.GetOutput())
    joseph.SetInput(1, ct)
    joseph.Update()
    return itk.array_from_image(joseph.GetOutput())[0].copy()


RENDERERS = {NanodrrPose: render_nanodrr, DiffdrrPose: render_diffdrr, RtkPose: render_rtk}
CLASSES = {kind.__name__: kind for kind in RENDERERS}


def reference_poses(grid: VolumeGrid) -> dict[str, Any]:
    """The poses of the kept images by name."""
    made = {"nanodrr": nanodrr_poses, "diffdrr": diffdrr_poses, "rtk": rtk_poses}
    return {
        f"{program} {name}": pose
        for program, poses in made.items()
        for name, pose in poses(grid).items()
    }


def tuples(value: Any) -> Any:
    """Lists of JSON as the dataclasses have them."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def read_poses(path: Path) -> dict[str, Any]:
    """Poses of a JSON file: {name: {"class": ..., and its fields}}."""
    poses = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: CLASSES[fields.pop("class")](**{key: tuples(value) for key, value in fields.items()})
        for name, fields in poses.items()
    }


def main() -> None:
    """Write the images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--poses", type=Path, help="JSON file of the poses to render")
    given = parser.parse_args()
    volume = asymmetric_volume()
    poses = read_poses(given.poses) if given.poses else reference_poses(volume.grid)
    images = {
        name: RENDERERS[type(pose)](volume, pose).astype(np.float32) for name, pose in poses.items()
    }
    packages = ("nanodrr", "diffdrr", "itk-rtk", "torch")
    record = {
        "versions": {package: metadata.version(package) for package in packages},
        "grid": asdict(volume.grid),
        "poses": {name: asdict(pose) for name, pose in poses.items()},
    }
    levels = np.rint(volume.mu_zyx / MU_PER_LEVEL).astype(np.uint8)
    np.savez_compressed(given.path, record=json.dumps(record), levels=levels, **images)
    print(f"{given.path}: {len(images)} images, {given.path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
