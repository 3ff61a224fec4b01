"""The volume cache: quick, never stale, never half-written, rebuilt when damaged."""

import errno
import functools
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from fluoro.config import VolumeConfig
from fluoro.errors import InputError, OutputError
from fluoro.volume import load
from fluoro.volume.formats.itk_ct import ItkCt
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import mu_from_hu
from fluoro.volume.load import load_volume
from fluoro.volume.open_ct import open_ct
from fluoro.volume.phantom.thorax import make_thorax
from fluoro.volume.store import atomic_folder, volume_cache, volume_folder
from fluoro.volume.store.atomic_folder import content_sha256
from fluoro.volume.store.volume_cache import CacheKey, open_volume, store_volume
from tests.volume_files import meta_bytes, nifti_bytes, nrrd_bytes, ramp, saved, written

GRID = VolumeGrid(
    shape_zyx=(3, 4, 5),
    spacing_xyz_mm=(0.7, 0.8, 0.9),
    origin_xyz_mm=(-1.5, 2.5, 1 / 3),
    direction=((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
)
MU = np.random.default_rng(3).random(GRID.shape_zyx, np.float32)
KEY = CacheKey(source={"kind": "file", "sha256": "a" * 64}, settings={"energy_kev": 70.0})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def store(key=KEY, planes=MU):
    return store_volume(key, grid=GRID, source="a CT", planes=iter(planes))


def test_a_stored_volume_comes_back_mapped_and_equal():
    assert open_volume(KEY) is None
    for volume in (store(), open_volume(KEY)):
        assert isinstance(volume.mu_zyx, np.memmap)
        assert volume.mu_zyx.flags.c_contiguous
        assert not volume.mu_zyx.flags.writeable
        np.testing.assert_array_equal(volume.mu_zyx, MU)
        assert volume.grid == GRID
        assert volume.source == "a CT"


def test_the_file_is_a_plain_npy_that_anyone_can_read():
    store()
    np.testing.assert_array_equal(np.load(KEY.folder() / "mu_volume.npy"), MU)
    facts = json.loads((KEY.folder() / "volume.json").read_text())["volume"]
    assert facts["key"]["settings"] == {"energy_kev": 70.0}


@pytest.mark.parametrize(
    "other",
    [
        CacheKey(source=KEY.source, settings={"energy_kev": 60.0}),
        CacheKey(source={"kind": "file", "sha256": "b" * 64}, settings=KEY.settings),
    ],
)
def test_another_source_or_setting_is_another_entry(other):
    store()
    assert open_volume(other) is None


def test_another_format_version_is_another_entry(monkeypatch):
    store()
    monkeypatch.setattr(volume_cache, "FORMAT_VERSION", volume_cache.FORMAT_VERSION + 1)
    assert open_volume(KEY) is None


def _cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def _flip_last_bit(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _another_spacing(path):
    path.write_text(path.read_text().replace("0.7", "0.6", 1))


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("mu_volume.npy", _cut),
        ("mu_volume.npy", _flip_last_bit),
        ("mu_volume.npy", lambda path: path.unlink()),
        ("volume.json", _cut),
        ("volume.json", _another_spacing),
        ("volume.json", lambda path: path.write_text("[]")),
        ("volume.json", lambda path: path.unlink()),
    ],
    ids=["voxels cut", "voxel changed", "voxels gone", "facts cut", "facts changed", "facts other",
         "facts gone"],
)  # fmt: skip
def test_a_damaged_entry_is_reported_and_made_again(name, harm, caplog):
    store()
    harm(KEY.folder() / name)
    with caplog.at_level(logging.WARNING):
        assert open_volume(KEY) is None
    assert "damaged and is made again" in caplog.text
    np.testing.assert_array_equal(store().mu_zyx, MU)
    assert open_volume(KEY) is not None


def test_a_voxel_changed_between_the_samples_is_seen_and_all_are_read_once_only(
    monkeypatch, caplog
):
    monkeypatch.setattr(volume_folder, "SAMPLE_BYTES", 8)
    monkeypatch.setattr(volume_folder, "SAMPLES", 2)
    monkeypatch.setattr(atomic_folder, "SETTLED_AFTER_NS", -1)
    store()
    assert open_volume(KEY) is not None
    real, read = atomic_folder._sha256, []
    monkeypatch.setattr(atomic_folder, "_sha256", lambda *a: read.append(a) or real(*a))
    assert open_volume(KEY) is not None
    assert read == []
    voxels = KEY.folder() / "mu_volume.npy"
    raw = bytearray(voxels.read_bytes())
    raw[-60] ^= 1
    voxels.write_bytes(raw)
    assert open_volume(KEY) is None
    assert "mu_volume.npy does not match its checksum" in caplog.text
    assert len(read) == 1


def test_an_entry_under_a_wrong_name_is_not_used(caplog):
    other = CacheKey(source={"kind": "file"}, settings={})
    store()
    shutil.copytree(KEY.folder(), other.folder())
    assert open_volume(other) is None
    assert "belongs to another source" in caplog.text


@pytest.mark.parametrize("planes", [MU[:2], [*MU, MU[0]], MU[:, :2]])
def test_planes_that_do_not_fill_the_grid_leave_nothing(planes, folder):
    with pytest.raises(InputError, match="plane"):
        store(planes=planes)
    assert list((folder / "volumes").iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(folder):
    def planes():
        yield MU[0]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match=r"No space left on device \(set FLUORO_CACHE_DIR") as e:
        store(planes=planes())
    assert "\n" not in str(e.value)
    assert str(folder / "volumes") in str(e.value)
    assert list((folder / "volumes").iterdir()) == []


def test_a_full_device_is_one_line(monkeypatch):
    """Linux's /dev/full fails as a full disk does, at the write itself."""
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("needs /dev/full")
    real = volume_folder._write_npy

    def to_full_device(file, *args):
        with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
            return real(full, *args)

    monkeypatch.setattr(volume_folder, "_write_npy", to_full_device)
    with pytest.raises(OutputError, match="No space left on device"):
        store()


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"file/volumes: the cache cannot be written: .*FLUORO_C"):
        store()


