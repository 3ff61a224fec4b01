"""A volume is read, mapped and rendered in the memory of a few planes, however large it is.

Each case runs in a process that may take only so much private memory (RLIMIT_DATA) beyond what it
has after its imports; mapped files do not count, because the system drops their pages at will.
"""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.volume_files import meta_bytes, nifti_bytes, nrrd_bytes

MIB = 1 << 20
SCRIPT = """
import json, os, resource, sys
from pathlib import Path
import numpy as np
import scipy.sparse, SimpleITK  # which fluoro imports when it opens a file
from fluoro.config import VolumeConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.load import load_volume
from fluoro.volume.open_ct import open_ct
from fluoro.volume.volumes import MuVolume

path, cache, room_mib, how = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
carm = CarmGeometry(detector_width_px=9, detector_height_px=9, pixel_spacing_mm=1)
device = open_device("cpu", workers=1)

def central(volume):
    view = carm.view(CarmPose(), volume.grid.center_xyz_mm)
    return float(DrrRenderer(volume, device).render(view)[4, 4])

def status(key):
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key + ":"))) << 10

small = VolumeGrid(shape_zyx=(4, 4, 4), spacing_xyz_mm=(1.0, 1.0, 1.0))
central(MuVolume(mu_zyx=np.zeros((4, 4, 4), np.float32), grid=small))  # kernels are compiled
os.environ["FLUORO_CACHE_DIR"] = cache
limit = status("VmData") + (room_mib << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
before = status("RssAnon")
if how == "whole":
    open_ct(path).volume()
    sys.exit()
volume = load_volume(VolumeConfig.model_validate({"path": path, **json.loads(how)}))
facts = {
    "line_integral": central(volume),
    "mu_mib": volume.mu_zyx.nbytes >> 20,
    "mapped": isinstance(volume.mu_zyx, np.memmap),
    "grown_mib": (status("RssAnon") - before) >> 20,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
}
print(json.dumps(facts))
"""
WATER = 0.01928912
"""Attenuation of water at 70 keV [1/mm]."""


def run_limited(path, room_mib, how="{}"):
    """The script's result, or its error."""
    arguments = [str(path), str(path.parent / "cache"), str(room_mib), how]
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )


def water(folder, name, shape_zyx):
    """A CT of 0 HU in 1 mm voxels; uncompressed files are holes on the disk."""
    z, y, x = shape_zyx
    size = f"{x} {y} {z}"
    head = {
        "nii": nifti_bytes(b"", dim=(3, x, y, z, 1, 1, 1, 1), pixdim=(1, 1, 1, 1, 0, 0, 0, 0),
                           srow=(-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0)),
        "mha": meta_bytes(b"", DimSize=size, ElementSpacing="1 1 1"),
        "nrrd": nrrd_bytes(b"", sizes=size, space_directions="(1,0,0) (0,1,0) (0,0,1)"),
    }[name.split(".")[1]]  # fmt: skip
    path = folder / name
    if name.endswith(".gz"):
        with gzip.open(path, "wb", compresslevel=1) as packed:
            packed.writelines([head, *[bytes(2 * y * x)] * z])
    else:
        path.write_bytes(head)
        os.truncate(path, len(head) + 2 * z * y * x)
    return path


@pytest.fixture(autouse=True)
def _needs_linux():
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux's /proc and RLIMIT_DATA")


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_a_volume_of_128_mib_is_loaded_and_rendered_in_24(tmp_path, name):
    path = water(tmp_path, name, (128, 512, 512))
    done = run_limited(path, room_mib=24)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["mapped"]
    assert facts["mu_mib"] == 128
    assert facts["line_integral"] == pytest.approx(512 * WATER, rel=1e-4)
    assert facts["grown_mib"] < 24


@pytest.mark.parametrize("name", ["ct.npy", "ct.raw"])
def test_a_plain_array_of_float64_is_loaded_plane_by_plane_too(tmp_path, name):
    path = tmp_path / name
    shape = (64, 512, 512)
    place = {"spacing_xyz_mm": [1, 1, 1], "origin_xyz_mm": [0, 0, 0]}
    array = {**place, "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1], "shape_zyx": shape}
    if name == "ct.npy":
        np.lib.format.open_memmap(path, "w+", np.float64, shape).flush()
    else:
        path.touch()
        os.truncate(path, 8 * 64 * 512 * 512)
    done = run_limited(path, room_mib=24, how=json.dumps({"array": {**array, "dtype": "float64"}}))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["mapped"], facts["mu_mib"]) == (True, 64)
    assert facts["line_integral"] == pytest.approx(512 * WATER, rel=1e-4)
    assert facts["grown_mib"] < 24


def test_resampling_and_cropping_need_no_more(tmp_path):
    how = {"spacing_mm": [1, 1, 2], "crop_mm": {"min": [None, None, 20]}}
    path = water(tmp_path, "ct.mha", (128, 512, 512))
    done = run_limited(path, room_mib=32, how=json.dumps(how))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["mu_mib"] == 64
    assert facts["line_integral"] == pytest.approx(512 * WATER, rel=1e-4)


def test_reading_it_whole_breaks_the_same_limit(tmp_path):
    """So that the limit is one."""
    path = water(tmp_path, "ct.mha", (128, 512, 512))
    done = run_limited(path, room_mib=24, how="whole")
    assert done.returncode != 0
    assert "InputError" in done.stderr or "MemoryError" in done.stderr


@pytest.mark.slow
def test_a_volume_of_1_gib_is_loaded_and_rendered_in_32_mib(tmp_path):
    path = water(tmp_path, "ct.nii", (1024, 512, 512))
    done = run_limited(path, room_mib=32)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["mu_mib"], facts["mapped"]) == (1024, True)
    assert facts["line_integral"] == pytest.approx(512 * WATER, rel=1e-4)
    assert facts["grown_mib"] < 32
