"""`data prepare` and `data cache`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pcsearch.data.cache import open_store
from tests.cli.data.commands import Command, command
from tests.data.image_files import save_classes

__all__ = ["command"]

SMALL = ("datasets=[digits]", "image.per_dataset.digits.crop=16")


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    save_classes(tmp_path / "birds", {"auk": 8, "tit": 6})
    return tmp_path / "birds"


def test_own_images_are_decoded_once(command: Command, birds: Path) -> None:
    arguments = ("data", "prepare", "--images", birds, "--resize", 12, "--aspect", "keep")
    code, out, err = command(*arguments, "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert [(row["part"], row["decoded_now"]) for row in rows] == [
        ("training", True),
        ("test", True),
    ]
    assert sum(row["images"] for row in rows) == 14
    assert "decoding images training images: " in err
    for row in rows:
        store = open_store(Path(row["path"]))
        assert store is not None
        assert store.images.shape == (row["images"], 12, 12, 3)
    code, out, err = command(*arguments)
    assert code == 0
    assert out.count("already there") == 2
    assert "where runs on this machine find them" in " ".join(out.split())


def test_the_aspect_is_used(command: Command, birds: Path) -> None:
    pixels = []
    for aspect in ("warp", "keep"):
        out = command(
            "data", "prepare", "--images", birds, "--resize", 8, "--aspect", aspect, "--json"
        )[1]
        store = open_store(Path(json.loads(out)[0]["path"]))
        assert store is not None
        pixels.append(np.array(store.images))
    assert not np.array_equal(*pixels)


def test_unreadable_images(command: Command, birds: Path) -> None:
    (birds / "auk" / "00.jpg").write_bytes(b"\xff\xd8 not a picture")
    arguments = ("data", "prepare", "--images", birds, "--resize", 8)
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert "auk/00.jpg" in err
    code, out, err = command(*arguments, "--on-bad-image", "skip")
    assert code == 0
    assert "1 image skipped" in out
    assert "skipped: " in out


@pytest.mark.parametrize("recipe", [(), ("--recipe", "quickstart", "datasets=[images]")])
def test_broken_training_and_test_images_are_told_in_one_run(
    recipe: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    for seed, part in enumerate(("train", "test")):
        save_classes(tmp_path / "own" / part, {"auk": 4, "tit": 4}, seed=seed)
        (tmp_path / "own" / part / "auk" / "00.jpg").write_bytes(b"\xff\xd8 not a picture")
    code, out, err = command("data", "prepare", *recipe, "--images", tmp_path / "own")
    assert (code, out) == (2, "")
    assert err.count("1 of 8 images cannot be read:") == 2
    assert "train/auk/00.jpg" in err
    assert "test/auk/00.jpg" in err


def test_a_recipe_is_prepared_at_its_own_size(command: Command) -> None:
    code, out, err = command("data", "prepare", "--recipe", "quickstart", *SMALL, "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert [(row["dataset"], row["part"], row["resize"]) for row in rows] == [
        ("digits", "training", 20),
        ("digits", "test", 20),
    ]
    assert [row["images"] for row in rows] == [1438, 359]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no dataset is given"),
        (("digits", "cub200"), "one dataset at a time"),
        (("digits", "image.resize=3"), "overrides (KEY=VALUE) need a recipe"),
        (("digits", "--images", "x"), "--images belongs to the dataset images, not to digits"),
        (("--images", "x", "--manifest", "y"), "are two datasets"),
        (("digits", "--level", "order"), "--level order: no such level of digits (levels: it has"),
        (("--recipe", "quickstart", "--resize", "9"), "--resize cannot be given with --recipe"),
        (("--recipe", "quickstrat"), 'did you mean "quickstart"'),
        (("cub200",), "`pcsearch data get cub200"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], says: str, command: Command) -> None:
    code, out, err = command("data", "prepare", *arguments)
    assert (code, out) == (2, "")
    assert says in " ".join(err.split())


def test_cache_ls_and_clear(command: Command, birds: Path) -> None:
    assert command("data", "cache", "ls")[1].startswith("there are no decoded images in ")
    command("data", "prepare", "--images", birds, "--resize", 8)
    paths = [
        row["path"] for row in json.loads(command("data", "cache", "ls", "--json")[1])["stores"]
    ]
    assert len(paths) == 3, "training, test, and the thumbnails that told copies"
    code, out, _ = command("data", "cache", "ls")
    assert code == 0
    assert max(len(line) for line in out.splitlines()[:-1]) <= 80
    assert "warp" in out
    assert "PCSEARCH_CACHE_LIMIT" in out

    code, out, err = command("data", "cache", "clear")
    assert (code, out) == (2, "")
    assert "3 stores of decoded images" in err
    assert "--yes" in err
    assert command("data", "cache", "clear", "--dry-run")[1].startswith("would remove 3 stores")
    old = time.time() - 10 * 86400
    os.utime(Path(paths[0]).with_suffix(".json"), (old, old))
    out = command("data", "cache", "clear", "--older-than", 9, "--yes")[1]
    assert out.startswith("removed 1 store, ")
    assert [Path(path).exists() for path in paths] == [False, True, True]
    in_use = open_store(Path(paths[1]))
    assert in_use is not None
    code, out, _ = command("data", "cache", "clear", "--yes")
    assert code == 0
    assert "kept 1 store that a process is using" in out
    del in_use
    done = json.loads(command("data", "cache", "clear", "--yes", "--json")[1])
    assert (done["stores"], done["in_use"], done["removed"]) == (1, 0, True)
    assert not Path(paths[1]).exists()


@pytest.mark.parametrize("answer", ["y", "n"])
def test_clear_asks_on_a_terminal(answer: str, command: Command, birds: Path) -> None:
    command("data", "prepare", "--images", birds, "--resize", 8)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pcsearch", "data", "cache", "clear"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    os.write(ours, f"{answer}\n".encode())
    out, err = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    assert "Remove 3 stores of decoded images" in err
    left = json.loads(command("data", "cache", "ls", "--json")[1])["stores"]
    assert len(left) == (0 if answer == "y" else 3)
    assert ("removed 3 stores" in out) == (answer == "y")