def _die_midway(folder):
    os.environ["FLUORO_CACHE_DIR"] = folder

    def planes():
        yield MU[0]
        os._exit(9)

    store(planes=planes())


def test_a_crash_leaves_the_earlier_entry_and_its_remains_are_removed(folder):
    store()
    dying = multiprocessing.get_context("spawn").Process(target=_die_midway, args=(str(folder),))
    dying.start()
    dying.join(60)
    assert dying.exitcode == 9
    np.testing.assert_array_equal(open_volume(KEY).mu_zyx, MU)
    (left,) = (path for path in (folder / "volumes").iterdir() if path != KEY.folder())
    store()
    assert left.exists()  # young: another process may be at it
    old = time.time() - 2 * atomic_folder.ABANDONED_AFTER_S
    for path in (*left.iterdir(), left):
        os.utime(path, (old, old))
    store()
    assert not left.exists()


def _store_often(folder, start):
    os.environ["FLUORO_CACHE_DIR"] = folder
    start.wait()
    for _ in range(20):
        assert np.array_equal(store().mu_zyx, MU)
        assert np.array_equal(open_volume(KEY).mu_zyx, MU)


def test_a_good_entry_is_not_replaced_under_its_users(folder):
    store()
    before = (KEY.folder() / "mu_volume.npy").stat().st_ino
    store()
    assert (KEY.folder() / "mu_volume.npy").stat().st_ino == before
    assert [path.name for path in (folder / "volumes").iterdir()] == [KEY.folder().name]


def test_two_processes_may_store_the_same_volume_at_once(folder):
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    workers = [context.Process(target=_store_often, args=(str(folder), start)) for _ in range(2)]
    for worker in workers:
        worker.start()
    start.set()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [path.name for path in (folder / "volumes").iterdir()] == [KEY.folder().name]
    np.testing.assert_array_equal(open_volume(KEY).mu_zyx, MU)


