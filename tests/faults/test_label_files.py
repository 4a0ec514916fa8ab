"""A label PNG says what was written or is refused: its checksums are compared, and it is a PNG."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from conformal_plugin.errors import SourceFileError
from conformal_plugin.files import image_size, read_label, read_photo, write_label


def packed(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def grey(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits a sample, which Pillow does not write."""
    height, width = values.shape
    rows = b""
    for row in values:
        padded = np.zeros(-(-width * bits // 8) * 8 // bits, dtype=np.uint8)
        padded[:width] = row
        spread = np.unpackbits(padded[:, None], axis=1)[:, 8 - bits :]
        rows += b"\0" + np.packbits(spread.reshape(-1)).tobytes()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = packed(b"IHDR", header) + packed(b"IDAT", zlib.compress(rows)) + packed(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_no_flipped_bit_gives_another_label(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (6, 7)).astype(np.uint8)
    path = tmp_path / "a.png"
    write_label(path, labels, origin="abc", read="def")
    whole = path.read_bytes()
    pixels = whole.index(b"IDAT")
    for bit in (*range(0, 8 * pixels, 41), *range(8 * pixels, 8 * len(whole))):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(SourceFileError, match=r"cannot read the image .*a\.png"):
            read_label(path)


def test_nor_a_file_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_label(path, np.zeros((6, 7), np.uint8))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceFileError, match="cannot read the image"):
            read_label(path)


def test_a_photo_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)).save(path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"IDAT") + 20] ^= 1
    path.write_bytes(whole)
    with pytest.raises(SourceFileError, match="checksum of its chunk b'IDAT' does not fit"):
        read_photo(path)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_gives_the_values_of_the_file(tmp_path: Path, bits: int) -> None:
    labels = np.random.default_rng(bits).integers(0, 2**bits, (5, 7)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(grey(labels, bits))
    got = read_label(tmp_path / "a.png")
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, labels)


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_what_is_no_png_is_no_label(tmp_path: Path, kind: str) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png", kind)
    with pytest.raises(SourceFileError, match="this is no PNG, whatever its name says"):
        read_label(tmp_path / "a.png")


def test_no_program_is_started_for_an_image(tmp_path: Path, monkeypatch) -> None:
    def started(*arguments: object, **options: object) -> None:
        pytest.fail("a program was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    content = io.BytesIO()
    Image.new("L", (4, 4)).save(content, "EPS")
    for name, read in (("a.png", read_label), ("b.jpg", read_photo), ("c.png", image_size)):
        (tmp_path / name).write_bytes(content.getvalue())
        with pytest.raises(SourceFileError, match="cannot read the image"):
            read(tmp_path / name)


def test_photos_of_a_host_are_measured_in_the_format_that_their_name_says(tmp_path: Path) -> None:
    for name in ("a.tif", "b.bmp", "c.webp", "d.jpg", "e.png"):
        Image.new("RGB", (5, 3)).save(tmp_path / name)
        assert image_size(tmp_path / name) == (3, 5)
    (tmp_path / "a.tif").rename(tmp_path / "f.png")
    with pytest.raises(SourceFileError, match="cannot read the image"):
        image_size(tmp_path / "f.png")
