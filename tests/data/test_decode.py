from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import default_loader

from pcsearch.data.decode import FORMATS, read_image
from pcsearch.data.sources import FileImages
from pcsearch.data.verify.scan import scan
from tests.data.image_files import noise


def read_back(image: Image.Image, path: Path, **options: object) -> np.ndarray:
    image.save(path, **options)
    read = read_image(path)
    assert read.mode == "RGB"
    return np.asarray(read)


def test_rgb_png_is_unchanged(tmp_path: Path) -> None:
    picture = noise(11, 13, 1)
    assert (read_back(picture, tmp_path / "a.png") == np.asarray(picture)).all()


def test_grey_fills_three_channels(tmp_path: Path) -> None:
    grey = noise(11, 13, 1).convert("L")
    pixels = read_back(grey, tmp_path / "a.png")
    assert (pixels == np.asarray(grey)[..., None]).all()


def test_palette_is_looked_up(tmp_path: Path) -> None:
    palette = noise(11, 13, 1).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    pixels = read_back(palette, tmp_path / "a.png")
    assert (pixels == np.asarray(palette.convert("RGB"))).all()


def test_palette_with_transparency(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    palette = noise(11, 13, 1).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    pixels = read_back(palette, tmp_path / "a.png", transparency=bytes(range(16)))
    assert (pixels == np.asarray(palette.convert("RGB"))).all()
    assert not recwarn.list


def test_cmyk_jpeg(tmp_path: Path) -> None:
    cmyk = noise(32, 32, 1).convert("CMYK")
    pixels = read_back(cmyk, tmp_path / "a.jpg", quality=98)
    assert np.abs(pixels.astype(int) - np.asarray(noise(32, 32, 1))).mean() < 8


def test_alpha_is_dropped(tmp_path: Path) -> None:
    picture = noise(11, 13, 1)
    clear = picture.copy()
    clear.putalpha(0)
    assert (read_back(clear, tmp_path / "a.png") == np.asarray(picture)).all()


def test_16_bit_grey_keeps_its_high_byte(tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256, 65535], [1000, 30000, 40000, 50000]], dtype=np.uint16)
    pixels = read_back(Image.fromarray(deep), tmp_path / "a.png")
    assert pixels[..., 0].tolist() == (deep // 256).tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.asarray(noise(10, 14, 1))
    stored = {  # how a camera stores the upright picture under each orientation
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    assert (read_back(image, tmp_path / "a.png", exif=exif) == upright).all()


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    first, second = noise(12, 12, 1).convert("P"), noise(12, 12, 2).convert("P")
    pixels = read_back(first, tmp_path / "a.gif", save_all=True, append_images=[second])
    assert np.abs(pixels.astype(int) - np.asarray(first.convert("RGB"))).max() == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"plain text", "not an image"), (b"\xff\xd8\xff\xe0 no jpeg", "Truncated")],
)
def test_unreadable_files_say_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(OSError, match=reason):
        read_image(path)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
SAFETENSORS = (50).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (LFS, "^a Git LFS pointer, not the file itself: run `git lfs pull` in its folder$"),
        (b"/annex/objects/SHA256E-s1--0.jpg\n", "^a git-annex pointer"),
        (b"\n<!DOCTYPE html><html>", "^a web page, not the file itself"),
        (SAFETENSORS, "^weights in the format safetensors, not an image$"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "^a TIFF of a kind that is not supported: save it"),
    ],
)
def test_files_that_are_something_else_say_what(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(OSError, match=reason):
        read_image(tmp_path / "a.jpg")
    assert re.match(reason, scan(FileImages.of(tmp_path, ["a.jpg"]), 1)[0].reason or "")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif", ".webp"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    noise(200, 200, 1).save(whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(OSError):
        read_image(cut)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such file"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.heic", "b.CR2", "c.svg"])