# Content hashes


def _age(path, by_s=100):
    """Pretend that the file has not been touched for a while."""
    then = time.time_ns() - by_s * 10**9
    os.utime(path, ns=(then, then))


def test_a_content_hash_follows_the_content(tmp_path):
    path = tmp_path / "x"
    hashes = set()
    for content in (b"one", b"two", b"six"):
        path.write_bytes(content)
        hashes.add(content_sha256(path))
    assert len(hashes) == 3


def test_reading_a_large_file_for_its_hash_tells_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_folder, "PIECE_BYTES", 4)
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    told = []
    assert content_sha256(path, told.append) == hashlib.sha256(b"0123456789").hexdigest()
    assert told == [0.4, 0.8, 1.0]


def test_an_unchanged_file_is_not_read_again(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"one")
    monkeypatch.setattr(atomic_folder, "SETTLED_AFTER_NS", -1)
    first = content_sha256(path)
    monkeypatch.setattr(atomic_folder, "_sha256", lambda *_: pytest.fail("was read again"))
    assert content_sha256(path) == first


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_folder, "SETTLED_AFTER_NS", -1)
    path = tmp_path / "x"
    path.write_bytes(b"one")
    status = path.stat()
    first = content_sha256(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_sha256(path) != first


def test_a_damaged_memory_of_hashes_is_ignored(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(atomic_folder, "SETTLED_AFTER_NS", -1)
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = content_sha256(path)
    (note,) = (folder / "hashes").iterdir()
    note.write_text("{")
    assert content_sha256(path) == first


# Loading


def test_loading_maps_a_ct_to_attenuation_and_the_second_time_reads_no_ct(tmp_path, monkeypatch):
    path = saved(tmp_path, "ct.nii.gz")
    told = []
    first = load_volume(VolumeConfig(path=path), lambda what, part: told.append((what, part)))
    np.testing.assert_array_equal(first.mu_zyx, mu_from_hu(ramp(), 70.0))
    assert told[0] == ("reading ct.nii.gz", 0.0)
    assert told[-1] == ("attenuation of ct.nii.gz", 1.0)
    monkeypatch.setattr(ItkCt, "grid", property(lambda _: pytest.fail("was read again")))
    again = load_volume(VolumeConfig(path=path))
    np.testing.assert_array_equal(again.mu_zyx, first.mu_zyx)
    assert again.grid == first.grid


def test_a_copy_of_a_ct_shares_its_entry_under_its_own_name(tmp_path, folder):
    first = saved(tmp_path, "ct.nii.gz")
    load_volume(VolumeConfig(path=first))
    second = shutil.copy(first, tmp_path / "copy.nii.gz")
    assert load_volume(VolumeConfig(path=second)).source == str(second)
    assert len(list((folder / "volumes").iterdir())) == 1


def test_a_changed_ct_or_energy_is_not_served_from_the_cache(tmp_path):
    path = written(tmp_path, "ct.mha", meta_bytes())
    load_volume(VolumeConfig(path=path))
    other_energy = load_volume(VolumeConfig(path=path, hu_to_mu={"energy_kev": 60.0}))
    np.testing.assert_array_equal(other_energy.mu_zyx, mu_from_hu(ramp(), 60.0))
    written(tmp_path, "ct.mha", meta_bytes(ramp() + 7))
    changed = load_volume(VolumeConfig(path=path))
    np.testing.assert_array_equal(changed.mu_zyx, mu_from_hu(ramp() + 7, 70.0))


def test_changed_voxels_beside_an_unchanged_header_are_seen(tmp_path):
    path = saved(tmp_path, "ct.mhd")
    load_volume(VolumeConfig(path=path))
    (tmp_path / "ct.raw").write_bytes((ramp() + 9).tobytes())
    volume = load_volume(VolumeConfig(path=path))
    np.testing.assert_array_equal(volume.mu_zyx, mu_from_hu(ramp() + 9, 70.0))


def test_a_doubtful_orientation_is_reported_each_time(tmp_path, caplog):
    path = written(tmp_path, "ct.nii", nifti_bytes(sform_code=0))
    for _ in range(2):
        load_volume(VolumeConfig(path=path))
    assert sum("does not say how the patient lies" in text for text in caplog.messages) == 2


def test_a_ct_that_was_not_fetched_names_the_command():
    with pytest.raises(InputError, match=r"cache:chest-ct: is not fetched yet; run `app.py fetch"):
        load_volume(VolumeConfig(path=Path("cache:chest-ct")))
    with pytest.raises(InputError, match="there is no data set 'nose'; there are: chest-ct"):
        load_volume(VolumeConfig(path=Path("cache:nose")))


def test_a_phantom_is_made_once_and_again_when_its_code_changes(monkeypatch):
    config = VolumeConfig(phantom="thorax", spacing_mm=8.0)
    first = load_volume(config)
    assert first.mu_zyx.max() > 0.02
    assert first.source == "thorax phantom, 8 mm"
    made = []
    real = load._phantom_hu
    monkeypatch.setattr(load, "_phantom_hu", lambda *given: made.append(given[1]) or real(*given))
    load_volume(config)
    assert made == []
    monkeypatch.setattr(load, "phantom_code", lambda _: "other")
    np.testing.assert_array_equal(load_volume(config).mu_zyx, first.mu_zyx)
    assert made == [8.0]


def _settings_of_a_volume():
    return {
        "spacing_mm": 2.5,
        "crop_mm": {"max": [13, None, None]},
        "hu_to_mu": {"kind": "linear"},
        "hu_clip_min": -300,
        "hu_clip_max": 200,
        "bone_multiplier": 2,
    }


def test_every_setting_makes_another_volume_with_an_entry_of_its_own(tmp_path, folder):
    path = saved(tmp_path, "ct.nii.gz")
    volumes = [load_volume(VolumeConfig(path=path))]
    for key, value in _settings_of_a_volume().items():
        volumes.append(load_volume(VolumeConfig.model_validate({"path": path, key: value})))
    kept = {volume.mu_zyx.tobytes() for volume in volumes}
    assert len(kept) == len(volumes)
    assert len(list((folder / "volumes").iterdir())) == len(volumes)


def test_settings_written_otherwise_are_the_same_entry(tmp_path, folder):
    path = saved(tmp_path, "ct.nii.gz")
    load_volume(VolumeConfig(path=path, spacing_mm=2))
    load_volume(
        VolumeConfig.model_validate(
            {"path": path, "spacing_mm": [2.0, 2.0, 2.0], "hu_to_mu": {"energy_kev": 70}}
        )
    )
    assert len(list((folder / "volumes").iterdir())) == 1


def test_dense_voxels_out_of_range_are_counted_and_reported_each_time(tmp_path, caplog):
    path = written(tmp_path, "ct.mha", meta_bytes(ramp() * 10))
    for _ in range(2):
        volume = load_volume(VolumeConfig(path=path))
    above = np.count_nonzero(ramp() * 10 > 3071)
    line = f"{above} CT numbers ({above / 120:.2%}) lie above 3071 HU and are taken as that"
    assert [text.endswith(line) for text in caplog.messages] == [True, True]
    below = np.count_nonzero(ramp() * 10 < -1024)
    assert (volume.statistics.below, volume.statistics.above) == (below, above)
    assert volume.statistics.hu_range == (-5000, 6900)
    caplog.clear()
    load_volume(VolumeConfig(path=path, hu_clip_max=None))
    assert caplog.messages == []  # padding is air in any case: no warning


def test_a_ct_without_air_is_doubted_each_time_but_not_a_part_of_one(tmp_path, caplog):
    """As files are with 1024 added, or scaled to [0, 1]."""
    path = written(tmp_path, "ct.mha", meta_bytes(np.abs(ramp())))
    for _ in range(2):
        load_volume(VolumeConfig(path=path))
    doubt = f"{path}: no voxel is below -500 HU: are these CT numbers?"
    assert caplog.messages == [doubt, doubt]
    caplog.clear()
    load_volume(VolumeConfig(path=path, crop_mm={"min": [None, None, 0.0]}))
    assert caplog.messages == []


def test_a_ct_whose_background_is_masked_is_doubted_each_time(tmp_path, caplog):
    hu = np.zeros((4, 5, 6), "<i2")
    hu[1:3, 1:4, 1:5] = -800
    path = written(tmp_path, "ct.mha", meta_bytes(hu))
    for _ in range(2):
        load_volume(VolumeConfig(path=path))
    doubt = f"{path}: its corners are exactly 0 HU, which is water: is the background masked?"
    assert [text.startswith(doubt) for text in caplog.messages] == [True, True]


def test_cropping_and_resampling_are_those_of_the_volume(tmp_path):
    path = saved(tmp_path, "ct.nii.gz")
    whole = load_volume(VolumeConfig(path=path))
    cropped = load_volume(
        VolumeConfig.model_validate({"path": path, "crop_mm": {"min": [12, None, 36]}})
    )
    np.testing.assert_array_equal(cropped.mu_zyx, whole.mu_zyx[2:, :, 2:])
    np.testing.assert_allclose(cropped.grid.origin_xyz_mm, (12, 20, 36))
    coarse = load_volume(VolumeConfig(path=path, spacing_mm=3.0))
    assert coarse.grid.spacing_xyz_mm == (3, 3, 3)
    assert coarse.grid.shape_zyx == (4, 4, 2)
    np.testing.assert_allclose(coarse.grid.center_xyz_mm, whole.grid.center_xyz_mm)
    assert coarse.mu_zyx.sum() * 27 == pytest.approx(whole.mu_zyx.sum() * 6, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"crop_mm": {"min": [100, None, None]}}, "ct.nii.gz: crop_mm holds no voxel, with min"),
        ({"spacing_mm": [1, 1, 90]}, "ct.nii.gz: spacing_mm leaves no voxel: 90 mm along z"),
    ],
)
def test_settings_that_leave_nothing_are_one_line_and_no_entry(tmp_path, folder, settings, line):
    path = saved(tmp_path, "ct.nii.gz")
    with pytest.raises(InputError, match=line) as caught:
        load_volume(VolumeConfig.model_validate({"path": path, **settings}))
    assert "\n" not in str(caught.value)
    assert not (folder / "volumes").exists()


