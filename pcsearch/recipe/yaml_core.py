"""YAML as recipes use it: the core schema of YAML 1.2, composed with limits, never constructed.

PyYAML follows YAML 1.1, where `on` and `no` are booleans, `010` is eight, `1:30` is ninety and
`1e-4` is text. Here a scalar is null, true or false, a decimal number, or text. The same rules
serve reading and writing, so what is written reads back the same.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

BYTES_LIMIT = 1_000_000
DEPTH_LIMIT = 20
NODES_LIMIT = 20_000

TAG = "tag:yaml.org,2002:"
_RESOLVERS = (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
)


class LimitError(Exception):
    """A document nested too deep or with too many values; `line` is 1-based."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class LimitedLoader(yaml.SafeLoader):
    """Composes nodes up to limits of number and depth that no hand-written file reaches."""

    what = "a recipe"
    depth_limit, nodes_limit = DEPTH_LIMIT, NODES_LIMIT

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        self._nodes += 1
        deep = self._depth > self.depth_limit
        if deep or self._nodes > self.nodes_limit:
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            wrong = "is nested too deep" if deep else "holds too many values"
            raise LimitError(f"{wrong} for {self.what}", line)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def check_aliases(self, root: yaml.Node) -> None:
        """Refuse aliases that repeat each other or contain themselves.

        Such a document is small, but expands to a huge one.

        Raises:
            LimitError: the expanded document has too many values or is too deep.
        """
        pending, left = [(root, 1)], self.nodes_limit
        while pending:
            node, depth = pending.pop()
            below = [] if isinstance(node, yaml.ScalarNode) else node.value
            if isinstance(node, yaml.MappingNode):
                below = [child for pair in below for child in pair]
            left -= len(below)
            if left < 0 or depth > self.depth_limit:
                message = "holds too many values: its aliases (*name) repeat each other"
                raise LimitError(message, node.start_mark.line + 1)
            pending += [(child, depth + 1) for child in below]


class CoreLoader(LimitedLoader):
    """Composes nodes; the core schema resolves its scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class CoreDumper(yaml.SafeDumper):
    """Writes what `CoreLoader` reads back the same."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: CoreDumper, text: str) -> yaml.ScalarNode:
    """Double quotes where a plain or single-quoted scalar would fold an exotic line break."""
    return dumper.represent_scalar(f"{TAG}str", text, style=None if text.isprintable() else '"')


CoreDumper.add_representer(str, _represent_text)
for _name, _pattern, _first in _RESOLVERS:
    for _kind in (CoreLoader, CoreDumper):
        _kind.add_implicit_resolver(TAG + _name, re.compile(_pattern), _first)


def compose(text: str) -> yaml.Node | None:
    """The root node; None for an empty document.

    Raises:
        yaml.YAMLError: it is not YAML.
        LimitError: it is too deep or has too many values.
    """
    loader = CoreLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    """The value of a scalar node; ValueError for a tag outside the core schema."""
    tag, text = node.tag.removeprefix(TAG), node.value
    if tag == "null":
        return None
    if tag == "bool" and text.lower() in ("true", "false"):
        return bool(text.lower() == "true")
    if tag == "int":
        return int(text)
    if tag == "float":
        return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.lower()))
    if tag == "str":
        return str(text)
    raise ValueError(f"has the tag {node.tag}, which recipes do not allow")


def dump(data: object) -> str:
    """Block mappings with their leaves in flow style, keys in the order given."""
    return str(
        yaml.dump(
            data,
            Dumper=CoreDumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=None,
            width=100,
        )
    )
