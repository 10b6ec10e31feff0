"""The promises of the design that need no cluster; tests/e2e/ holds the others."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional as F

from pcsearch.api import probe
from pcsearch.data.catalog import open_dataset
from pcsearch.data.loaders import TrainBatches
from pcsearch.data.prepared import prepare_training
from pcsearch.errors import UserError
from pcsearch.execution.preflight.datasets import (
    data_options,
    dataset_facts,
    open_datasets,
    prepare_datasets,
    preprocessing_for,
)
from pcsearch.execution.trial_run import WorkerContext, run_trial
from pcsearch.execution.worker import REPORT, results_of
from pcsearch.execution.worker_data import publish_labels
from pcsearch.models import build_backbone
from pcsearch.recipe.load import load_recipe
from pcsearch.recipe.schema import Recipe
from pcsearch.search.plan import Plan, build_plan
from pcsearch.search.trial import TrialSpec
from pcsearch.search.trial_config import confirm_config, finalist_config, search_config
from tests.search.driving import run

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 2


def save_pictures(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part, images in (("train", 12), ("test", 5)):
        for name, level in (("dark", 60), ("light", 190)):
            (folder / part / name).mkdir(parents=True)
            for index in range(images):
                pixels = np.clip(rng.normal(level, 60, (24, 28, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index:02}.png")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    save_pictures(tmp_path / "pictures")
    return load_recipe(
        {
            "name": "promises",
            "datasets": ["images"],
            "backbones": ["compact_cnn"],
            "weights": "none",
            "data": {"images": str(tmp_path / "pictures")},
            "image": {"resize": 40, "crop": 32},
            "search": {"trials": 2, "lr": 0.05},
            "asha": {"max_epochs": EPOCHS},
            "finalists": {"configs": 1, "repeats": 1},
            "confirm": {"seeds": 2},
            "train": {
                "batch_size": 7,
                "weight_decay": 0.001,
                "head_lr_multiplier": 2,
                "channels_last": False,  # as the loop it is compared with
            },
        }
    )


@pytest.fixture
def plan(recipe: Recipe, tmp_path: Path) -> Plan:
    return build_plan(recipe, dataset_facts(recipe, tmp_path / "cache", lambda *_: None))


@pytest.fixture
def context(recipe: Recipe, plan: Plan, tmp_path: Path) -> WorkerContext:
    for name in ("data", "checkpoints", "weights"):
        (tmp_path / name).mkdir()
    return WorkerContext(
        recipe=recipe.dump_yaml(),
        cache=str(tmp_path / "cache"),
        data=str(tmp_path / "data"),
        checkpoints=str(tmp_path / "checkpoints"),
        weights=str(tmp_path / "weights"),
        cpus=1,
        gpus=0,
        split_hashes={study.id: study.split_hash for study in plan.studies},
        import_path=str(tmp_path),
    )


def trial(plan: Plan, phase: str, arm_name: str = "pc") -> TrialSpec:
    (study,) = plan.studies
    arm = study.arm(arm_name)
    sampled = {"lr": 0.05} | ({"lambda_over_n": 0.1} if arm_name == "pc" else {})
    config = search_config(plan, study, arm, 0, sampled)
    if phase == "finalists":
        config = finalist_config(plan, config, 1)
    elif phase == "confirm":
        config = confirm_config(plan, config, 0)
    name = f"{study.id}/{arm_name}/{phase}-000"
    return TrialSpec(name, study.id, arm_name, phase, 0, EPOCHS, arm.variant, config)  # type: ignore[arg-type]


# 1. The test images are unreachable from the search phase.

_opened: list[str] | None = None


def _note_opened_files(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_note_opened_files)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Paths of all files that this process opens."""
    global _opened
    _opened = []
    yield _opened
    _opened = None


def spoil_test_images(folder: Path) -> list[Path]:
    victims = sorted((folder / "test").rglob("*.png"))
    for path in victims:
        path.write_bytes(b"not an image any more")
    return victims


@pytest.mark.parametrize("phase", ["search", "finalists"])
def test_search_works_without_the_test_images(
    plan: Plan, context: WorkerContext, tmp_path: Path, phase: str
) -> None:
    victims = spoil_test_images(tmp_path / "pictures")
    reports = list(run_trial(trial(plan, phase), context))
    assert [report.epoch for report in reports] == [1, 2]
    assert all(report.value is not None and report.test is None for report in reports)
    with pytest.raises(UserError, match="cannot be read") as caught:
        list(run_trial(trial(plan, "confirm"), context))
    assert victims[0].name in str(caught.value)