def test_painting_a_phantom_is_reported_in_rising_shares():
    told = []
    load_volume(
        VolumeConfig(phantom="thorax", spacing_mm=9.5),
        lambda what, share: told.append((what, share)),
    )
    shares = [share for what, share in told if what == "making thorax phantom, 9.5 mm"]
    assert len(shares) > 5
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_a_phantom_of_uneven_voxels_is_drawn_fine_and_resampled(monkeypatch):
    painted = functools.cache(make_thorax)
    monkeypatch.setattr(load, "_phantom_hu", lambda _name, spacing_mm, _told: painted(spacing_mm))
    config = VolumeConfig.model_validate({"phantom": "thorax", "spacing_mm": [8, 8, 10]})
    uneven, even = load_volume(config), load_volume(VolumeConfig(phantom="thorax", spacing_mm=8))
    assert uneven.grid.spacing_xyz_mm == (8, 8, 10)
    masses = [float(v.mu_zyx.sum()) * np.prod(v.grid.spacing_xyz_mm) for v in (uneven, even)]
    assert masses[0] == pytest.approx(masses[1], rel=1e-5)


# Voxels plane by plane


def _fixtures(folder):
    """One file of each kind of storage, and the values in it."""
    for name in ("a.nii", "b.nrrd", "c.mha", "d.mhd"):
        yield saved(folder, name)
    for name in ("e.nii.gz", "f.nrrd", "g.mha", "h.nhdr"):
        yield saved(folder, name, compressed=True)
    yield written(folder, "i.nii.gz", nifti_bytes(order=">"))
    yield written(folder, "j.nii", nifti_bytes(slope=1.5, inter=-30.25))
    yield written(folder, "k.nii", nifti_bytes(ramp("<f8") / 3, datatype=64))
    yield written(folder, "l.nii", nifti_bytes(ramp("<u2"), datatype=512, vox_offset=400.0)[:352]
                  + bytes(48) + ramp("<u2").tobytes())  # fmt: skip
    raw = meta_bytes(ramp(">i4"), ElementType="MET_INT", BinaryDataByteOrderMSB="True")
    yield written(folder, "m.mha", raw)
    yield written(folder, "n.mha", meta_bytes(ramp("<i4"), ElementType="MET_LONG"))
    yield written(folder, "o.nrrd", nrrd_bytes(ramp(">f4"), type="float", endian="big"))
    yield written(folder, "p.nrrd", nrrd_bytes(np.uint8(ramp() % 250), type="uchar", endian=None))
    for dtype, code in (("i1", 256), ("u1", 2), ("i4", 8), ("u4", 768), ("i8", 1024), ("u8", 1280)):
        voxels = (np.arange(120) % 100).astype(f"<{dtype}")
        yield written(folder, f"q-{dtype}.nii", nifti_bytes(voxels, datatype=code))


