"""`data ls`, `data info` and `data get`, with a server on the loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcsearch.data.catalog import DATASETS
from tests.cli import test_app
from tests.cli.data.commands import Command, check_width, command
from tests.data.download.server import Habits, Server, running
from tests.data.download.small_cub import check_whole, entry, part_of, tgz

__all__ = ["command"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server from which the catalogue's cub200 comes."""
    with running() as state:
        url = state.serve("/a.tgz", Habits(tgz()))
        monkeypatch.setitem(DATASETS, "cub200", entry(url))
        yield state


def test_ls_fits_one_screen(command: Command) -> None:
    code, out, _ = command("data", "ls")
    assert code == 0
    check_width(out)
    for dataset in DATASETS:
        assert f"\n{dataset} " in out
    row = next(line for line in out.splitlines() if line.startswith("cub200"))
    assert row.split()[1:6] == ["200", "5,994", "–", "5,794", "no"]


def test_ls_says_what_is_here(server: Server, command: Command, tmp_path: Path) -> None:
    def state(dataset: str) -> dict[str, object]:
        code, out, _ = command("data", "ls", "--root", "birds", "--json")
        assert code == 0
        return next(row for row in json.loads(out) if row["id"] == dataset)

    assert state("cub200")["here"] is False
    assert state("digits")["here"] is True
    server.serve("/a.tgz", Habits(tgz(), drop_after=100_000), Habits(status=404))
    assert command("data", "get", "cub200", "--root", "birds")[0] == 2
    assert state("cub200")["part_bytes"] == part_of(tmp_path / "birds").stat().st_size > 0
    assert "partly" in command("data", "ls", "--root", "birds")[1]
    server.serve("/a.tgz", Habits(tgz()))
    assert command("data", "get", "cub200", "--root", "birds")[0] == 0
    assert state("cub200")["here"] is True
    assert state("cub200")["folder"] == "birds/CUB_200_2011"


@pytest.mark.parametrize("dataset", DATASETS)
def test_info_says_everything(dataset: str, command: Command) -> None:
    code, out, _ = command("data", "info", dataset)
    assert code == 0
    assert max(len(line) for line in out.splitlines()) <= 80
    one, text = DATASETS[dataset], "".join(out.split())
    for part in (one.title, one.description, one.terms, one.citation, one.homepage, one.by_hand):
        assert "".join(part.split()) in text
    for archive in one.archives:
        for part in (archive.file, archive.checksum or "nochecksumpublished", *archive.urls):
            assert part in text


def test_info_of_cub200(server: Server, command: Command) -> None:
    out = command("data", "info", "cub200")[1]
    assert "resnet50: top-1 78.15, with PC 80.21 (Table 2)" in out
    assert "vgg16: mean IoU 0.31, with PC 0.34 (Table 4)" in out
    assert "29.97 training images each" in out
    assert "not here" in out
    command("data", "get", "cub200")
    assert "here, in part: 2 of 200 classes" in command("data", "info", "cub200")[1]
    Path("data/CUB_200_2011/images.txt").unlink()
    content = json.loads(command("data", "info", "cub200", "--json")[1])
    assert content["state"].startswith("not complete: ")
    assert content["archives"][0]["checksum"] == entry().archives[0].checksum
    assert content["paper"][0] == {
        "backbone": "resnet50",
        "measure": "top-1",
        "baseline": 78.15,
        "pc": 80.21,
        "source": content["paper"][0]["source"],
    }


def test_info_of_a_part_of_imagenet(command: Command) -> None:
    for part in ("train", "val"):
        for wnid in ("n01440764", "n02012849"):
            Path("data/imagenet", part, wnid).mkdir(parents=True)
            Path("data/imagenet", part, wnid, f"{wnid}_1.JPEG").touch()
    state = json.loads(command("data", "info", "imagenet", "--json")[1])["state"]
    assert state == "not complete: data/imagenet/train holds 2 of ImageNet's 1,000 class folders"