def test_search_opens_neither_test_images_nor_their_cache(
    plan: Plan, context: WorkerContext, tmp_path: Path, opened: list[str]
) -> None:
    stores = {file.with_suffix(".npy") for file in (tmp_path / "cache").glob("*.json")}
    assert len(stores) == 2  # training and test images, decoded apart

    def touched() -> tuple[set[Path], list[str]]:
        paths = {Path(path) for path in opened}
        return stores & paths, [path for path in opened if "/pictures/test/" in path]

    for phase in ("search", "finalists"):
        list(run_trial(trial(plan, phase), context))
    of_search, pictures = touched()
    assert len(of_search) == 1
    assert pictures == []
    list(run_trial(trial(plan, "confirm"), context))
    of_all, _ = touched()
    assert of_all == stores  # so the recorder does see what is opened


def test_search_opens_nothing_of_the_test_part_that_was_handed_over(
    recipe: Recipe, plan: Plan, context: WorkerContext, tmp_path: Path, opened: list[str]
) -> None:
    cache, folder = tmp_path / "cache", Path(context.data)
    (prepared,) = prepare_datasets(recipe, open_datasets(recipe), cache, lambda *_: None)
    publish_labels(prepared, folder)
    assert prepared.test is not None
    of_test = {folder / "images.test.npz", prepared.test.store.path}

    def touched() -> set[Path]:
        return of_test & {Path(path) for path in opened[before:]}

    before = len(opened)
    for phase in ("search", "finalists"):
        list(run_trial(trial(plan, phase), context))
    assert touched() == set()
    list(run_trial(trial(plan, "confirm"), context))
    assert touched() == of_test  # so the recorder does see what is opened


def test_a_probe_needs_no_test_image_and_opens_none(
    recipe: Recipe, tmp_path: Path, opened: list[str]
) -> None:
    victims = spoil_test_images(tmp_path / "pictures")
    opened.clear()
    (curve,) = probe(recipe, repeats=2)
    assert curve.fit_images + curve.val_images == 24
    pictures = {Path(path) for path in opened if "/pictures/" in path and path.endswith(".png")}
    assert pictures == set((tmp_path / "pictures" / "train").rglob("*.png"))
    assert not pictures & set(victims)


def test_only_the_last_epoch_of_confirm_is_measured_on_test_images(
    plan: Plan, context: WorkerContext
) -> None:
    reports = list(run_trial(trial(plan, "confirm"), context))
    assert [report.value for report in reports] == [None, None]
    assert [report.test is None for report in reports] == [True, False]


# 2. λ = 0 is plain cross-entropy, bit for bit.


def test_the_control_is_a_plain_cross_entropy_loop(
    recipe: Recipe, plan: Plan, context: WorkerContext, tmp_path: Path
) -> None:
    spec = replace(trial(plan, "confirm", "control"), keep_weights=True)
    assert spec.config["lambda"] == 0
    list(run_trial(spec, context))
    (path,) = Path(context.weights).glob("*.safetensors")
    trained = load_file(path)
    plain = plain_loop(recipe, spec, tmp_path)
    assert trained.keys() == plain.keys()
    for name, tensor in plain.items():
        assert torch.equal(trained[name], tensor), name


def test_a_choice_that_is_made_anew_keeps_its_weights_apart(
    plan: Plan, context: WorkerContext
) -> None:
    """A wider search may set a choice aside, and a wider one yet make it again."""
    first = replace(trial(plan, "confirm"), keep_weights=True)
    anew = replace(first, trial=f"{first.trial}-c2")
    for spec in (first, anew):
        list(run_trial(spec, context))
    files = {path.name: path for path in Path(context.weights).glob("*.safetensors")}
    stem = f"{first.study.replace('/', '.')}.pc"
    assert sorted(files) == [f"{stem}-c2.safetensors", f"{stem}.safetensors"]
    for name, spec in ((f"{stem}.safetensors", first), (f"{stem}-c2.safetensors", anew)):
        with safe_open(files[name], "pt") as file:
            assert json.loads(file.metadata()["trial"]) == spec.trial


