"""Names that no storage takes."""

from __future__ import annotations

BAD_NAMES = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/../../x",
    "a/./x",
    "a//x",
    "a/",
    ".hidden",
    "a/.tmp",
    "a\\..\\x",
    "C:/x",
    "a\nb",
    "a\0b",
    "a\x1b[31mb",
    "a\u202eb",
    "a\ud800b",
    "x" * 201,
    "é" * 101,
    "/".join(["x" * 100] * 9),
]
