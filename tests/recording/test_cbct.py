"""A rotational run and its geometry: RTK's FDK gives the volume back, where and as it was."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from fluoro.config import load_config
from fluoro.geometry.converters.leap import read_leap_file
from fluoro.geometry.converters.tigre import TigreGeometry
from fluoro.volume.hu_to_mu import mu_water_per_mm
from tests.session_support import ROOT, QuietReporter, run_session, small_ct, use_cache

VOXELS, EDGE_MM = 96, 2.0
RADIUS_MM = 75.0
BALL_MM, BALL_RADIUS_MM = np.array([30.0, 20.0, 15.0]), 12.0
"""Of bone, to the left, back and head of the middle."""


def rtk_python():
    """Interpreter of RTK's environment; without it the test is skipped by its name."""
    python = Path(os.environ.get("FLUORO_RTK_PYTHON", ROOT / "benchmarks/.venv-rtk/bin/python"))
    if python.is_file():
        return python
    reason = f"needs RTK in {python} (make peers-rtk)"
    if os.environ.get("FLUORO_REQUIRE_PEERS") == "1":
        pytest.fail(reason, pytrace=False)
    return pytest.skip(reason)


def places(voxels=VOXELS):
    """Patient LPS of the voxels' centres about the isocentre [mm], each (z, y, x)."""
    at = (np.arange(voxels) - (voxels - 1) / 2) * EDGE_MM
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    return x, y, z


def cylinder(folder):
    """A CT of water, a cylinder along the patient with a ball of bone in it; a NIfTI file."""
    fine, edge = 192, 1.0
    at = (np.arange(fine) - (fine - 1) / 2) * edge
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    hu = np.full((fine,) * 3, -1000, np.int16)
    hu[(np.hypot(x, y) < RADIUS_MM) & (np.abs(z) < 60)] = 0
    ball = np.sqrt(sum((a - b) ** 2 for a, b in zip((x, y, z), BALL_MM, strict=True)))
    hu[ball < BALL_RADIUS_MM] = 1000
    image = sitk.GetImageFromArray(hu)
    image.SetOrigin([at[0]] * 3)
    path = folder / "cylinder.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def recorded(ct, folder, name, *changes):
    """Folder of configs/cbct.yaml run with a CT."""
    overrides = [
        *("volume.phantom=null", f"volume.path={ct}", "volume.spacing_mm=null"),
        *("carm.detector_width_px=160", "carm.detector_height_px=96"),
        *("run.frames=240", "pose_source.degrees_per_second=22.5", "console.enabled=false"),
        *(f"run.output_dir={folder}", f"run.name={name}", *changes),
    ]
    return run_session(load_config(ROOT / "configs/cbct.yaml", overrides), name, QuietReporter())


def reconstructed(run):
    """HU of a run that RTK has reconstructed, shape (z, y, x) of patient LPS."""
    output = run / "volume.npy"
    command = [rtk_python(), ROOT / "benchmarks/peers/rtk_fdk.py", run, "--voxels",
               *[str(VOXELS)] * 3, "--spacing", str(EDGE_MM), "--output", output]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (np.load(output) / mu_water_per_mm(70) - 1) * 1000


def water(away_mm=22.0):
    """Voxels of water that are not near an edge."""
    x, y, z = places()
    ball = np.sqrt(sum((a - b) ** 2 for a, b in zip((x, y, z), BALL_MM, strict=True)))
    return (np.hypot(x, y) < RADIUS_MM - 15) & (np.abs(z) < 30) & (ball > away_mm)


def half_height_mm(profile, at_mm):
    """Where a profile crosses half of its step, from outside."""
    half = profile.max() / 2 + profile.min() / 2
    first = int(np.argmax(profile > half))
    low, high = profile[first - 1], profile[first]
    share = (half - low) / (high - low)
    return at_mm[first - 1] + share * (at_mm[first] - at_mm[first - 1])


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rtk_reconstructs_a_rotational_run(tmp_path, monkeypatch):
    rtk_python()
    use_cache(tmp_path, monkeypatch)
    ct = cylinder(tmp_path)
    hu = reconstructed(recorded(ct, tmp_path, "one").folder)
    inside = water()
    assert abs(hu[inside].mean()) < 10
    x, y, z = places()
    bone = np.array([axis[hu > 500].mean() for axis in (x, y, z)])
    assert np.allclose(bone, BALL_MM, atol=EDGE_MM / 2), "mirrored, or in another place"
    ball = np.sqrt(sum((a - b) ** 2 for a, b in zip((x, y, z), BALL_MM, strict=True)))
    assert abs(hu[ball < BALL_RADIUS_MM - 4].mean() - 1000) < 25
    middle, line = VOXELS // 2, (np.arange(VOXELS) - (VOXELS - 1) / 2) * EDGE_MM
    for profile in (hu[middle - 5, middle], hu[middle - 5, :, middle]):
        smooth = profile.copy()
        edges = half_height_mm(smooth, line), -half_height_mm(smooth[::-1], line)
        assert edges == pytest.approx((-RADIUS_MM, RADIUS_MM), abs=EDGE_MM / 2)


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_spectrum_and_scatter_give_cupping(tmp_path, monkeypatch):
    rtk_python()
    use_cache(tmp_path, monkeypatch)
    changes = ("renderer.projector=joseph", "image_chain.xray={}", "image_chain.scatter={}")
    hu = reconstructed(recorded(cylinder(tmp_path), tmp_path, "many", *changes).folder)
    x, y, _ = places()
    inside, radius = water(30.0), np.hypot(x, y)
    centre = hu[inside & (radius < 15)].mean()
    rim = hu[inside & (radius > 50)].mean()
    assert rim - centre > 50


def test_a_run_leaves_its_geometry_for_other_programs(tmp_path, monkeypatch):
    use_cache(tmp_path, monkeypatch)
    outcome = recorded(small_ct(tmp_path), tmp_path, "run", "run.frames=4")
    folder = outcome.folder / "geometry"
    about = json.loads((folder / "about.json").read_text())
    center = about["isocenter_lps_mm"]
    matrices = np.load(outcome.folder / "frames.npz")["pixel_from_world"]
    views = read_leap_file(folder / "leap.txt", center)
    fields = dict(np.load(folder / "tigre.npz"))
    tigre = TigreGeometry(**{**fields, "spacing_vu_mm": tuple(fields["spacing_vu_mm"]),
                             "size_vu": tuple(fields["size_vu"].tolist())})  # fmt: skip
    for view, other, matrix in zip(views, tigre.views(center), matrices, strict=True):
        found = view.pixel_from_world
        assert np.allclose(found / found[2, 3], matrix / matrix[2, 3], atol=1e-6)
        mirrored = other.mirrored().pixel_from_world
        assert np.allclose(mirrored / mirrored[2, 3], matrix / matrix[2, 3], atol=1e-6)
    assert np.load(folder / "astra.npy").shape == (4, 12)
    assert (folder / "rtk.xml").read_text().count("<Projection>") == 4
