"""Every mistake: one clear message that names the culprit, exit code 2, nothing half-made."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.data.download.server import Habits, running
from tests.e2e.cli import CommandLine, Result
from tests.e2e.conftest import Finished, Interrupted
from tests.e2e.pictures import save_classes, save_parts

pytestmark = pytest.mark.slow

SMALL = ("backbones=[compact_cnn]", "weights=none", "image.resize=40", "image.crop=32")


def refused(pcsearch: CommandLine, *arguments: object) -> str:
    """Run `pcsearch tune`, check that it refuses as a mistake must be refused; the message."""
    before = everything(pcsearch.folder)
    result = pcsearch.run("tune", *arguments, "--plain", timeout=100)
    assert everything(pcsearch.folder) == before, "something half-made was left"
    return message_of(result)


def message_of(result: Result) -> str:
    assert result.code == 2, result
    assert result.err.startswith("error: "), result
    assert result.err.count("error: ") == 1, result
    assert "Traceback" not in result.err + result.out, result
    said = [line for line in result.out.splitlines() if "prepar" not in line]
    assert said == [], result
    return result.err


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["searcg.trials=3"], ["searcg", 'did you mean "search"']),
        (["weights=imagenet"], ["weights", "compact_cnn", "none"]),
        (["data.classes=[1, 77]", "datasets=[digits]"], ["77"]),
        (["backbones=[nowhere:net]"], ["nowhere:net", "there is no module nowhere"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and "=" in str(value[0]) else None,
)
def test_a_mistake_in_an_override(
    pcsearch: CommandLine, overrides: list[str], told: list[str]
) -> None:
    """More of them, in the recipe alone: tests/cli/test_mistakes.py."""
    message = refused(pcsearch, "quickstart", *overrides)
    for words in told:
        assert words in message, message


def test_all_mistakes_of_a_file_are_told_at_once_with_their_lines(pcsearch: CommandLine) -> None:
    recipe = pcsearch.folder / "mine.yaml"
    recipe.write_text(
        "name: mine\ndatasets: [digits]\nbackbones: [compact_cnn]\nweights: none\n"
        "search: {trails: 3}\nasha: {max_epochs: soon}\n"
    )
    message = refused(pcsearch, recipe)
    assert "mine.yaml:5" in message
    assert "search.trails" in message
    assert "mine.yaml:6" in message
    assert "asha.max_epochs" in message


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", "null\n"])
def test_an_empty_recipe(pcsearch: CommandLine, text: str) -> None:
    (pcsearch.folder / "empty.yaml").write_text(text)
    message = refused(pcsearch, "empty.yaml")
    assert "empty.yaml" in message


def test_text_that_is_no_recipe(pcsearch: CommandLine) -> None:
    (pcsearch.folder / "letter.yaml").write_text("Dear all: [\n")
    assert "letter.yaml" in refused(pcsearch, "letter.yaml")
    assert "absent.yaml" in refused(pcsearch, "absent.yaml")
    assert 'did you mean "quickstart"' in refused(pcsearch, "quikstart")


def test_nothing_asked_for(pcsearch: CommandLine) -> None:
    assert "recipe" in refused(pcsearch).lower()


@pytest.mark.parametrize(
    ("name", "told"), [("../elsewhere", "../elsewhere"), ("a/b", "a/b"), ("", '""')]
)
def test_a_name_that_is_no_folder_name(pcsearch: CommandLine, name: str, told: str) -> None:
    assert told in refused(pcsearch, "quickstart", "--name", name)


def no_folder(folder: Path) -> str:
    return f"{folder}"


def empty_folder(folder: Path) -> str:
    folder.mkdir()
    return f"{folder} holds no images"


def one_class(folder: Path) -> str:
    save_classes(folder, images=5, classes=1)
    return "only one class, crimson"


def pictures_without_classes(folder: Path) -> str:
    save_classes(folder.with_name("away"), images=5, classes=1)
    folder.with_name("away").joinpath("crimson").rename(folder)
    return f"{folder}"


def class_with_one_image(folder: Path) -> str:
    save_classes(folder, images=5, classes=2)
    save_classes(folder, images=1, classes=3)
    return "azure (1)"


def class_without_images(folder: Path) -> str:
    save_classes(folder, images=5)
    (folder / "lonely").mkdir()
    return "lonely"


def class_only_in_training(folder: Path) -> str:
    save_parts(folder, train=4, val=2, test=2)
    save_classes(folder / "train" / "birds", images=3)
    return "birds"


def truncated_image(folder: Path) -> str:
    save_classes(folder, images=6)
    victim = folder / "emerald" / "003.jpg"
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    return "emerald/003.jpg"


def text_named_jpg(folder: Path) -> str:
    save_classes(folder, images=6)
    (folder / "azure" / "notes.jpg").write_text("These are my notes.\n")
    return "azure/notes.jpg"


def zero_bytes(folder: Path) -> str:
    save_classes(folder, images=6)
    (folder / "azure" / "002.jpg").write_bytes(b"")
    return "azure/002.jpg"


@pytest.mark.parametrize(
    "make",
    [
        no_folder,
        empty_folder,
        one_class,
        pictures_without_classes,
        class_with_one_image,
        class_without_images,
        class_only_in_training,
        truncated_image,
        text_named_jpg,
        zero_bytes,
    ],
)
def test_a_mistake_in_an_image_folder(
    pcsearch: CommandLine, tmp_path: Path, make: Callable[[Path], str]
) -> None:
    folder = tmp_path / "pictures"
    told = make(folder)
    message = refused(pcsearch, "my-images", "--images", folder, *SMALL)
    assert told in message, message
    assert not list(pcsearch.cache.glob("*.tmp"))


def test_a_file_in_place_of_an_image_folder(pcsearch: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("no folder")
    assert str(tmp_path / "pictures") in refused(
        pcsearch, "--images", tmp_path / "pictures", *SMALL
    )


def plan_without_bad_images(pcsearch: CommandLine, folder: Path) -> str:
    """What `plan` says of 18 images, of which one is cut short, and of a text beside them."""
    truncated_image(folder)
    (folder / "azure" / "notes.jpg").write_text("These are my notes.\n")
    result = pcsearch.run("plan", "--images", folder, *SMALL, "data.on_bad_image=skip")
    assert result.code == 0, result
    return result.out


def test_bad_images_are_left_out_on_request(pcsearch: CommandLine, tmp_path: Path) -> None:
    out = plan_without_bad_images(pcsearch, tmp_path / "pictures")
    row = next(line for line in out.splitlines() if line.startswith("images/compact_cnn"))
    fit, val, train, test = (int(cell) for cell in row.split()[2:6])
    assert fit + val == train
    assert train + test == 17


def test_bad_images_that_are_left_out_are_counted(pcsearch: CommandLine, tmp_path: Path) -> None:
    out = plan_without_bad_images(pcsearch, tmp_path / "pictures")
    said = " ".join(out.split())
    assert re.search(r"\b2 images were left out as unreadable .*; the first: .*\.jpg", said)


def test_weights_that_need_consent(
    pcsearch: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("timm")
    name = "timm/test_resnet.r160_in1k"
    with running() as hub:
        hub.serve(f"/{name}/resolve/main/model.safetensors", Habits(status=401))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        told = refused(pcsearch, "quickstart", f"backbones=[{name}]", "weights=imagenet")
        assert f"the weights of {hub.url}/{name} are given to those who agree to their" in told


def test_the_licence_of_weights_is_shown(pcsearch: CommandLine) -> None:
    pytest.importorskip("timm")
    chosen = ("cub200-small", "backbones=[timm/test_resnet.r160_in1k, squeezenet1_1]")
    options = ("weights=imagenet", "datasets=[digits]")
    shown = pcsearch.run("plan", *chosen, *options, "--no-measure")
    assert shown.code == 0, shown
    said = " ".join(shown.out.split())
    assert "timm/test_resnet.r160_in1k of timm; licence apache-2.0" in said
    assert "squeezenet1_1-b8a52dc0.pth of torchvision; licence not stated by torchvision" in said
    (plan,) = json.loads(pcsearch.run("plan", *chosen, *options, "--no-measure", "--json").out)
    assert {key: one["licence"] for key, one in plan["published_weights"].items()} == {
        "timm/test_resnet.r160_in1k": "apache-2.0",
        "squeezenet1_1": None,
    }


class Hostile:
    """A pickle that runs a command where it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def random_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def hostile_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": Hostile(f"touch {path.parent / 'EXECUTED'}")}))