def test_get_tells_what_it_does(server: Server, command: Command, tmp_path: Path) -> None:
    code, out, err = command("data", "get", "cub200", "digits", "images", "manifest")
    assert code == 0
    check_whole(tmp_path / "data")
    lines = out.splitlines()
    assert lines[0] == (
        "cub200: downloaded (302.8 kB), in data/CUB_200_2011: 2 classes, 6 train, 6 test"
    )
    assert "terms: non-commercial research" in lines[1]
    assert lines[2] == "digits: comes with pcsearch; nothing to get"
    assert "data verify --images DIR" in lines[3]
    assert "data verify --manifest FILE" in lines[4]
    for line in ("downloading CUB_200_2011.tgz: 302.8 of 302.8 kB", "its md5 is the published"):
        assert line in err
    assert "\x1b" not in out + err
    code, out, _ = command("data", "get", "cub200", "--json")
    assert code == 0
    assert json.loads(out)[0]["state"] == "here already"
    assert len(server.log) == 1


def test_get_goes_on_with_the_next_dataset(server: Server, command: Command) -> None:
    server.serve("/a.tgz", Habits(status=404))
    code, out, err = command("data", "get", "cub200", "nabirds", "digits")
    assert code == 2
    assert out == "digits: comes with pcsearch; nothing to get\n"
    assert "error: CUB_200_2011.tgz could not be downloaded:\n" in err
    assert "404 Not Found" in err
    assert "NABirds must be fetched by hand: Fill in the form" in err
    assert "Traceback" not in err


def test_get_keeps_archives(server: Server, command: Command) -> None:
    out = command("data", "get", "cub200", "--keep-archives")[1]
    kept = "data/.pcsearch-downloads/cub200/CUB_200_2011.tgz"
    assert f"    kept: {kept}\n" in out
    assert Path(kept).read_bytes() == tgz()


@pytest.mark.parametrize(
    "arguments", [("info", "cub20"), ("get", "cub20"), ("verify", "cub20"), ("prepare", "cub20")]
)
def test_an_unknown_dataset(arguments: tuple[str, str], command: Command) -> None:
    code, out, err = command("data", *arguments)
    assert (code, out) == (2, "")
    assert 'unknown dataset "cub20", did you mean "cub200"? (known: digits' in err


@pytest.mark.parametrize(
    "command_line",
    [
        ["data"],
        *(["data", name] for name in ("ls", "info", "get", "verify", "prepare", "cache")),
        ["data", "cache", "ls"],
        ["data", "cache", "clear"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy_and_has_examples(command_line: list[str]) -> None:
    test_app.test_help_imports_nothing_heavy(command_line)
    if command_line[-1] not in ("data", "cache"):
        shown = test_app.pcsearch(*command_line, "--help", COLUMNS="100").stdout
        assert "Examples" in shown
        assert f"pcsearch {' '.join(command_line)}" in shown.partition("Examples")[2]


@pytest.mark.parametrize("name", ["ls", "info", "get", "verify", "prepare"])
def test_a_root_that_is_a_file(name: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ids = [] if name == "ls" else ["cub200"]
    code, out, err = command("data", name, *ids, "--root", "file")
    assert (code, out) == (2, "")
    assert "'file' is a file" in err


@pytest.mark.parametrize("name", ["ls", "info", "get", "verify", "prepare"])
def test_what_the_file_system_refuses_is_one_message(name: str, command: Command) -> None:
    ids = [] if name == "ls" else ["cub200"]
    code, out, err = command("data", name, *ids, "--root", "x" * 300)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "File name too long" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["verify", "prepare"])
@pytest.mark.parametrize("option", ["--images DIR", "--manifest FILE"])
def test_own_images_without_their_option(name: str, option: str, command: Command) -> None:
    dataset = option.split()[0].removeprefix("--")
    code, out, err = command("data", name, dataset)
    assert (code, out) == (2, "")
    assert err == f"error: dataset {dataset} needs {option}\n"
