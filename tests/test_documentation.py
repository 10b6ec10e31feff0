"""The documentation as a site: what is made from the code, and what readers load."""

from __future__ import annotations

import re
from pathlib import Path

from pcsearch.recipe.json_schema import described_keys, recipe_schema
from scripts.docs_reference import command_index, command_page, commands, recipe_reference

ROOT = Path(__file__).resolve().parents[1]


def test_every_command_has_a_page_with_its_examples_and_options() -> None:
    known = commands()
    assert {("tune",), ("data", "cache", "clear"), ("cluster", "up")} <= known.keys()
    assert command_index().count("](") == len(known)
    page = command_page(("tune",), known["tune",])
    assert page.startswith("# pcsearch tune\n\nSearch λ, confirm it with fresh seeds")
    assert "\npcsearch tune --images ~/birds --hours 8 --detach\n" in page
    assert "\npcsearch tune my.yaml 'backbones=[my_models:small_net]' --allow-code" in page
    assert "| `--runs` `DIR` | Folder that holds the runs, or s3://BUCKET/PREFIX." in page
    for names, command in known.items():
        page = command_page(names, command)
        assert "[bold]" not in page
        assert "[/]" not in page
        assert f"\npcsearch {' '.join(names)}" in page.partition("## Examples")[2], names
        assert re.findall("^# .+$", page, re.MULTILINE) == [f"# pcsearch {' '.join(names)}"]


def test_the_reference_has_every_key_with_values_default_and_meaning() -> None:
    page = recipe_reference()
    keys = {path[-1] for path in described_keys() if "*" not in path}
    assert {key for key in keys if f"| `{key}` |" not in page} == set()
    sections = re.findall("^## (.+)$", page, re.MULTILINE)
    assert {"data", "image", "search", "asha", "train", "budget"} <= set(sections)
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert rows["crop"].startswith("| `crop` | side of the square that is cropped from them")
    assert rows["crop"].endswith(" | whole number ≥ 8, ≤ 4096 | `224` |")
    assert rows["val_fraction"].endswith(" | number > 0, < 1 | `0.2` |")
    assert "| space (number > 0), `auto` | `{low: 0.001, high: 0.1, log: true}` |" in page
    assert "| one or a list of `digits`, `fieldguide`, `cub200`," in rows["datasets"]
    assert rows["flip"].endswith(" | `true`, `false` | `true` |")
    top = page.partition("## Top level")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", top, re.MULTILINE)) | set(sections) >= {
        *recipe_schema()["properties"]
    }


def test_pictures_are_small_load_nothing_and_are_shown() -> None:
    shown = {
        name
        for page in (ROOT / "docs").glob("*.md")
        for name in re.findall(r"\]\((?:pictures/)?(\w+\.(?:png|svg))\)", page.read_text())
    }
    pictures = [*(ROOT / "docs").glob("*.png"), *(ROOT / "docs/pictures").iterdir()]
    assert {path.name for path in pictures} == shown
    for path in (ROOT / "docs/pictures").iterdir():
        assert path.stat().st_size < 150_000
        if path.suffix == ".svg":
            loaded = re.sub(r"<!--.*?-->|xmlns(:\w+)?=\S+", "", path.read_text())
            assert "http" not in loaded, path.name