def test_weights_that_a_full_disk_does_not_take_are_no_fault_of_the_trial(
    plan: Plan, context: WorkerContext, disk_of: Callable[[str], Path]
) -> None:
    spec = replace(trial(plan, "confirm"), keep_weights=True)
    disk = disk_of("64k")
    full = replace(context, weights=str(disk))
    config = {"spec": json.dumps(vars(spec))}
    *epochs, failure = results_of(config, vars(full))
    assert REPORT in epochs[0]
    code, reason, file = failure["unwritable"]
    assert (code, reason) == (errno.ENOSPC, "No space left on device")
    assert Path(file).is_relative_to(disk)
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("weights", ["a file", "a" * 300])
def test_weights_that_cannot_be_written_cost_no_result(
    weights: str, plan: Plan, context: WorkerContext, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("no folder")
    spec = replace(trial(plan, "confirm"), keep_weights=True)
    *_, kept = run_trial(spec, context)
    *_, last = run_trial(spec, replace(context, weights=str(tmp_path / weights)))
    assert kept.test is not None
    assert kept.weights_error is None
    assert (last.test, last.hits) == (kept.test, kept.hits)
    assert last.weights_error is not None
    assert weights in last.weights_error


def test_a_positive_lambda_is_not(
    recipe: Recipe, plan: Plan, context: WorkerContext, tmp_path: Path
) -> None:
    spec = replace(trial(plan, "confirm"), keep_weights=True)
    list(run_trial(spec, context))
    (path,) = Path(context.weights).glob("*.safetensors")
    plain = plain_loop(recipe, spec, tmp_path)
    trained = load_file(path)
    assert any(not torch.equal(trained[name], tensor) for name, tensor in plain.items())


def plain_loop(recipe: Recipe, spec: TrialSpec, folder: Path) -> dict[str, torch.Tensor]:
    """Fine-tuning as anyone writes it: cross-entropy, SGD, linear decay."""
    dataset = open_dataset("images", data_options(recipe))
    training = prepare_training(dataset, recipe.image.resize, folder=folder / "cache")
    seed = spec.config["seed"]
    backbone = build_backbone("compact_cnn", 2, seed=seed)
    batches = TrainBatches(
        training.store.images,
        training.labels,
        np.arange(len(training.labels)),
        preprocessing_for(recipe, "images"),
        batch_size=7,
        pairing="split_batch",
        seed=seed,
        device=torch.device("cpu"),
    )
    rate, steps = spec.config["lr"], EPOCHS * len(batches)
    optimizer = torch.optim.SGD(
        [{"params": backbone.body_parameters()}, {"params": backbone.head_parameters()}],
        lr=rate,
        momentum=0.9,
        weight_decay=0.001,
    )
    body, head = optimizer.param_groups
    backbone.module.train()
    step = 0
    for epoch in range(1, EPOCHS + 1):
        for images, labels in batches.epoch(epoch):
            body["lr"] = rate * (1 - step / steps)
            head["lr"] = 2 * body["lr"]
            optimizer.zero_grad()
            F.cross_entropy(backbone.module(images), labels).backward()
            optimizer.step()
            step += 1
    return backbone.module.state_dict()


# 5. Equal trials, the same ladder, the same starting points, the same confirm seeds.


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_every_arm_has_equal_chances(recipe: Recipe, tmp_path: Path, sampler: str) -> None:
    arms = ["pc", "label_smoothing", "entropic", "jeffreys"]
    content = recipe.to_mapping()
    content["search"] |= {"arms": arms, "trials": 8, "sampler": sampler}
    content["search"] |= {"lr": [0.01, 0.1], "weight_decay": [1e-5, 1e-3]}
    content["asha"] |= {"max_epochs": 9}
    wider = load_recipe(content)
    plan = build_plan(wider, dataset_facts(wider, tmp_path / "cache", lambda *_: None))
    state = run(plan, max_concurrent=3, order_seed=0).state
    (study,) = plan.studies
    assert [arm.name for arm in study.arms] == ["control", *arms]
    every = [state.arms[study.id, arm.name] for arm in study.arms]
    control = every[0]
    for arm in every:
        assert len(arm.trials["search"]) == 8
        assert arm.ladder.rungs == (1, 3)
        seeds = [t.spec.config["seed"] for t in arm.trials["search"]]
        assert seeds == [t.spec.config["seed"] for t in control.trials["search"]]
        assert [t.spec.config["seed"] for t in arm.trials["confirm"]] == list(plan.confirm_seeds)
        assert {t.spec.epochs for t in arm.trials["search"]} == {9}
        for own, other in zip(arm.trials["search"][:2], control.trials["search"][:2], strict=True):
            for key in ("lr", "weight_decay"):  # ⌈8/4⌉ = 2 start-up trials
                assert own.spec.config[key] == other.spec.config[key]


# What an import costs.


def modules_after(*code: str) -> set[str]:
    program = "\n".join([*code, "import json, sys", "print(json.dumps(sorted(sys.modules)))"])
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_the_loss_alone_brings_neither_ray_nor_optuna() -> None:
    modules = modules_after("from pcsearch.losses import PairwiseConfusionLoss")
    assert "torch" in modules
    assert not {"ray", "optuna", "pydantic", "typer", "rich", "sklearn", "scipy"} & modules


@pytest.mark.parametrize("arguments", [["--help"], ["tune", "--help"], ["--version"]])
def test_help_brings_neither_torch_nor_ray(arguments: list[str]) -> None:
    modules = modules_after(
        "import sys",
        f"sys.argv = ['pcsearch', *{arguments!r}]",
        "from pcsearch.cli.app import main",
        "try: main()",
        "except SystemExit as end: assert not end.code, end.code",
    )
    assert "pcsearch.cli.app" in modules
    assert not {"torch", "torchvision", "ray", "optuna", "sklearn", "scipy", "numpy"} & modules


def test_decisions_need_neither_torch_nor_ray() -> None:
    modules = modules_after(
        "import pcsearch.search.campaign, pcsearch.search.sampling.samplers, pcsearch.runs.folder",
        "import pcsearch.reporting.summary, pcsearch.api",
    )
    assert not {"torch", "ray"} & modules