def test_formats_that_cannot_be_read_say_so(tmp_path: Path, name: str) -> None:
    noise(9, 9, 0).save(tmp_path / name, format="TIFF")
    suffix = Path(name).suffix.lower()
    with pytest.raises(OSError, match=f"{suffix} files are not supported: convert it to JPEG"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *[("1", ".png"), ("L", ".jpg"), ("L", ".tif"), ("LA", ".png"), ("P", ".gif")],
        *[("P", ".bmp"), ("RGBA", ".webp"), ("RGBX", ".tif"), ("CMYK", ".jpg"), ("CMYK", ".tif")],
        *[("YCbCr", ".tif"), ("RGB", ".ppm"), ("RGB", ".jp2"), ("F", ".tif")],
    ],
)
def test_pixels_are_those_of_torchvisions_image_folders(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    noise(23, 31, 5).convert(mode).save(path)
    assert (np.asarray(read_image(path)) == np.asarray(default_loader(path))).all()


def test_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(OSError, match="a folder, not a file"):
        read_image(tmp_path / "x.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    noise(9, 9, 0).save(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").chmod(0)
    with pytest.raises(OSError, match="no permission to read it"):
        read_image(tmp_path / "x.jpg")


def test_decompression_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("1", (20_000, 10_000)).save(path)
    with pytest.raises(OSError, match=r"too big, over 178,956,970 pixels"):
        read_image(path)


def test_missing_end_of_jpeg_within_a_small_distance(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    noise(64, 64, 1).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(OSError, match="truncated"):
        read_image(path)


FOREIGN = {
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "PS": b"%!PS\n(x) print quit\n",
    "FLI": bytes(4) + b"\x11\xaf\x01\x00\x08\x00\x08\x00\x08\x00" + bytes(200),
    "WMF": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "PDF": b"%PDF-1.4\n%%EOF",
    "FITS": b"SIMPLE  =                    T" + b" " * 3000,
}


def save_as(form: str) -> bytes:
    file = io.BytesIO()
    noise(16, 16, 1).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a", "a.eps", "a.bmp", "a.tga"])
@pytest.mark.parametrize(
    "form", [*FOREIGN, "PCX", "ICO", "SGI", "IM", "DDS", "ICNS", "SPIDER", "MSP", "XBM"]
)
def test_no_other_decoder_is_reached_by_content(
    form: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `gs` that is the first on the path leaves a trace when it is started."""
    tool = tmp_path / "bin" / "gs"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ntouch {tmp_path}/EXECUTED\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    if form in ("MSP", "XBM"):
        picture = io.BytesIO()
        noise(16, 16, 1).convert("1").save(picture, form)
        content = picture.getvalue()
    else:
        content = FOREIGN[form] if form in FOREIGN else save_as(form)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OSError):
        read_image(tmp_path / name)
    source = FileImages.of(tmp_path, [name])
    assert scan(source, 1)[0].reason is not None
    assert not (tmp_path / "EXECUTED").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_whatever_the_name(form: str, tmp_path: Path) -> None:
    if form not in Image.SAVE:
        pytest.skip("this build of Pillow cannot write it")
    for name in ("a.jpg", "a.png", "a"):
        (tmp_path / name).write_bytes(save_as(form))
        assert read_image(tmp_path / name).size == (16, 16)


def many_scans(path: Path, side: int, more: int) -> Path:
    """A progressive JPEG whose last scan is repeated: each repetition decodes all pixels again."""
    usual = io.BytesIO()
    Image.new("RGB", (side, side)).save(usual, "JPEG", progressive=True)
    content, last = usual.getvalue(), usual.getvalue().rindex(b"\xff\xda")
    path.write_bytes(content[:-2] + content[last:-2] * more + content[-2:])
    return path


def test_a_progressive_jpeg_of_hundreds_of_scans_is_refused_before_it_is_decoded(
    tmp_path: Path,
) -> None:
    with pytest.raises(OSError, match=r"progressive JPEG of \d{3} scans"):
        read_image(many_scans(tmp_path / "endless.jpg", 2000, 400))
    assert read_image(many_scans(tmp_path / "small.jpg", 16, 400)).size == (16, 16)
    assert read_image(many_scans(tmp_path / "usual.jpg", 500, 0)).size == (500, 500)


def test_nothing_is_written_of_a_large_image_that_is_decoded(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    Image.new("1", (10_000, 9_500)).save(large)
    code = (
        "from pathlib import Path; from pcsearch.data.decode import read_image;"
        f"read_image(Path({str(large)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
