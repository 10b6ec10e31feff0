"""Files that a stranger may hand over: a case a seed, always the same, of each kind of input.

Each function fills a folder. What the files hold is spoilt, forged or meant to do harm; some are no
files at all, but pipes, sockets, devices and links to them.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import os
import pickle
import random
import socket
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save

from tests.fuzz.recipe_cases import BYTE_CHANGES, TEXT_CHANGES, TREES

ROOT = Path(__file__).resolve().parents[2]
SHIPPED_CLUSTERS = (ROOT / "cluster.yaml", *sorted((ROOT / "clusters").glob("*.yaml")))
WORDS = (
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b[2J\x1b[H", "\x9b8m", "\u202egnp.exe",
    "\u2066a\u2069", "\u200ba", "a\u2028b", "a\nerror: b", "a\rb", "[red]a[/red]",
    "[link=file:///]a", ":smile:", "[/]", "$\\frac{1}{2}$", "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0", "-x",
    "a b", "ä", "λ" * 40, "x" * 200, "`a`", "{{ 1 }}", "%s", "..a", "\udcff\udcfe", "CON",
    "\U000e0041a",
)  # fmt: skip
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print quit\n"
CONTENTS = (
    POSTSCRIPT, b"\xc5\xd0\xd3\xc6" + bytes(28) + POSTSCRIPT,
    bytes(4) + b"\x11\xaf\x01\x00\x08\x00\x08\x00\x08\x00" + bytes(200),  # FLI
    b"\xd7\xcd\xc6\x9a" + bytes(60), b"%PDF-1.4\n%%EOF", b"8BPS\0\1" + bytes(60),
    b"\0\0\1\0\1\0" + bytes(60), b"\x0a\5\1\x08" + bytes(200), b"icns\0\0\0\x10" + bytes(20),
    b"BLP2" + bytes(200), b"DDS " + bytes(200), b"SIMPLE  =                    T" + bytes(3000),
    b"\x89HDF\r\n\x1a\n" + bytes(90), b"GRIB" + bytes(90),
    b"II*\0" + b"\xff" * 300, b"MM\0*\0\0\0\x08\xff\xff" + bytes(600), b"GIF89a" + b"\xff" * 300,
    b"P6 9999999 9999999 255\n", b"P6\n" + b"#" * 100_000, b"Pf\n4 4\n-1.0\n", b"BM" + b"\xff" * 60,
    b"RIFF\xff\xff\xff\xffWEBPVP8X" + bytes(90), b"\0\0\0\x0cjP  \r\n\x87\n" + b"\xff" * 90,
    b"\xff\xd8\xff\xe1\xff\xffExif\0\0II*\0" + b"\xff" * 600, b"", b"\0", b"<svg/>",
    b"<html>", b"MZ" + bytes(90),
)  # fmt: skip


def _picture(rng: random.Random, form: str) -> bytes:
    image = Image.frombytes("RGB", (12, 10), rng.randbytes(360))
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def _spoilt(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(BYTE_CHANGES)(content, rng) if content else content


def _name(rng: random.Random) -> str:
    return rng.choice(WORDS).replace("/", "_")


def special(path: Path, rng: random.Random) -> None:
    """Something else than a regular file, or a link that leads to such, or nowhere."""
    pipe = path.parent / "pipe-of-it"
    targets = (
        "/dev/zero", "/dev/tty", "/dev/stdin", "/proc/self/fd/0", "/proc/kmsg", "/proc/self/mem",
        "nowhere", path.name, ".", "..", "/proc/self/environ", "/dev/full",
    )  # fmt: skip
    if path.is_dir() and not path.is_symlink():
        return
    path.unlink(missing_ok=True)
    match rng.randrange(7):
        case 0:
            os.mkfifo(path)
        case 1 if len(os.fsencode(path)) < 100:
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
                server.bind(os.fspath(path))
        case 2 if not pipe.exists():
            os.mkfifo(pipe)
            path.symlink_to(pipe.name)
        case 3:
            path.mkdir()
        case 4:
            with path.open("wb") as file:
                file.truncate(rng.choice((2**31, 2**42)))
        case _:
            path.symlink_to(rng.choice(targets))


def image_folder(folder: Path, rng: random.Random) -> None:
    """`images`: classes of small pictures, and what else somebody puts there."""
    root = folder / "images"
    names = ["ant", "bee", rng.choice((_name(rng), "cat"))]
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(4):
            form = rng.choice(("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"))
            ending = rng.choice((form.lower(), "jpg"))
            (root / name / f"{index}.{ending}").write_bytes(_picture(rng, form))
    for _ in range(rng.choice((1, 2, 4))):
        files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        path = rng.choice(files)
        match rng.randrange(6):
            case 0:
                path.write_bytes(rng.choice(CONTENTS))
            case 1:
                path.write_bytes(_spoilt(path.read_bytes()[:100_000], rng))
            case 2:
                special(path, rng)
            case 3:
                special(path.parent / f"{_name(rng)}.png", rng)
            case 4:
                path.rename(path.with_name(f"{_name(rng)}{path.suffix}"))
            case _:
                special(rng.choice((root, root / "ant")) / "more", rng)


def manifest(folder: Path, rng: random.Random) -> None:
    """`list.csv`, and the pictures that it names."""
    image_folder(folder, rng) if rng.random() < 0.3 else _plain_images(folder, rng)
    rows = [["path", "label", "split", "group"][: rng.choice((2, 2, 3, 4))]]
    found = sorted(p for p in (folder / "images").rglob("*") if not p.is_dir() and p.suffix)
    for path in found:
        row = [str(path.relative_to(folder)), path.parent.name, "train", path.parent.name]
        rows.append(row[: len(rows[0])])
    for _ in range(rng.choice((0, 1, 3))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(
            (*WORDS, "", "/dev/zero", "/etc/passwd", "../../x", "list.csv", "images", "http://x/y",
             "|true", "a\0b", "9" * 5000, "nan", "x" * 200_000, '"', '"a'),
        )  # fmt: skip
    delimiter = rng.choice((",", ",", ";", "\t"))
    lines = (delimiter.join(row) for row in rows)
    content = rng.choice(("\n", "\r\n")).join(lines).encode("utf-8", "surrogateescape")
    path = folder / "list.csv"
    path.write_bytes(_spoilt(content, rng) if rng.random() < 0.4 else content)
    if rng.random() < 0.05:
        path.write_bytes(
            rng.choice((b"PAR1" + bytes(90), b"PK\3\4" + bytes(90), b"root:*:1:2:::\n"))
        )
    if rng.random() < 0.1:
        special(path, rng)


def _plain_images(folder: Path, rng: random.Random) -> None:
    for name in ("ant", "bee"):
        (folder / "images" / name).mkdir(parents=True)
        for index in range(4):
            (folder / "images" / name / f"{index}.png").write_bytes(_picture(rng, "PNG"))


def cluster_file(folder: Path, rng: random.Random) -> None:
    """`cluster.yaml`, of one that comes with the repository or of a document of its own."""
    text = rng.choice(SHIPPED_CLUSTERS).read_text(encoding="utf-8")
    for _ in range(rng.choice((1, 1, 2, 4))):
        text = rng.choice(TEXT_CHANGES)(text, rng)
    if rng.random() < 0.2:
        text = rng.choice((rng.choice(TREES), _merges(), f"{text}\nx: {rng.choice(TREES)}"))
    if rng.random() < 0.2:
        text = text.replace("cluster", rng.choice(WORDS[:8]).encode("unicode_escape").decode(), 3)
    content = text.encode("utf-8", "surrogatepass")
    path = folder / "cluster.yaml"
    path.write_bytes(_spoilt(content, rng) if rng.random() < 0.2 else content)
    if rng.random() < 0.1:
        special(path, rng)


def _merges() -> str:
    """A mapping that merge keys double forty times."""
    lines = ["provider: {type: aws}", "a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
    return "\n".join(lines)


class _Runs:
    """What a pickle does with it: a file beside the folder, if it is loaded."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.arguments