def test_planes_are_what_the_imaging_library_reads(tmp_path):
    for path in _fixtures(tmp_path):
        whole, planes = open_ct(path).volume(), open_ct(path).planes
        assert planes.grid == whole.grid, path
        read = np.stack([*planes.read(0, 4)])
        np.testing.assert_array_equal(read, whole.hu_zyx.astype(np.float32), err_msg=str(path))
        np.testing.assert_array_equal(np.stack([*planes.read(1, 3)]), read[1:3])


def test_only_the_imaging_librarys_own_kinds_are_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(ItkCt, "array", lambda ct: pytest.fail(f"{ct.path} was read whole"))
    for path in _fixtures(tmp_path):
        if path.name != "n.mha":
            open_ct(path).slices(0, 1)
    with pytest.raises(pytest.fail.Exception, match=r"n\.mha was read whole"):
        open_ct(tmp_path / "n.mha").slices(0, 1)


def test_voxels_that_are_not_finite_are_counted_and_refused(tmp_path, folder):
    voxels = ramp("<f4")
    voxels[0, 0, 0], voxels[3, 1, 1:3] = np.nan, np.inf
    path = written(tmp_path, "ct.mha", meta_bytes(voxels, ElementType="MET_FLOAT"))
    with pytest.raises(InputError, match=r"ct\.mha: 3 of 120 voxels are not finite"):
        load_volume(VolumeConfig(path=path))
    assert list((folder / "volumes").iterdir()) == []


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    for name in ("ct.nii", "ct.nii.gz"):
        path = saved(tmp_path, name)
        planes = open_ct(path).planes
        path.write_bytes(path.read_bytes()[:-60])
        with pytest.raises(InputError, match=f"{name}: is truncated or damaged"):
            [*planes.read(0, 4)]


def test_a_disk_without_room_is_reported_before_anything_is_written(tmp_path, monkeypatch, folder):
    usage = shutil._ntuple_diskusage(10**6, 10**6, 100)
    monkeypatch.setattr(volume_folder.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"volumes: has no room .* needs 0\.00 GiB, 0\.00 GiB"):
        load_volume(VolumeConfig(path=saved(tmp_path, "ct.nii")))
    assert list((folder / "volumes").iterdir()) == []


def test_only_our_own_remains_are_removed_from_a_folder(folder):
    stranger = folder / "volumes" / ".new-things"
    stranger.mkdir(parents=True)
    old = time.time() - 2 * atomic_folder.ABANDONED_AFTER_S
    os.utime(stranger, (old, old))
    store()
    assert stranger.exists()
