"""Checksums beside a data set's files."""

import hashlib
import subprocess

import pytest

import app
import tests.published_files as files
from fluoro.datasets.published.checksums import check_files
from fluoro.errors import InputError


@pytest.fixture
def two_files(tmp_path):
    """A folder of a data set, and the sizes of its files."""
    folder = tmp_path / "xvr-data" / "deepfluoro"
    (folder / "subject01").mkdir(parents=True)
    (folder / "subject01" / "a.bin").write_bytes(b"voxels" * 1000)
    (folder / "subject01" / "b.bin").write_bytes(b"pose")
    return folder, {"subject01/a.bin": 6000, "subject01/b.bin": 4}


def test_programs_write_the_files_of_checksums(two_files):
    folder, sizes = two_files
    for program, name in (("sha256sum", "SHA256SUMS"), ("md5sum", "MD5SUMS")):
        text = subprocess.check_output([program, *sizes], cwd=folder, text=True)
        (folder / name).write_text(text)
    found = check_files(folder, sizes, folder.parent)
    assert (found.files, found.compared) == (2, 2)
    listed = subprocess.check_output(["sha256sum", *sorted(sizes)], cwd=folder)
    assert found.sha256 == hashlib.sha256(listed).hexdigest()
    tagged = subprocess.check_output(["sha256sum", "--tag", *sizes], cwd=folder, text=True)
    (folder / "SHA256SUMS").write_text(tagged)
    assert check_files(folder, sizes, folder.parent).compared == 2


@pytest.mark.parametrize("kind", ["sha256", "md5"])
@pytest.mark.parametrize("where", ["a.bin.{}", "{}sums.txt"])
def test_changed_file_is_refused_with_both_checksums(two_files, kind, where):
    folder, sizes = two_files
    path = folder / "subject01" / "a.bin"
    right = hashlib.new(kind, path.read_bytes()).hexdigest()
    sums = path.with_name(where.format(kind))
    sums.write_text(f"{right}  a.bin\n")
    assert check_files(folder, sizes, folder.parent).compared == 1
    path.write_bytes(b"Voxels" * 1000)
    got = hashlib.new(kind, path.read_bytes()).hexdigest()
    with pytest.raises(InputError, match=f"a.bin: must have the .* {right} of .*, got {got}"):
        check_files(folder, sizes, folder.parent)


def git_sha1(path):
    return subprocess.check_output(["git", "hash-object", path], text=True).strip()


def test_notes_of_hugging_faces_client_are_compared(two_files):
    folder, sizes = two_files
    digests = {
        "a": hashlib.sha256((folder / "subject01" / "a.bin").read_bytes()).hexdigest(),
        "b": git_sha1(folder / "subject01" / "b.bin"),
    }
    notes = folder.parent / ".cache/huggingface/download/deepfluoro/subject01"
    notes.mkdir(parents=True)
    for name, digest in digests.items():
        (notes / f"{name}.bin.metadata").write_text(f"{40 * '0'}\n{digest}\n1712656091.1\n")
    assert check_files(folder, sizes, folder.parent).compared == 2
    (folder / "subject01" / "b.bin").write_bytes(b"Pose")
    with pytest.raises(InputError, match=r"b\.bin: must have the Git SHA-1"):
        check_files(folder, sizes, folder.parent)


def test_names_of_blobs_in_hugging_faces_cache_are_compared(two_files):
    folder, sizes = two_files
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    path = folder / "subject01" / "a.bin"
    blob = path.rename(blobs / hashlib.sha256(path.read_bytes()).hexdigest())
    path.symlink_to(blob)
    assert check_files(folder, sizes, folder.parent).compared == 1
    blob.write_bytes(b"Voxels" * 1000)
    with pytest.raises(InputError, match=r"a\.bin: must have the SHA-256"):
        check_files(folder, sizes, folder.parent)


def test_damaged_file_of_checksums_is_named(two_files):
    folder, sizes = two_files
    (folder / "SHA256SUMS").write_text("not a checksum\n")
    with pytest.raises(InputError, match="SHA256SUMS: line 1 must be 64 hexadecimal digits"):
        check_files(folder, sizes, folder.parent)
    (folder / "SHA256SUMS").unlink()
    (folder / "subject01" / "a.bin.md5").write_text(f"{32 * '0'}  x\n{32 * '1'}  y\n")
    with pytest.raises(InputError, match=r"must have the checksum of a\.bin, has 2 of other files"):
        check_files(folder, sizes, folder.parent)


def test_files_without_checksums_have_one_of_their_own(two_files):
    folder, sizes = two_files
    first = check_files(folder, sizes, folder.parent)
    assert first.compared == 0
    assert "no checksum is beside the data" in first.line()
    (folder / "subject01" / "b.bin").write_bytes(b"Pose")
    assert check_files(folder, sizes, folder.parent).sha256 != first.sha256


def evaluate(path, folder):
    return app.main([
        *("evaluate", "ljubljana", str(path), "--output", str(folder), "--device", "cpu"),
        *("--starts", "0", "--subset", "1"),
    ])  # fmt: skip


@pytest.mark.parametrize("form", ["h5", "xvr"])
def test_evaluation_refuses_changed_data(tmp_path, capsys, form):
    if form == "h5":
        path = changed = files.write_ljubljana(tmp_path / "file.h5", size_px=96)
        right = hashlib.sha256(path.read_bytes()).hexdigest()
        (tmp_path / "file.h5.sha256").write_text(f"{right}  file.h5\n")
    else:
        path = files.write_xvr(tmp_path, "ljubljana", size_px=96)
        changed = path / "ljubljana/subject01/xrays/lateral.dcm"
    assert evaluate(path, tmp_path / "out") == 0
    told = {"h5": "1 of 1 files agree", "xvr": "no checksum is beside the data"}[form]
    assert told in capsys.readouterr().out

    data = bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    assert evaluate(path, tmp_path / "out") == app.EXIT_BAD_INPUT
    expected = {
        "h5": f"file.h5: must have the SHA-256 {right} of " if form == "h5" else "",
        "xvr": "out: the data set has changed since the first rows: its SHA-256 was ",
    }[form]
    error = [each for each in capsys.readouterr().err.splitlines() if "fluoro: " in each]
    assert len(error) == 1
    assert expected in error[0]
