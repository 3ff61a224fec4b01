"""Every slice in a DICOM folder is read, or the entry that is not read is counted and named."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import app
from fluoro.errors import InputError
from fluoro.volume.formats.dicom.series import scan
from fluoro.volume.open_ct import open_ct
from tests import dicom_files as dicom
from tests.volume_files import ramp


@pytest.fixture
def store(tmp_path):
    """A series of 4 slices, IM9996.dcm to IM9999.dcm, outside the folder that is read."""
    return dicom.series(tmp_path / "store")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    made.mkdir()
    return made


def copied(store, folder, count):
    """The first slices of the store, copied."""
    for path in sorted(store.iterdir())[:count]:
        shutil.copy(path, folder)


def left_out(folder):
    return {kind: [str(path) for path in paths] for kind, paths in scan(folder).left_out.items()}


def denied(monkeypatch, name, method):
    """A call on the path of that name is refused, as for a user without permission."""
    real = getattr(Path, method)

    def call(path, *args, **kwargs):
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, method, call)


def test_slices_behind_links_to_nothing_are_counted_and_named(folder, store, tmp_path):
    copied(store, folder, 2)
    for name in ("IM9998.dcm", "IM9999.dcm"):
        (folder / name).symlink_to(tmp_path / "nowhere" / name)
    (folder / "loop").symlink_to(folder / "loop")
    assert left_out(folder) == {"linked to nothing": ["IM9998.dcm", "IM9999.dcm", "loop"]}


def test_slices_behind_a_linked_folder_are_read(folder, store, tmp_path):
    copied(store, folder, 2)
    rest = tmp_path / "rest"
    rest.mkdir()
    for path in sorted(store.iterdir())[2:]:
        shutil.move(path, rest)
    (folder / "more").symlink_to(rest, target_is_directory=True)
    np.testing.assert_array_equal(open_ct(folder).volume().hu_zyx, ramp())
    assert left_out(folder) == {}


def test_a_linked_folder_is_followed_once_and_loops_end(folder, store, caplog):
    (folder / "again").symlink_to(store)
    (folder / "here").symlink_to(folder)
    (folder / "patient").symlink_to(store)
    (folder / "up").symlink_to(folder.parent)
    (store / "back").symlink_to(folder)
    np.testing.assert_array_equal(open_ct(folder).volume().hu_zyx, ramp())
    kind = "linked to a folder that is read already"
    assert left_out(folder) == {kind: ["again/back", "here", "patient", "up"]}
    assert f"left out: 4 {kind} (again/back, here, patient, up)" in caplog.text
    assert "twice" not in caplog.text


def test_a_folder_comes_before_the_links_to_it(folder, store):
    (folder / "a link").symlink_to(folder / "b folder")
    shutil.copytree(store, folder / "b folder")
    (series,) = scan(folder).series
    assert {file.path.parent.name for file in series.files} == {"b folder"}


@pytest.mark.parametrize("method", ["iterdir", "stat"])
def test_a_folder_without_permission_is_named(folder, store, monkeypatch, method):
    copied(store, folder, 4)
    (folder / "secret").mkdir()
    denied(monkeypatch, "secret", method)
    assert left_out(folder) == {"without permission": ["secret"]}


def test_a_start_without_permission_is_refused(folder, monkeypatch):
    denied(monkeypatch, folder.name, "iterdir")
    with pytest.raises(InputError, match="folder: cannot be read: Permission denied"):
        scan(folder)


def test_hidden_files_and_folders_are_named(folder, store):
    copied(store, folder, 3)
    shutil.copy(store / "IM9999.dcm", folder / ".IM9999.dcm")
    shutil.copytree(store, folder / ".trash")
    assert left_out(folder) == {"hidden by a dot in front": [".IM9999.dcm", ".trash"]}


def test_what_is_neither_file_nor_folder_is_named(folder, store):
    copied(store, folder, 4)
    os.mkfifo(folder / "pipe")
    assert left_out(folder) == {"neither file nor folder": ["pipe"]}


def test_files_that_are_no_slices_are_named_with_their_folder(folder, store):
    shutil.copytree(store, folder / "series")
    for number in range(14):
        (folder / "series" / f"note {number:02}.txt").write_text("x" * 300)
    text = scan(folder).left_out_text()
    assert text.startswith("14 not DICOM (series/note 00.txt, series/note 01.txt, ")
    assert text.endswith("series/note 11.txt and 2 more)")


@pytest.mark.parametrize("command", ["inspect", "preprocess --ct"])
def test_the_user_is_informed_which_slices_are_not_read(
    folder, store, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.setenv("FLUORO_OUTPUT_DIR", str(tmp_path / "out"))
    copied(store, folder, 3)
    (folder / "IM9999.dcm").symlink_to(tmp_path / "annex" / "IM9999.dcm")
    assert app.main([*command.split(), str(folder)]) == 0
    captured = capsys.readouterr()
    assert "left out: 1 linked to nothing (IM9999.dcm)" in " ".join(captured.err.split())


def test_a_folder_of_links_to_nothing_is_refused_with_their_names(folder, tmp_path, capsys):
    for number in range(3):
        (folder / f"{number}.dcm").symlink_to(tmp_path / "annex" / str(number))
    assert app.main(["inspect", str(folder)]) == 2
    assert "left out: 3 linked to nothing (0.dcm, 1.dcm, 2.dcm)" in capsys.readouterr().err
