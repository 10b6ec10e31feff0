"""Text that a terminal or a page can show, whatever a stranger has put into it.

Names of files and classes, journals, labels and servers' answers end up in messages. What they hold
must neither command a terminal nor hide or reverse what stands beside it. So every outlet passes
its text through here: errors (`PcsearchError`), the streams and consoles of the command line
(`pcsearch.cli.console`), its plain lines, and the report with its figures.
"""

from __future__ import annotations

import json
import unicodedata

_UNSEEN = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))) | frozenset(
    "\u2800\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
)
"""Letters and marks to Unicode, but of no width or blank."""
_SPACE = "Zs"


def printable(text: str) -> str:
    """One line: what is no visible character or space becomes an escape such as `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_seen(c) else _escaped(c) for c in text)


def printable_lines(text: str) -> str:
    """The same for text of several lines, which may hold tabs."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(c if c in "\n\t" or _is_seen(c) else _escaped(c) for c in text)


def _is_seen(character: str) -> bool:
    if character.isprintable():
        return character not in _UNSEEN
    return unicodedata.category(character) == _SPACE


def _escaped(character: str) -> str:
    """As JSON writes it, so that a line of JSON stays one; in short where it holds none anyway."""
    if character == "\x7f":
        return "\\u007f"
    if character.isascii():
        return character.encode("unicode_escape").decode()
    return json.dumps(character)[1:-1]