@functools.cache
def _weights() -> tuple[tuple[str, bytes], ...]:
    tensors = {"a.weight": torch.zeros(3, 4), "a.bias": torch.ones(3)}
    found = [("w.safetensors", save(tensors, {"\x1b[31m": "\u202e"}))]
    for content in (tensors, {"state_dict": tensors}, {"\x1b[31ma\u202e": 3}, [1], {"a": "b"}):
        for new in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            found.append(("w.pt", file.getvalue()))
    calls = (
        (os.system, "touch EXECUTED"), (exec, "open('EXECUTED', 'w')"), (eval, "1"), (print, "x"),
        (bytearray, 10**12), (os.getcwd,), (__import__, "antigravity"), (torch.load, "EXECUTED"),
        (torch.hub.load, "x/y", "z"), (getattr, 3, "real"),
    )  # fmt: skip
    for call, *arguments in calls:
        for wrapped in (_Runs(call, *arguments), {"a.weight": _Runs(call, *arguments)}):
            file = io.BytesIO()
            torch.save(wrapped, file)
            found += [("w.pt", file.getvalue()), ("w.pt", pickle.dumps(wrapped, 2))]
    return tuple(found)


def weights(folder: Path, rng: random.Random) -> None:
    """`w.pt` or `w.safetensors`."""
    name, content = rng.choice(_weights())
    if rng.random() < 0.5:
        content = _spoilt(content, rng)
    if rng.random() < 0.1:
        content = (2**62).to_bytes(8, "little") + b"{}" if rng.random() < 0.5 else POSTSCRIPT
        name = rng.choice(("w.pt", "w.safetensors"))
    path = folder / name
    path.write_bytes(content)
    if rng.random() < 0.1:
        special(path, rng)


