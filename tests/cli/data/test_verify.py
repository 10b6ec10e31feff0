"""`data verify` on small folders with real faults."""

from __future__ import annotations

import csv
import json
import pwd
import shutil
from pathlib import Path

import pytest

from tests.cli.data.commands import Command, check_width, command
from tests.data.image_files import CUB_ROOT, save_classes

__all__ = ["command"]


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    for seed, part in enumerate(("train", "test")):
        save_classes(tmp_path / "birds" / part, {"auk": 12, "tit": 11}, seed=seed)
    return Path("birds")


def test_a_sound_folder_is_fine(command: Command, birds: Path) -> None:
    code, out, err = command("data", "verify", "--images", birds)
    assert code == 0
    check_width(out)
    assert "23 train, 23 test" in out
    assert "all can be read" in out
    assert out.splitlines()[-1].startswith("fine")
    assert "training images: 23 of 23" in err


def test_problems_exit_with_1_and_are_named(command: Command, birds: Path) -> None:
    (birds / "train" / "auk" / "00.jpg").write_bytes(b"\xff\xd8 torn")
    copied = (birds / "train" / "tit" / "03.jpg").read_bytes()
    (birds / "test" / "tit" / "04.jpg").write_bytes(copied)
    code, out, _ = command("data", "verify", "images", "--images", birds)
    assert code == 1
    assert len(out.splitlines()) <= 24
    text = "".join(out.split())
    for part in ("train/auk/00.jpg", "test/tit/04.jpg", "train/tit/03.jpg", "1acrossparts"):
        assert part in text
    assert out.splitlines()[-1].startswith("2 problems: 46 images in 0:0")
    code, out, _ = command("data", "verify", "--images", birds, "--json")
    assert code == 1
    report = json.loads(out)
    assert report["ok"] is False
    assert len(report["problems"]) == 2
    assert [pair["leaks"] for pair in report["duplicates"]] == [True]


def test_many_missing_files_are_all_listed(command: Command, birds: Path) -> None:
    assert command("data", "verify", "--images", birds, "--write-manifest", "b.csv")[0] == 0
    shutil.rmtree(birds / "train" / "auk")
    code, out, err = command("data", "verify", "--manifest", "b.csv")
    assert (code, "12 missing, 0 unreadable" in out) == (1, True), err
    code, out, _ = command("data", "verify", "--manifest", "b.csv", "--json")
    assert (code, len(json.loads(out)["missing"])) == (1, 12)
    code, _, err = command("data", "prepare", "--manifest", "b.csv")
    assert (code, "12 of 46 files are missing" in err) == (2, True), err


def test_a_manifest_with_groups_is_written_and_can_be_verified(
    command: Command, birds: Path
) -> None:
    copied = (birds / "train" / "tit" / "03.jpg").read_bytes()
    (birds / "train" / "tit" / "04.jpg").write_bytes(copied)
    code, out, err = command("data", "verify", "--images", birds, "--write-manifest", "b.csv")
    assert code == 0, err
    assert "46 images; copies of one picture share a group" in err
    assert "pcsearch tune my-manifest data.manifest=b.csv" in err
    with Path("b.csv").open(newline="") as file:
        groups = {row["path"]: row["group"] for row in csv.DictReader(file)}
    assert len(groups) == 46
    assert groups["birds/train/tit/03.jpg"] == groups["birds/train/tit/04.jpg"]
    assert len(set(groups.values())) == 45
    code, out, err = command("data", "verify", "--manifest", "b.csv")
    assert code == 0, err
    assert "23 train, 23 test" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no dataset is given"),
        (("--images", "nowhere"), "nowhere"),
        (("cub200",), "`pcsearch data get cub200"),
        (("aircraft", "--level", "wing"), "--level wing: no such level of aircraft (levels: vari"),
    ],
)
def test_mistakes_exit_with_2(arguments: tuple[str, ...], says: str, command: Command) -> None:
    code, out, err = command("data", "verify", *arguments)
    assert (code, out) == (2, "")
    assert says in " ".join(err.split())


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not CUB_ROOT.is_dir(), reason=f"no {CUB_ROOT}")
def test_real_photographs(command: Command) -> None:
    code, out, _ = command("data", "verify", "--images", CUB_ROOT / "CUB_200_2011" / "images")
    assert code in (0, 1)
    check_width(out)
    assert "all can be read" in out


def test_a_manifest_that_cannot_be_written_costs_no_report(command: Command) -> None:
    code, out, err = command("data", "verify", "digits", "--json", "--write-manifest", "x.csv")
    assert code == 2
    assert json.loads(out)["dataset"] == "digits"
    assert "error: dataset digits is not made of image files" in err


def _nobody(user: int) -> None:
    raise KeyError(user)


@pytest.mark.parametrize("home", [None, "/proc/home"])
def test_without_a_home_the_cache_needs_a_folder(
    home: str | None, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that runs under a number without an account."""
    save_classes(tmp_path / "birds", {"auk": 6, "tit": 6})
    monkeypatch.setattr(pwd, "getpwuid", _nobody)
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    arguments = ("data", "verify", "images", "--images", "birds")
    assert command(*arguments)[0] == 0
    monkeypatch.delenv("PCSEARCH_CACHE")
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    cause = "HOME is not set" if home is None else f"{home}/.cache/pcsearch: "
    assert cause in err
    assert " set PCSEARCH_CACHE to a" in err.replace("Set", "set")


def test_a_root_below_the_home_folder(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell expands the ~ of --root=~/data."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert str(tmp_path / "me" / "data") in command("data", "verify", "cub200", "--root=~/data")[2]
