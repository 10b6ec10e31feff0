from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcsearch.data.cache import BadImagesError, ensure_store
from pcsearch.data.decode import read_image, values_of
from pcsearch.data.pixel_range import PixelRange, range_fault
from pcsearch.data.sources import FileImages
from tests.data.image_files import noise


def fault(kind: str, *ranges: tuple[float, float]) -> str | None:
    return range_fault([(f"{i}.tif", PixelRange(kind, *one)) for i, one in enumerate(ranges)], 9)


@pytest.mark.parametrize(
    ("kind", "least", "most", "says"),
    [
        ("16-bit", 0, 4095, "nearly black. Divide their values by 16 and save"),
        ("16-bit", 3, 1023, "nearly black. Divide their values by 4 and save"),
        ("16-bit", 0, 16383, "nearly black. Divide their values by 64 and save"),
        ("16-bit", 0, 200, "nearly black. Save them as 8-bit images."),
        ("16-bit", -1000, 3095, r"cut off. .* \(v - -1,000\) \* 255 / \(3,095 - -1,000\)"),
        ("32-bit", 0, 70000, "cut off. "),
        ("float", 0, 1, "nearly black. Multiply their values by 255"),
        ("float", -1, 1, r"cut off. .*\(v - -1\) \* 255 / \(1 - -1\)"),
        ("float", 0, 4095.5, r"cut off. .*\(v - 0\) \* 255 / \(4096 - 0\)"),
        ("float", 0, 0, "nearly black"),
    ],
)
def test_values_that_do_not_span_their_range_are_a_fault_with_a_remedy(
    kind: str, least: float, most: float, says: str
) -> None:
    found = fault(kind, (least, most))
    assert found is not None
    assert found.startswith(f"1 of 9 images have {kind} pixels with values from ")
    assert "training and test alike" in found
    assert re.search(says, found), found


@pytest.mark.parametrize(
    ("kind", "ranges"),
    [
        ("16-bit", [(0, 65535)]),
        ("16-bit", [(0, 900), (100, 16384)]),  # one scale for all: a dark image among bright ones
        ("32-bit", [(0, 65535)]),
        ("float", [(0, 255)]),
        ("float", [(-0.3, 255.4)]),
        ("float", [(0, 64)]),
    ],
)
def test_values_that_span_their_range_are_none(
    kind: str, ranges: list[tuple[float, float]]
) -> None:
    assert fault(kind, *ranges) is None


def test_every_kind_is_judged_by_its_own_images() -> None:
    found = range_fault(
        [("a.tif", PixelRange("16-bit", 0, 4095)), ("b.tif", PixelRange("float", 0, 255))], 5
    )
    assert found is not None
    assert found.startswith("1 of 5 images have 16-bit pixels with values from 0 to 4,095 (a.tif).")


DEEP = np.arange(64 * 64).reshape(64, 64)


@pytest.mark.parametrize(
    ("pixels", "name", "expected"),
    [
        (DEEP.astype(np.uint16), "a.tif", PixelRange("16-bit", 0, 4095)),
        (DEEP.astype(np.uint16), "a.png", PixelRange("16-bit", 0, 4095)),
        (DEEP.astype(np.int32), "a.tif", PixelRange("32-bit", 0, 4095)),
        (DEEP.astype(np.float32) / 4095, "a.tif", PixelRange("float", 0.0, 1.0)),
        (np.where(DEEP == 7, np.nan, DEEP).astype(np.float32), "a.tif",
         PixelRange("float", 0.0, 4095.0)),
        (DEEP.astype(np.uint8), "a.png", None),
    ],
)  # fmt: skip
def test_an_image_brings_the_range_of_its_file(
    pixels: np.ndarray, name: str, expected: PixelRange | None, tmp_path: Path
) -> None:
    Image.fromarray(pixels).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert values_of(image) == expected
    assert values_of(image.resize((8, 8))) == expected


def png_of_48_bits(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write; pixels are big-endian [h, w, 3]."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    height, width, _ = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    lines = zlib.compress(b"".join(b"\0" + line.tobytes() for line in pixels))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*one) for one in ((b"IHDR", head), (b"IDAT", lines), (b"IEND", b""))
    )


def test_16_bits_a_colour_are_seen_though_pillow_keeps_only_the_high_bytes(tmp_path: Path) -> None:
    colour = np.repeat(DEEP[..., None], 3, axis=2).astype(">u2")
    (tmp_path / "a.png").write_bytes(png_of_48_bits(colour))
    assert values_of(read_image(tmp_path / "a.png")) == PixelRange("16-bit", 0, 4095)
    (tmp_path / "a.ppm").write_bytes(b"P6 64 64 65535\n" + colour.tobytes())
    found = values_of(read_image(tmp_path / "a.ppm"))  # Pillow rounds to the nearest high byte
    assert found is not None
    assert (found.kind, found.least, 4095 <= found.most < 4096 + 256) == ("16-bit", 0, True)
    (tmp_path / "b.pgm").write_bytes(b"P5 64 64 65535\n" + DEEP.astype(">u2").tobytes())
    assert values_of(read_image(tmp_path / "b.pgm")) == PixelRange("16-bit", 0, 4095)


def test_no_store_is_made_of_images_that_would_be_black(tmp_path: Path) -> None:
    for index in range(3):
        Image.fromarray((DEEP + index).astype(np.uint16)).save(tmp_path / f"{index}.tif")
    noise(20, 20, 1).save(tmp_path / "3.jpg")
    source = FileImages.of(tmp_path, [*(f"{index}.tif" for index in range(3)), "3.jpg"])
    with pytest.raises(BadImagesError, match=r"3 of 4 images have 16-bit .* 0 to 4,097 \(.*0.tif"):
        ensure_store(source, 32, folder=tmp_path / "cache", on_bad_image="skip")
    assert not list((tmp_path / "cache").glob("*.npy"))
    Image.fromarray((DEEP * 15).astype(np.uint16)).save(tmp_path / "0.tif")  # now to 61,425
    source = FileImages.of(tmp_path, source.names)
    assert len(ensure_store(source, 32, folder=tmp_path / "cache").images) == 4