def hostile_archive(path: Path) -> None:
    torch.save({"weight": Hostile(f"touch {path.parent / 'EXECUTED'}")}, path)


def bare_tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def other_network(path: Path) -> None:
    torch.save({"some.layer.weight": torch.zeros(3, 3)}, path)


def cut_short(path: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    "make",
    [
        random_bytes,
        hostile_pickle,
        hostile_archive,
        bare_tensor,
        other_network,
        cut_short,
    ],
)
def test_weights_that_are_no_state_dict(
    pcsearch: CommandLine, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "weights.pth"
    make(path)
    message = refused(pcsearch, "quickstart", "datasets=[digits]", f"weights={path}")
    assert str(path) in message
    assert not (tmp_path / "EXECUTED").exists()


def test_weights_that_are_not_there(pcsearch: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "absent.pth"
    assert str(path) in refused(pcsearch, "quickstart", "datasets=[digits]", f"weights={path}")


@pytest.mark.parametrize("run", ["taken", "empty"])
def test_a_run_name_that_is_taken(pcsearch: CommandLine, run: str) -> None:
    folder = pcsearch.folder / "runs" / run
    folder.mkdir(parents=True)
    if run == "taken":
        (folder / "journal.jsonl").write_text('{"event":"campaign"}\n')
    message = refused(pcsearch, "quickstart", "datasets=[digits]", "--name", run)
    assert f"runs/{run} already exists" in message
    assert "--name" in message


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    return disk_of("20m")


@pytest.mark.parametrize("runs", ["", "runs", "deep/down/runs"])
def test_a_nearly_full_disk_for_runs(pcsearch: CommandLine, small_disk: Path, runs: str) -> None:
    message = refused(pcsearch, "quickstart", "datasets=[digits]", "--runs", small_disk / runs)
    assert str(small_disk) in message
    assert "MiB" in message
    assert everything(small_disk) == set()


def test_a_nearly_full_disk_for_the_image_cache(pcsearch: CommandLine, small_disk: Path) -> None:
    cache = small_disk / "cache"
    elsewhere = CommandLine(pcsearch.folder, cache)
    large = "image.per_dataset={digits: {resize: 400}}"
    message = refused(elsewhere, "quickstart", "datasets=[digits]", large)
    assert str(cache) in message
    assert "PCSEARCH_CACHE" in message
    assert "free" in message
    assert sum(path.stat().st_size for path in cache.rglob("*")) < 1000


def test_a_folder_that_cannot_be_written(pcsearch: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    message = refused(pcsearch, "quickstart", "datasets=[digits]", "--runs", tmp_path / "file")
    assert str(tmp_path / "file") in message


@pytest.mark.parametrize("command", ["summary", "trials"])
def test_a_run_that_is_not_there(pcsearch: CommandLine, command: str) -> None:
    assert "absent" in message_of(pcsearch.run(command, "absent"))
    assert "no runs" in message_of(pcsearch.run(command))
    assert everything(pcsearch.folder) == set()


@pytest.mark.timeout(200)
def test_more_gpus_than_there_are(pcsearch: CommandLine) -> None:
    asked = "resources.gpus_per_trial=1"
    message = refused(pcsearch, "quickstart", "datasets=[digits]", asked)
    assert "1 GPUs" in message
    assert "resources.gpus_per_trial" in message


@pytest.mark.timeout(400)
def test_a_second_process_on_a_run(interrupted: Interrupted) -> None:
    message = message_of(interrupted.second)
    assert str(interrupted.pid) in message
    assert "in use" in message
    assert interrupted.result.code == 130  # and the first was not disturbed


@pytest.mark.timeout(400)
def test_a_finished_run_is_never_overwritten(finished: Finished) -> None:
    before = {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()}
    again = finished.pcsearch.run("tune", "quickstart", "--name", "done")
    assert "already exists" in message_of(again)
    assert {path: path.read_bytes() for path in before} == before