MEMBERS = (
    "a/b.png", "a", "a/", "./a", "a/b/c.png", "../up.png", "a/../../up.png", "/tmp/abs.png",
    "..\\up.png", "C:\\x", "a\0b", "", ".", "a" * 5000, "/".join("a" * 3000), "a/" * 200 + "b",
    "\x1b[31m.png", "\u202ea.png",
    "a\nb", "con", "a//b", "\udcff.png",
)  # fmt: skip


def archive(folder: Path, rng: random.Random) -> None:
    """`archive`, a tar, a compressed tar or a zip file."""
    content = io.BytesIO()
    if rng.random() < 0.5:
        with tarfile.open(fileobj=content, mode="w", format=rng.choice((0, 1, 2))) as tar:
            for _ in range(rng.choice((1, 3, 8))):
                with contextlib.suppress(ValueError, UnicodeError, OverflowError, tarfile.TarError):
                    tar.addfile(*_member(rng))
    else:
        with warnings.catch_warnings(), zipfile.ZipFile(content, "w", 8) as packed:
            warnings.simplefilter("ignore")  # of names that are there twice
            for _ in range(rng.choice((1, 3, 8))):
                with contextlib.suppress(ValueError, UnicodeError):
                    packed.writestr(_entry(rng), bytes(rng.choice((0, 9, 3_000_000))))
    written = content.getvalue()
    if rng.random() < 0.3:
        written = gzip.compress(written, 1)
    if rng.random() < 0.3:
        written = _spoilt(written, rng)
    path = folder / "archive"
    path.write_bytes(written)
    if rng.random() < 0.05:
        special(path, rng)


def _member(rng: random.Random) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(rng.choice(MEMBERS))
    info.type = rng.choice(
        (tarfile.REGTYPE,) * 6
        + (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
        + (b"L", b"Z")
    )  # fmt: skip
    info.linkname = rng.choice(("a/b.png", "../up.png", "/etc/passwd", ".", "archive"))
    info.mode = rng.choice((0o644, 0, 0o7777))
    info.mtime = rng.choice((0, 10**9, 2**33))
    info.size = rng.choice((0, 9, 5000, 3_000_000)) if info.type == tarfile.REGTYPE else 0
    return info, io.BytesIO(bytes(info.size))


def _entry(rng: random.Random) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(rng.choice(MEMBERS))
    info.external_attr = rng.choice((0o100644, 0o120777, 0o010644, 0o040755)) << 16
    return info


KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    "images": image_folder,
    "manifest": manifest,
    "cluster": cluster_file,
    "weights": weights,
    "archive": archive,
}
