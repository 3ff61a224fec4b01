"""Images of other programs are read as a viewer shows them, or refused in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
import yaml
from PIL import Image

import app
from fluoro.errors import InputError
from fluoro.registration.targets.target_files import read_target_image
from tests.session_support import small_ct, use_cache
from tests.tiff_files import tiff_bytes

GREY = (np.arange(48).reshape(6, 8) * 5).astype(np.uint8)
"""Brighter from left to right and from top to bottom."""
DEEP = (np.arange(48).reshape(6, 8) * 1300 + 7).astype(np.uint16)


def read(tmp_path, raw, name="image.tif"):
    path = tmp_path / name
    path.write_bytes(raw)
    return read_target_image(path)


def saved(image, kind, **options):
    """An image's file, as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(depth, color, rows, *chunks):
    """A PNG of raw rows, with other chunks before the pixels."""
    raw = b"".join(b"\0" + row for row in rows)
    size = struct.pack(">IIBBBBB", 8, len(rows), depth, color, 0, 0, 0)
    parts = [(b"IHDR", size), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def refused(tmp_path, raw, match, name="image.tif"):
    with pytest.raises(InputError, match=match) as caught:
        read(tmp_path, raw, name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


# Values


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i1", "i2", "i4", "f4"])
def test_the_numbers_of_a_tiff_are_its_own_whatever_their_type(tmp_path, order, tile, dtype):
    values = np.linspace(0, 1, 48).reshape(6, 8)
    if dtype != "f4":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        values = np.round(low + values * (high - low))
    values = values.astype(dtype)
    found = read(tmp_path, tiff_bytes(values, order=order, tile=tile))
    np.testing.assert_array_equal(found, values.astype(found.dtype))
    np.testing.assert_array_equal(found.astype(float), values.astype(float))
    assert found.dtype.isnative


def test_unsigned_numbers_of_32_bits_stay_positive(tmp_path):
    values = DEEP.astype(np.uint32) * 70000
    found = read(tmp_path, tiff_bytes(values))
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize(
    ("order", "values"), [("<", GREY), (">", GREY), ("<", DEEP)], ids=["8 <", "8 >", "16 <"]
)
def test_a_tiff_whose_0_is_white_is_inverted(tmp_path, order, tile, values):
    found = read(tmp_path, tiff_bytes(values, order=order, tile=tile, t262=0))
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, np.iinfo(values.dtype).max - values)


@pytest.mark.parametrize("values", [DEEP, DEEP.astype(np.uint32)], ids=["16 bits", "32 bits"])
def test_a_tiff_that_pillow_does_not_know_is_refused(tmp_path, values):
    raw = tiff_bytes(values, order=">", t262=0)
    refused(tmp_path, raw, "must be a PNG, TIFF or JPEG image of a kind that")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_compressed_tiff_whose_0_is_white_is_inverted(tmp_path, compression):
    raw = saved(Image.fromarray(DEEP), "TIFF", compression=compression)
    white = raw.replace(struct.pack("<HHII", 262, 3, 1, 1), struct.pack("<HHII", 262, 3, 1, 0))
    assert white != raw
    np.testing.assert_array_equal(read(tmp_path, raw), DEEP)
    np.testing.assert_array_equal(read(tmp_path, white), 65535 - DEEP)


def test_a_tiff_that_cannot_be_inverted_is_refused(tmp_path):
    raw = tiff_bytes(DEEP.astype(np.float32), t262=0)
    refused(tmp_path, raw, "0 is white, but float32 has no black; invert its values")


def test_a_tiff_that_does_not_say_what_0_is_is_refused(tmp_path):
    refused(tmp_path, tiff_bytes(DEEP, t262=None), "does not say whether 0 is black")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_png_of_few_bits_spans_black_to_white(tmp_path, bits):
    levels = 1 << bits
    stored = np.arange(8) % levels
    packed = np.packbits(
        (stored[:, None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).ravel()
    )
    found = read(tmp_path, png(bits, 0, [packed.tobytes()] * 3), "a.png")
    np.testing.assert_array_equal(found, [stored * 255 // (levels - 1)] * 3)


def test_a_palette_shows_its_greys(tmp_path):
    image = Image.fromarray(GREY % 4, "P")
    image.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90, 30, 30, 30])
    found = read(tmp_path, saved(image, "PNG"), "a.png")
    np.testing.assert_array_equal(found, np.array([200, 10, 90, 30])[GREY % 4])
    image.putpalette([200, 100, 200, 10, 10, 10, 90, 90, 90, 30, 30, 30])
    refused(tmp_path, saved(image, "PNG"), "got one in colour", "a.png")


# Orientation

SHOWN = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: stored.T[:, ::-1],
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: stored.T[::-1],
}
"""How a viewer shows what is stored, by the orientation tag (EXIF 2.3, TIFF 6.0)."""


def exif_of(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("values", [GREY, DEEP], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_an_orientation_is_applied(tmp_path, orientation, values, kind):
    raw = (
        tiff_bytes(values, t274=orientation)
        if kind == "TIFF"
        else saved(Image.fromarray(values), kind, exif=exif_of(orientation))
    )
    found = read(tmp_path, raw, f"a.{kind.lower()}")
    np.testing.assert_array_equal(found, SHOWN[orientation](values))


@pytest.mark.parametrize("orientation", SHOWN)
def test_the_orientation_of_a_jpeg_is_applied(tmp_path, orientation):
    wide = np.repeat(np.repeat(GREY, 8, axis=0), 8, axis=1)
    image = Image.fromarray(wide)
    raw = saved(image, "JPEG", quality=100, exif=exif_of(orientation))
    found = read(tmp_path, raw, "a.jpg").astype(int)
    assert np.abs(found - SHOWN[orientation](wide.astype(int))).max() <= 3


# What is refused


def test_a_file_of_several_images_is_refused(tmp_path):
    refused(tmp_path, tiff_bytes(DEEP, pages=3), "must hold one image, got 3")
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    moving = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    refused(tmp_path, moving, "must hold one image, got 2", "a.png")
    several = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    refused(tmp_path, several, "must hold one image, got 2", "a.jpg")


def with_alpha(alpha):
    return np.stack([GREY, np.full_like(GREY, alpha)], axis=-1)


def test_transparent_pixels_are_refused_and_opaque_ones_read(tmp_path):
    for mode in ("LA", "RGBA"):
        opaque = Image.fromarray(with_alpha(255), "LA").convert(mode)
        np.testing.assert_array_equal(read(tmp_path, saved(opaque, "PNG"), "a.png"), GREY)
        clear = Image.fromarray(with_alpha(254), "LA").convert(mode)
        refused(tmp_path, saved(clear, "PNG"), "some of its pixels are transparent", "a.png")
    clear = tiff_bytes(with_alpha(9), t338=2)
    refused(tmp_path, clear, "some of its pixels are transparent")


@pytest.mark.parametrize(("key", "clear"), [(GREY[2, 3], True), (1, False)])
def test_a_colour_that_is_transparent_is_refused_where_it_occurs(tmp_path, key, clear):
    for depth, rows in ((8, GREY), (16, GREY.astype(">u2"))):
        chunk = (b"tRNS", struct.pack(">H", key))
        raw = png(depth, 0, [row.tobytes() for row in rows], chunk)
        if clear:
            refused(tmp_path, raw, "some of its pixels are transparent", "a.png")
        else:
            np.testing.assert_array_equal(read(tmp_path, raw, "a.png"), GREY)


@pytest.mark.parametrize("color", [2, 4, 6], ids=["RGB", "grey and alpha", "RGBA"])
def test_16_bits_that_would_lose_8_are_refused(tmp_path, color):
    samples = {2: 3, 4: 2, 6: 4}[color]
    rows = [np.repeat(row, samples).astype(">u2").tobytes() for row in DEEP]
    refused(tmp_path, png(16, color, rows), "16 bits are read in grey without alpha", "a.png")


@pytest.mark.parametrize("planar", [1, 2])
def test_a_tiff_of_16_bits_in_colour_is_refused(tmp_path, planar):
    raw = tiff_bytes(np.stack([DEEP] * 3, axis=-1), t284=planar)
    refused(tmp_path, raw, "16 bits are read in grey without alpha|not a readable")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_are_refused(tmp_path, kind):
    raw = saved(Image.fromarray(GREY).convert("CMYK"), kind)
    refused(tmp_path, raw, "must be a grey image, got mode CMYK")


@pytest.mark.parametrize("kind", ["BMP", "GIF", "WEBP", "PPM"])
def test_other_formats_are_refused(tmp_path, kind):
    refused(tmp_path, saved(Image.fromarray(GREY), kind), "must be a PNG, TIFF or JPEG image")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_one_line(tmp_path, kind, kept):
    noise = np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)
    raw = saved(Image.fromarray(noise), kind)
    match = "not a readable PNG, TIFF or JPEG|must be a PNG"
    refused(tmp_path, raw[: int(kept * len(raw))], match)


def test_big_endian_numpy_files_are_read(tmp_path):
    np.save(tmp_path / "a.npy", DEEP.astype(">u2"))
    found = read_target_image(tmp_path / "a.npy")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, DEEP)


# In the application


def test_register_takes_a_target_as_a_viewer_shows_it_or_says_why_not(
    tmp_path, monkeypatch, capsys
):
    use_cache(tmp_path, monkeypatch)
    monkeypatch.setenv("FLUORO_OUTPUT_DIR", str(tmp_path / "out"))
    noise = np.random.default_rng(0).integers(0, 40000, (24, 32)).astype(np.uint16)
    (tmp_path / "two.tif").write_bytes(tiff_bytes(noise, pages=2))
    (tmp_path / "turned.tif").write_bytes(tiff_bytes(noise.T, t274=6, t262=0))
    document = {
        "volume": {"path": str(small_ct(tmp_path))},
        "carm": {"detector_width_px": 32, "detector_height_px": 24, "pixel_spacing_mm": 2.0},
        "renderer": {"device": "cpu"},
        "target": {"kind": "raw"},
        "registration": {"start": {"pose": {}}, "attempts": 1, "multi_start": {"starts": 1}},
        "run": {"name": "found", "animation": False},
    }
    for name, code, words in (("two", 2, "must hold one image, got 2"), ("turned", 3, "")):
        document["target"]["path"] = str(tmp_path / f"{name}.tif")
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document))
        assert app.main(["register", str(path)]) == code
        assert words in " ".join(capsys.readouterr().err.split())
    with Image.open(next((tmp_path / "out").glob("found*/target.png"))) as kept:
        np.testing.assert_array_equal(np.array(kept), 65535 - SHOWN[6](noise.T))
