"""What `make docs` adds to the pages of docs/: those at the root, and those made from the code.

MkDocs calls the functions that begin with `on_` (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))  # MkDocs loads a hook without its folder
from docs_reference import (
    command_file,
    command_index,
    command_page,
    commands,
    recipe_reference,
)

ROOT = Path(__file__).resolve().parents[1]
FROM_ROOT = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting-a-weakness.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Files outside of docs/, and their pages."""

_CODE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")
_LOADED = re.compile(
    r"<(?:script|img|iframe|link(?! rel=.(?:canonical|prev|next)))\b[^>]*"
    r"\b(?:src|href)=[\"']?(?:https?:)?//"
)


def on_config(config: MkDocsConfig) -> None:
    """Put the commands into the navigation, by group."""
    groups: dict[str, list[Any]] = {}
    for names in commands():
        page = {names[-1]: f"commands/{command_file(names)}"}
        groups.setdefault(" ".join(names[:-1]), []).append(page)
    first = groups.pop("")
    entry = next(one for one in config.nav or [] if "Commands" in one)
    entry["Commands"] = ["commands/index.md", *first, *({name: groups[name]} for name in groups)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    pages = {page: (ROOT / file).read_text() for file, page in FROM_ROOT.items()}
    pages |= {"commands/index.md": command_index(), "recipe-reference.md": recipe_reference()}
    for names, command in commands().items():
        pages[f"commands/{command_file(names)}"] = command_page(names, command)
    for page, content in pages.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links between files of the repository to their pages."""
    here = page.file.src_uri
    if here == "index.md":
        page.meta["hide"] = ["toc"]  # README's table is wide
    origin = {target: file for file, target in FROM_ROOT.items()}.get(here, f"docs/{here}")

    def led(link: re.Match[str]) -> str:
        file = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link[1]))
        target = FROM_ROOT.get(file, file.removeprefix("docs/"))
        return posixpath.relpath(target, posixpath.dirname(here) or ".")

    parts = _CODE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(led, part) for part in parts)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse a page that makes a reader's browser load something from elsewhere."""
    if found := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from the internet: {found[0]}")
    return output
