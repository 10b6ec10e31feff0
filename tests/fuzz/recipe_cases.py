"""Recipes that somebody got wrong, or means harm with: one a seed, always the same."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pcsearch.recipe.load import shipped_recipes
from pcsearch.recipe.validate import KEYS

SHIPPED = {name: path.read_text(encoding="utf-8") for name, path in shipped_recipes().items()}
WORDS = sorted({name for names in KEYS.values() for name in names})

VALUES = (
    "null", "~", "true", "yes", "on", "0", "-1", "1", "2", "1e999", "-1e999", ".inf", ".nan",
    "1e-400",
    "010", "0o17", "0x1F", "1:30:00", "1_000", "12e03", "+.5", "1e400", "9" * 400, "9" * 5000,
    "-" + "9" * 4000, "1" + "0" * 300 + ".0", "0." + "3" * 3000, '""', "''", '"\\0"', '"\\uD800"',
    '"\\x1b[31m"',
    "[]", "{}", "[[]]", "[1, 2]", "[2, 1]", "[0.1]", "[a, a]", "{low: 1}",
    "{low: 1, high: 2, log: yes}",
    "{choices: []}", "{choices: [1, x]}", "{low: nan, high: inf}", "{low: 0, high: 1, log: true}",
    "imagenet", "imagenett", "none", "nonee", "~nobody-here/x", "~imagenet", "~/x",
    "../../etc/passwd", "/dev/zero",
    "/proc/self/mem", "/dev/tty", ".", "..", "a/b", "C:\\\\x", "os:system", "os.path:join", "test",
    "!!python/object/apply:os.system [touch EXECUTED]", "!!python/name:os.system",
    "!!python/object/new:os.system [touch EXECUTED]", "!!binary aGVsbG8=", "!!set {a, b}",
    "!!omap [a: 1]",
    "!!timestamp 2001-01-01", "!!int x", "!!float x", "!!bool maybe", "!!null x", "!!str 3",
    "!own 3",
    "!<tag:x%0Ay> 3", "*nowhere", "&a [*a]", "&a {b: *a}", "|", ">-", "? a", "- - - a", "@x",
    "`x`", "%x",
    "é", "λ", "\U0001f600", "\u202ereversed", "\u2028", "x" * 300, "2001-01-01", "<<",
    "{<<: {a: 1}}",
)  # fmt: skip


def _listed(item: str, count: int) -> str:
    """`a1, a2, ...` of `a#`."""
    return ", ".join(item.replace("#", f"{number:05d}") for number in range(1, count + 1))


_LAUGHS = "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
_REST = "\nbackbones: [resnet50]\nasha: {max_epochs: 3}"

TREES = (
    "[" * 15 + "]" * 15,
    "[" * 3000,
    "{a: " * 3000,
    "- " * 5000 + "a",
    "? " * 3000,
    f"a: &a [x, x, x, x, x, x, x, x, x]\n{_LAUGHS}",
    f"backbone_options: {{vgg16: {{a: &a {'x' * 50_000}, {_listed('k#: *a', 3000)}}}}}",
    f"{{{_listed('key#: 1', 9000)}}}",
    f"datasets: [{_listed('name#', 9000)}]{_REST}",
    f"datasets: [digits]\nbackbones: [{_listed('net#', 9000)}]\nasha: {{max_epochs: 3}}",
    f"data: {{classes: [{_listed('1#', 15_000)}]}}",
    f"search: {{grid: {{lr: [{_listed('0.#', 9000)}]}}, sampler: grid}}",
    f"search: {{per_backbone: {{{_listed('n#: {lr: 1}', 5000)}}}}}",
    f"weights: {{{_listed('imagenet#: imagenett', 5000)}}}",
    "%YAML 9.9\n---\na: 1", "%TAG ! tag:x:\n---\na: 1", "--- a\n--- b\n", "...", "a: 1\na: 2\n",
    "# only words\n" * 300, "\n" * 200_000, " " * 300_000, "#" * 300_000, "x" * 300_000,
    '"' + "\\n" * 100_000, "'" + "''" * 100_000, "a: |\n" + "  x\n" * 50_000, "[" + "a," * 50_000,
    "&" * 1000, "\t" * 1000, "x" * 3_000_000, "- 1\n" * 900_000,
)  # fmt: skip


@dataclass(frozen=True)
class RecipeCase:
    """Files to write, and what is given on the command line."""

    files: dict[str, bytes]
    sources: list[str]
    overrides: list[str]


def recipe_case(seed: int) -> RecipeCase:
    """The case of a seed: a shipped recipe with one to four changes, or a document of its own."""
    rng = random.Random(seed)
    name = rng.choice(list(SHIPPED))
    text = SHIPPED[name]
    if rng.random() < 0.06:
        text = rng.choice(TREES)
        if rng.random() < 0.5:
            text = f"{SHIPPED[name]}\n{text}"
    else:
        for _ in range(rng.choice((1, 1, 2, 4))):
            text = rng.choice(TEXT_CHANGES)(text, rng)
    content = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.25:
        content = rng.choice(BYTE_CHANGES)(content, rng)
    files = {"mine.yaml": content}
    sources = ["mine.yaml"]
    if rng.random() < 0.1:
        files |= _extending(rng)
    overrides = [_override(rng) for _ in range(rng.choice((0, 0, 0, 1, 3)))]
    if rng.random() < 0.02:
        sources = [
            rng.choice(("x" * 5000, "a\0b", "\udcff", "\x1b[2J", "", ".", "/dev/zero", "~nobody/x"))
        ]
    return RecipeCase(files, sources, overrides)


def _lines(
    change: Callable[[list[str], random.Random], None],
) -> Callable[[str, random.Random], str]:
    def changed(text: str, rng: random.Random) -> str:
        lines = text.split("\n")
        change(lines, rng)
        return "\n".join(lines)

    return changed


def _new_value(text: str, rng: random.Random) -> str:
    """Another value in place of one that stands after a colon."""
    places = list(re.finditer(r":[ \t]+([^\s,{}\[\]#]+|\[[^\]]*\]|\{[^}]*\})", text))
    if not places:
        return rng.choice(VALUES)
    place = rng.choice(places)
    return text[: place.start(1)] + rng.choice(VALUES) + text[place.end(1) :]


def _new_key(text: str, rng: random.Random) -> str:
    places = list(re.finditer(r"[a-z_]+(?=:)", text))
    if not places:
        return text
    place = rng.choice(places)
    key = rng.choice(
        (rng.choice(WORDS), "<<", '""', "1", "null", "[a]", "{a: b}", "? x", "a.b", "é\u202e")
    )
    return text[: place.start()] + key + text[place.end() :]


def _added(text: str, rng: random.Random) -> str:
    keys = [rng.choice(WORDS) for _ in range(rng.choice((1, 2, 3)))]
    line = (
        "".join(f"{key}: {{" for key in keys[:-1])
        + f"{keys[-1]}: {rng.choice(VALUES)}"
        + "}" * (len(keys) - 1)
    )
    return f"{text}\n{line}\n"


def _characters(text: str, rng: random.Random) -> str:
    at, cut = rng.randrange(len(text) + 1), rng.randrange(8)
    new = "".join(
        rng.choice("{}[]:,-#&*!|>'\"%@`?~ \n\t\r\0\x1b\x85\u2028\ufeff1e.éλ")
        for _ in range(rng.randrange(5))
    )
    return text[:at] + new + text[at + cut :]


def _swap(lines: list[str], rng: random.Random) -> None:
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]


def _double(lines: list[str], rng: random.Random) -> None:
    at = rng.randrange(len(lines))
    lines[at:at] = [lines[at]] * rng.choice((1, 2, 50))


def _drop(lines: list[str], rng: random.Random) -> None:
    del lines[rng.randrange(len(lines))]


def _indent(lines: list[str], rng: random.Random) -> None:
    at = rng.randrange(len(lines))
    lines[at] = rng.choice(("  ", " ", "\t", "      ")) + lines[at]


TEXT_CHANGES: tuple[Callable[[str, random.Random], str], ...] = (
    _new_value, _new_value, _new_value, _new_key, _added, _added, _characters, _characters,
    _lines(_swap), _lines(_double), _lines(_drop), _lines(_indent),
)  # fmt: skip

BYTE_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    lambda content, rng: b"\xef\xbb\xbf" + content,
    lambda content, rng: content.replace(b"\n", b"\r\n"),
    lambda content, rng: content.replace(b"\n", b"\r"),
    lambda content, rng: content.decode("utf-8", "replace").encode("utf-16"),
    lambda content, rng: content.decode("utf-8", "replace").encode("utf-32-le"),
    lambda content, rng: content[: rng.randrange(len(content) + 1)],
    lambda content, rng: rng.randbytes(2000),
    lambda content, rng: b"",
    lambda content, rng: content + bytes(rng.randrange(5000)),
    lambda content, rng: _flipped(content, rng),
    lambda content, rng: _flipped(content, rng),
)


def _flipped(content: bytes, rng: random.Random) -> bytes:
    flipped = bytearray(content or b"x")
    for _ in range(rng.choice((1, 1, 5))):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _extending(rng: random.Random) -> dict[str, bytes]:
    """A recipe that extends another one, itself, a long chain, or what is no recipe."""
    if rng.random() < 0.2:
        chain = {f"c{i}.yaml": f"extends: c{i + 1}.yaml\n".encode() for i in range(30)}
        return chain | {"mine.yaml": b"extends: c0.yaml\n"}
    base = rng.choice(
        ("mine.yaml", "other.yaml", "quickstart", "quickstar", "/dev/zero", "/proc/kmsg",
         "/proc/self/mem", "/dev/tty",
         "..", "~nobody/x.yaml", "~", "[a]", "null", "x" * 5000, '"a\\0b"', "mine.yaml/x", "pipe")
    )  # fmt: skip
    other = _new_value(SHIPPED["quickstart"], rng)
    if rng.random() < 0.5:
        other += "\nextends: mine.yaml\n"
    own = f"extends: {base}\n{_new_value('search: {trials: 3}', rng)}\n"
    return {"mine.yaml": own.encode(), "other.yaml": other.encode()}


def _override(rng: random.Random) -> str:
    key = rng.choice(
        (
            ".".join(rng.choice(WORDS) for _ in range(rng.choice((1, 2, 2, 3)))),
            "search.lr", "search.lr.low", "datasets", "datasets.0", "data.classes", "extends", "",
            ".", "a..b", '"a"."b"',
            '"a.b".c', '"', "a" * 3000, ".".join("a" * 3000), "search.per_backbone.vgg16.lr.low",
            "\udcff", "\0", "\x1b[2J",
            "backbone_options.vgg16." + ".".join("x" * 30),
        )
    )  # fmt: skip
    return f"{key}={rng.choice(VALUES)}"


def write_case(case: RecipeCase, folder: Path) -> None:
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
