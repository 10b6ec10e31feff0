"""Makes text from strangers safe to show on a terminal or a page.

Messages contain names of files and classes, journals, labels and servers' answers. Such text must
not control a terminal, nor hide or reverse the text beside it. So every outlet passes its text
through here: errors (`PcsearchError`), the streams and consoles of the command line
(`pcsearch.cli.console`), its plain lines, and the report with its figures.
"""

from __future__ import annotations

import json
import re
import unicodedata

_UNSEEN = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))) | frozenset(
    "\u2800\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
)
"""Unicode counts them as letters or marks, but they are blank or have no width."""
_SPACE = "Zs"
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_UTF8 = re.compile(r"\\u(dc[89a-f][0-9a-f])")


def printable(text: str) -> str:
    """One line: all but visible characters and spaces become escapes such as `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_seen(c) else _escaped(c) for c in text)


def printable_lines(text: str) -> str:
    """Like `printable`, for text of several lines; newlines and tabs stay."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(c if c in "\n\t" or _is_seen(c) else _escaped(c) for c in text)


def encodable(text: str) -> str:
    """The text with each byte of a file's name that is not UTF-8 as an escape such as `\\udcf6`.

    Python holds such bytes as lone surrogates, which no UTF-8 file can hold. The escape is that of
    `printable`, so messages, manifests and stored class names agree.
    """
    return _SURROGATE.sub(lambda found: _escaped(found[0]), text)


def file_name(text: str) -> str:
    """The inverse of `encodable`."""
    return _NOT_UTF8.sub(lambda found: chr(int(found[1], 16)), text)


def _is_seen(character: str) -> bool:
    if character.isprintable():
        return character not in _UNSEEN
    return unicodedata.category(character) == _SPACE


def _escaped(character: str) -> str:
    """The JSON escape, so that JSON stays valid.

    JSON never holds raw ASCII control characters but `\\x7f`, so the others get the short form.
    """
    if character == "\x7f":
        return "\\u007f"
    if character.isascii():
        return character.encode("unicode_escape").decode()
    return json.dumps(character)[1:-1]
