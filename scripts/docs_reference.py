"""The documentation's pages that are made from the code: the commands and the keys of recipes.

Neither Ray nor a GPU is needed: commands come from the command line's own objects, keys from the
JSON Schema that `pcsearch recipes schema` prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
import yaml

from pcsearch.cli.app import app
from pcsearch.recipe.json_schema import Node, recipe_schema

Names = tuple[str, ...]
"""A command's words, as `("data", "cache", "ls")`."""

_LARGEST = 1e5
"""A limit from here on only keeps nonsense out; a reader need not know it."""


def commands() -> dict[Names, Any]:
    """Every command by its words, in the order of `pcsearch --help`."""

    def below(names: Names, group: Any) -> Iterator[tuple[Names, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from below((*names, name), command)
            else:
                yield (*names, name), command

    return dict(below((), typer.main.get_command(app)))


def command_file(names: Names) -> str:
    """The page of a command, under `commands/`."""
    return f"{'-'.join(names)}.md"


def command_index() -> str:
    """The page that lists the commands."""
    rows = [
        (f"[{' '.join(names)}]({command_file(names)})", _plain(command.help).partition("\n")[0])
        for names, command in commands().items()
    ]
    head = (
        "# Commands\n\nEach begins with `pcsearch`, as in `pcsearch tune` and `pcsearch data ls`."
    )
    return f"{head}\n\n{_table(('command', 'what it does'), rows)}"


def command_page(names: Names, command: Any) -> str:
    """One command: what it does, examples, arguments and options."""
    title = f"pcsearch {' '.join(names)}"
    text, _, in_help = re.sub("\nExamples?: ", "\0", _plain(command.help)).partition("\0")
    examples = in_help or "\n".join(_plain(command.epilog).splitlines()[1:])
    lines = [line.strip() for line in examples.splitlines()]
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one not in arguments and not one.hidden]
    usage = " ".join([title, "[OPTIONS]", *map(_argument, arguments)])
    text = re.sub(r"^#.*$", r"`\g<0>`", text, flags=re.MULTILINE)  # a line to copy is no heading
    parts = [f"# {title}", text, _code([usage])]
    if lines:
        parts += ["## Examples", _code(lines)]
    for heading, chosen in (("Arguments", arguments), ("Options", options)):
        if chosen:
            rows = [_parameter(one) for one in chosen]
            parts += [f"## {heading}", _table(("name", "meaning", "default"), rows)]
    return "\n\n".join(parts) + "\n"


def recipe_reference() -> str:
    """Every key of a recipe with its values, default and meaning, a table a section."""
    schema = recipe_schema()
    sections = {key: node for key, node in schema["properties"].items() if _section(node)}
    top = {key: node for key, node in schema["properties"].items() if key not in sections}
    parts = [
        "# Recipe keys",
        "This page is made from the JSON Schema of recipes, which `pcsearch recipes schema` prints."
        " [The keys of a recipe](recipes.md) explains how they work together.",
        "A **space** is a number, `[low, high]`, `{low: , high: , log: true}` or "
        "`{choices: [...]}`.",
        "## Top level",
        _keys(top),
    ]
    for name, node in sections.items():
        parts += [f"## {name}", node["description"], _keys(_section(node))]
        for key, below in _section(node).items():
            if inner := _section(below):
                parts += [f"### {name}.{key}", _keys(inner)]
    return "\n\n".join(parts) + "\n"


def _keys(properties: Node) -> str:
    rows = [
        (f"`{key}`", node["description"], _values(node), _default(node))
        for key, node in properties.items()
    ]
    return _table(("key", "meaning", "values", "default"), rows)


def _section(node: Node) -> Node:
    """The keys below one, empty if it holds a value."""
    forms = [node, *node.get("anyOf", [])]
    keys: Node = next((form["properties"] for form in forms if "properties" in form), {})
    return {} if "low" in keys else keys


def _values(node: Node) -> str:
    """What a key may hold, in words."""
    forms = node.get("anyOf", [])
    if any("low" in form.get("properties", {}) for form in forms):
        number = _values(forms[0])
        return f"space ({number})" + (", `auto`" if {"const": "auto"} in forms else "")
    if len(forms) == 2 and forms[0].get("items") == forms[1]:  # a name stands for a list of one
        return f"one or a list of {_values(forms[1])}"
    if kinds := [_values(form) for form in forms]:
        return ", or ".join(kind for kind in dict.fromkeys(kinds) if kind != "null")
    if "const" in node or "enum" in node:
        values = node.get("enum", [node.get("const")])
        return f"any of {len(values)} names" if len(values) > 30 else _choices(values)
    kind = node.get("type", "")
    if kind in ("number", "integer"):
        return {"number": "number", "integer": "whole number"}[kind] + _limits(node)
    if kind == "array":
        return f"list, each: {_values(node['items'])}"
    return {"string": "text", "boolean": "`true`, `false`", "object": "mapping"}.get(kind, kind)


def _choices(values: list[Any]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _limits(node: Node) -> str:
    """As ` > 0, ≤ 1`; limits that only keep nonsense out are left out."""
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    said = [
        f"{sign} {node[key]:g}" for key, sign in signs.items() if abs(node.get(key, 1e9)) < _LARGEST
    ]
    return " " + ", ".join(said) if said else ""


def _default(node: Node) -> str:
    if node.get("default", "") in ("", None, []):
        return ""
    value = yaml.safe_dump(node["default"], default_flow_style=True, sort_keys=False, width=1e9)
    return f"`{value.partition('...')[0].strip()}`"  # YAML marks the end of a lone value so


def _parameter(one: Any) -> tuple[str, str, str]:
    """The row of an argument or an option."""
    if one.param_type_name == "argument":
        return f"`{_argument(one)}`", _plain(one.help), ""
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    value = f" `{one.metavar}`" if one.metavar else ""
    variable = f" The variable `{one.envvar}` does the same." if one.envvar else ""
    shown = "" if one.default in (None, True, False) else f"`{one.default}`"
    return names + value, _plain(one.help) + variable, shown


def _argument(one: Any) -> str:
    name: str = one.metavar or one.name.upper()
    return name if one.required or "[" in name or "..." in name else f"[{name}]"


def _plain(text: str | None) -> str:
    """Help without the terminal's markup: bold words are code, an escaped bracket is a bracket."""
    return re.sub(r"\[bold](.+?)\[/]", r"`\1`", text or "").replace("\\[", "[")


def _code(lines: list[str]) -> str:
    return "\n".join(["```", *lines, "```"])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
        for row in (head, ("---",) * len(head), *rows)
    )
