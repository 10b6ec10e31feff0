"""The main commands as Python functions: tune, plan, probe, resume, predict, evaluate, export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcsearch.code_consent import allow, own_modules
from pcsearch.execution.launch import Outcome, run_recipes
from pcsearch.execution.preflight.datasets import open_datasets
from pcsearch.execution.preflight.model_check import check_networks
from pcsearch.execution.preflight.prepare import OnPlan, plan_recipe
from pcsearch.recipe.load import load_recipe, load_recipes
from pcsearch.recipe.schema import Recipe
from pcsearch.reporting.lambda_curve import LambdaCurve
from pcsearch.reporting.summary import Summary
from pcsearch.runs.prior_runs import all_earlier_runs, check_earlier_runs
from pcsearch.search.observer import Observer, Silent
from pcsearch.search.plan import Plan

if TYPE_CHECKING:  # imported where they are used: they import PyTorch
    from pcsearch.execution.evaluate_set import SetEvaluation
    from pcsearch.execution.export import Exported
    from pcsearch.execution.predict import Predictions

__all__ = [
    "LambdaCurve",
    "Outcome",
    "evaluate",
    "export",
    "plan_all",
    "predict",
    "probe",
    "resume",
    "tune",
]


def tune(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    *,
    images: str | Path | None = None,
    runs: str | Path = "runs",
    name: str | None = None,
    address: str | None = None,
    allow_code: Sequence[str] = (),
    observer: Observer | None = None,
) -> Summary:
    """Run one campaign and return its summary.

    Args:
        recipe: A file, the name of a shipped recipe, a mapping with the same keys, or a `Recipe`.
        overrides: KEY=VALUE changes of the recipe, as on the command line.
        images: Folder of your own images, one sub-folder a class; sets `data.images`.
        runs: Where to create the run folder: a folder, or `s3://bucket/prefix`.
        name: Name of the run; by default the recipe's name and the time.
        address: A running Ray cluster to use; by default Ray is started on this machine.
        allow_code: Modules from which `module:function` backbones may be imported, for the rest of
            this process.
        observer: Receives the campaign's progress.

    Raises:
        UserError: a mistake in the recipe, the images or the options; nothing was started.
    """
    allow(allow_code)
    source = recipe.to_mapping() if isinstance(recipe, Recipe) else recipe
    watcher = observer or Silent()
    folder = None if images is None else Path(images)
    loaded = load_recipe(source, overrides, images=folder, noted=watcher.noted)
    (outcome,) = run_recipes([loaded], runs=runs, name=name, address=address, observer=watcher)
    return outcome.summary


def plan_all(
    sources: Sequence[str],
    overrides: Sequence[str] = (),
    *,
    images: Path | None = None,
    runs: str | Path = "runs",
    allow_code: Sequence[str] = (),
    observer: Observer | None = None,
    on_plan: OnPlan | None = None,
) -> list[Plan]:
    """The plans of recipes, without starting a campaign.

    Images are decoded into the cache. `search.lr: auto` is measured; missing ImageNet weights are
    downloaded for it. `runs` is where a `search.prior` is looked up. `on_plan` is called with each
    recipe and its plan before that.
    """
    allow(allow_code)
    watcher = observer or Silent()
    notes: list[str] = []
    loaded = load_recipes(sources, overrides, images, notes.append)
    recipes, earlier = all_earlier_runs(loaded, runs)
    for recipe in recipes:
        own_modules(recipe.code)
    datasets = [open_datasets(recipe) for recipe in recipes]
    check_earlier_runs(recipes, datasets, earlier)
    for line in notes:
        watcher.noted(line)
    networks = [check_networks(recipe, download=recipe.measures_lr) for recipe in recipes]
    for line in (line for reports in networks for one in reports for line in one.warnings()):
        watcher.noted(line)
    return [
        plan_recipe(recipe, opened, reports, watcher, priors, on_plan)
        for recipe, opened, reports, priors in zip(
            recipes, datasets, networks, earlier, strict=True
        )
    ]


def probe(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    *,
    images: str | Path | None = None,
    lambda_over_n: Sequence[float] | None = None,
    repeats: int | None = None,
    allow_code: Sequence[str] = (),
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[LambdaCurve, ...]:
    """Predict validation accuracy over λ/N from frozen features: a curve for each study.

    The recipe's backbone computes the features of the training images once. Linear heads train on
    them with the recipe's loss, pairing and batch size. The recipe's split and further splits
    validate them. Neither Ray nor a run folder is needed; test images are not decoded.

    Args:
        recipe: A file, the name of a shipped recipe, a mapping with the same keys, or a `Recipe`.
        overrides: KEY=VALUE changes of the recipe, as on the command line.
        images: Folder of your own images, one sub-folder a class; sets `data.images`.
        lambda_over_n: Values of λ/N; 0 is added. By default 0 and 12 values from 0.005 to 0.5.
        repeats: Number of splits and seeds, at least 2; 8 by default.
        allow_code: As for `tune`.
        progress: Called with what is counted (images or repeats), the number done and the total.

    Raises:
        UserError: a mistake in the recipe, the images or the arguments, or a network whose last
            layer takes no feature vectors.
    """
    from pcsearch.execution.preflight.lambda_probe import FRACTIONS, REPEATS, probe_recipe

    allow(allow_code)
    source = recipe.to_mapping() if isinstance(recipe, Recipe) else recipe
    loaded = load_recipe(source, overrides, images=None if images is None else Path(images))
    fractions = FRACTIONS if lambda_over_n is None else lambda_over_n
    return probe_recipe(loaded, fractions, REPEATS if repeats is None else repeats, progress)


def resume(
    run: str | None = None,
    overrides: Sequence[str] = (),
    *,
    runs: str | Path = "runs",
    address: str | None = None,
    allow_code: Sequence[str] = (),
    observer: Observer | None = None,
) -> Outcome:
    """Continue a campaign that was stopped, or widen one that ended.

    Args:
        run: Its folder or address, or its name under `runs`; None takes the latest.
        overrides: KEY=VALUE changes of its recipe that make it wider: more trials, seeds, datasets
            or backbones, another time budget, other resources.
        runs: The folder, or the `s3://bucket/prefix`, that holds the run folders.
        address: A running Ray cluster to use; by default Ray is started on this machine.
        allow_code: As for `tune`; a run started on this machine keeps the modules allowed then.
        observer: Receives the campaign's progress.

    Raises:
        UserError: no such run; another process is running it; a change that the campaign cannot
            take; images that differ from those at its start. Nothing was started.
    """
    from pcsearch.execution.resume import resume_run

    allow(allow_code)
    return resume_run(run, overrides, runs=runs, address=address, observer=observer or Silent())


def predict(
    source: str | Path,
    images: Sequence[str | Path],
    *,
    study: str | None = None,
    arm: str | None = None,
    runs: str | Path = "runs",
    allow_code: Sequence[str] = (),
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Predictions:
    """The five likeliest classes of images, by a network that a run has trained.

    Args:
        source: The run's folder or address, or its name under `runs`; or a folder of
            `pcsearch export`.
        images: Image files, and folders of any depth. Sub-folders that are named as classes are
            labels.
        study: Its id, data set or backbone; not needed if there is only one.
        arm: By default the one with the better test results in the run.
        runs: The folder, or the `s3://bucket/prefix`, that holds the run folders.
        allow_code: As for `tune`.
        progress: Called with what is counted, the number done and the total.

    Raises:
        UserError: there is no such run, study, arm or image, or no weights are kept. An image that
            cannot be read is a prediction with an `error`.
    """
    from pcsearch.execution.kept_networks import kept_networks
    from pcsearch.execution.predict import predict_images

    allow(allow_code)
    with kept_networks(str(source), runs, study, arm) as kept:
        return predict_images(kept, [str(image) for image in images], progress)


def evaluate(
    source: str | Path,
    labelled: str | Path,
    *,
    study: str | None = None,
    arm: str | None = None,
    runs: str | Path = "runs",
    allow_code: Sequence[str] = (),
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> SetEvaluation:
    """Measure the networks of a run on a second, labelled set of images.

    Args:
        source: As for `predict`.
        labelled: A folder with one sub-folder a class, or a manifest. Of a set with parts, the test
            images are taken.
        study: As for `predict`.
        arm: The arm to measure; by default all whose weights are kept.
        runs: As for `predict`.
        allow_code: As for `tune`.
        progress: Called with what is counted, the number done and the total.

    Raises:
        UserError: there is no such run, study, arm or set, no weights are kept, or the set has no
            class of the network.
    """
    from pcsearch.execution.evaluate_set import evaluate_set
    from pcsearch.execution.kept_networks import kept_networks

    allow(allow_code)
    with kept_networks(str(source), runs, study, arm) as kept:
        return evaluate_set(kept, str(labelled), progress)


def export(
    source: str | Path,
    to: str | Path,
    *,
    study: str | None = None,
    arm: str | None = None,
    onnx: bool = False,
    runs: str | Path = "runs",
    allow_code: Sequence[str] = (),
) -> Exported:
    """Write a trained network of a run to a folder that others can use without the run.

    Args:
        source: The run's folder or address, or its name under `runs`.
        to: A new or empty folder.
        study: As for `predict`.
        arm: As for `predict`.
        onnx: Also write `model.onnx`; needs the extra `onnx`.
        runs: As for `predict`.
        allow_code: As for `tune`.

    Raises:
        UserError: there is no such run, study or arm, no weights are kept, or the folder is not
            empty.
    """
    from pcsearch.execution.export import export_network
    from pcsearch.execution.kept_networks import kept_networks

    allow(allow_code)
    with kept_networks(str(source), runs, study, arm) as kept:
        return export_network(kept, to, onnx=onnx)
