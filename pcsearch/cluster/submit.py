"""Send a campaign to a cluster: recipes, the user's own networks, and the command to run."""

from __future__ import annotations

import re
import secrets
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pcsearch.cluster.files.cluster_file import load_launcher_file
from pcsearch.cluster.files.network_access import token_problems
from pcsearch.cluster.files.nodes import nodes
from pcsearch.cluster.files.storage import storage
from pcsearch.cluster.jobs import Jobs
from pcsearch.code_consent import own_modules
from pcsearch.errors import UserError
from pcsearch.io import home_folder
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.yaml_core import dump
from pcsearch.runs.find import is_remote

_ON_CLUSTER = ("--address", "auto", "--events")


@dataclass(frozen=True)
class Package:
    """A campaign to submit: a folder, and the command to run in a copy of it on the head."""

    folder: Path
    command: str
    label: str
    """The name of a recipe or a run, for the job's id."""
    about: Mapping[str, str]
    """The job's metadata, for lists of jobs."""


def new_campaign(
    recipes: Sequence[Recipe], folder: Path, *, runs: str | None, name: str | None
) -> Package:
    """Pack recipes, and the user's own networks that they name, into a folder.

    Args:
        recipes: The recipes, with their overrides.
        folder: An empty folder, which is sent.
        runs: Where the cluster keeps the runs.
        name: The run's name; None uses the recipe's name and the time.

    Raises:
        UserError: a path is meaningless on another machine, or the module of the user's own network
            is not allowed.
    """
    problems = [*_runs(runs), *(line for recipe in recipes for line in _paths(recipe))]
    if name is not None and len(recipes) > 1:
        problems.append(f"--name names one run, but there are {len(recipes)} recipes; omit --name")
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    words = ["pcsearch", "tune"]
    consents: list[str] = []
    for number, recipe in enumerate(recipes, start=1):
        file = folder / f"recipe-{number}.yaml"
        file.write_text(_for_there(recipe), encoding="utf-8")
        words.append(file.name)
        for module in own_modules(recipe.code):
            consents.append(module.consent)
            if not module.installed:
                _copy(module.file, folder / f"{module.name}{module.file.suffix}")
    words += ["--runs", str(runs), *(["--name", name] if name is not None else []), *_ON_CLUSTER]
    words += _allowing(consents)
    names = ", ".join(recipe.name for recipe in recipes)
    about = {"recipes": names, "runs": str(runs), "name": name or ""}
    return Package(folder, shlex.join(words), name or recipes[0].name, about)


def further_campaign(
    run: str,
    overrides: Sequence[str],
    folder: Path,
    *,
    runs: str | None,
    modules: Sequence[Path] = (),
) -> Package:
    """Pack the resumption, or the widening, of an existing run.

    Args:
        run: Its address or folder, or its name under `runs`.
        overrides: KEY=VALUE, which widen it.
        folder: An empty folder, which is sent.
        runs: Where the cluster keeps the run.
        modules: Files and packages of the user's own networks. The run's recipe is not read here,
            so the user names them.

    Raises:
        UserError: the run's place is unclear, or a module does not exist.
    """
    for module in modules:
        if not module.exists():
            raise UserError(f"--module {module}: there is no such file or folder")
        _copy(module, folder / module.name)
    place = run if "/" in run else runs
    if place is None or not _is_there(place):
        raise UserError(
            f"--resume {run}: give the run's s3:// address, its absolute folder on the cluster, or "
            "its name with --runs"
        )
    words = ["pcsearch", "resume", run, *overrides]
    words += ["--runs", runs] if runs is not None and place is runs else []
    label = PurePosixPath(run).name
    return Package(
        folder,
        shlex.join([*words, *_ON_CLUSTER, *_allowing(module.stem for module in modules)]),
        label,
        {"recipes": f"{label}, resumed", "runs": place, "name": label},
    )


def send(jobs: Jobs, package: Package) -> str:
    """Submit a package; the job's id.

    Raises:
        UserError: the cluster has another version of Ray, or refuses the package.
    """
    jobs.check_versions()
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", package.label)[:40]
    job = f"pcsearch-{label}-{secrets.token_hex(3)}"
    return jobs.submit(package.command, package.folder, package.about, job)


def check_fits(file: Path, recipes: Sequence[Recipe], runs: str | None) -> None:
    """Refuse a campaign that would fail on a cluster file's nodes, before they cost money.

    Args:
        file: A file for Ray's launcher.
        recipes: A trial of each must fit on some node; empty for an existing run.
        runs: Where the cluster keeps the runs.

    Raises:
        UserError: lists every problem, one per line; or the file is not for the launcher.
    """
    config = load_launcher_file(file)
    found = [*nodes(config, recipes), *storage(config, runs), *token_problems(config)]
    problems = [f"{file}: {of.text}; {of.remedy}" for of in found if of.level == "problem"]
    if problems:
        raise UserError("\n".join(problems))


def _runs(runs: str | None) -> Iterator[str]:
    if runs is None:
        yield (
            "give a place for the runs: --runs s3://BUCKET/PREFIX, or --runs FOLDER that all nodes "
            "of the cluster share"
        )
    elif not _is_there(runs):
        yield (
            f"--runs is {runs}, a folder of this machine; on a cluster it must be "
            "s3://BUCKET/PREFIX or the absolute path of a folder that all nodes share"
        )


def _paths(recipe: Recipe) -> Iterator[str]:
    """Problems with paths that are relative to a folder of this machine."""
    from pcsearch.data.catalog import DATASETS

    in_root = [name for name in recipe.datasets if name in DATASETS and DATASETS[name].folder]
    stated = recipe.weights
    weights = [stated] if isinstance(stated, str) else list(stated.values())
    paths = {
        "data.root": recipe.data.root if in_root else None,
        "data.images": recipe.data.images,
        "data.manifest": recipe.data.manifest,
    }
    files = [*paths.items(), *(("weights", w) for w in weights if w not in ("imagenet", "none"))]
    for key, path in files:
        if path is not None and not _means_the_same(str(path)):
            yield (
                f"{recipe.name}: {key} is {path}, relative to a folder of this machine; give its "
                f"path on the cluster's nodes: {key}=/absolute/path (or ~/path)"
            )
    for run in recipe.search.prior:
        if "/" in run and not (is_remote(run) or _means_the_same(run)):
            yield (
                f"{recipe.name}: search.prior holds {run}, relative to a folder of this machine; "
                "name a run under --runs, or give its s3:// address"
            )


def _for_there(recipe: Recipe) -> str:
    """The recipe's text, with paths in this home folder moved to the home folder there."""
    home = f"{home_folder()}/"

    def there(path: Any) -> Any:
        own = isinstance(path, str) and path.startswith(home)
        return f"~/{path.removeprefix(home)}" if own else path

    content = recipe.to_mapping()
    for key in ("root", "images", "manifest"):
        content["data"][key] = there(content["data"][key])
    weights = content["weights"]
    if isinstance(weights, dict):
        content["weights"] = {backbone: there(path) for backbone, path in weights.items()}
    else:
        content["weights"] = there(weights)
    return dump(content)


def _is_there(runs: str) -> bool:
    """Whether a place exists for every machine. `--runs` does not expand `~` there."""
    return is_remote(runs) or PurePosixPath(runs).is_absolute()


def _means_the_same(path: str) -> bool:
    return PurePosixPath(path).is_absolute() or path.startswith("~/")


def _allowing(consents: Iterable[str]) -> list[str]:
    """Options that pass on the consent given here."""
    return [word for consent in dict.fromkeys(consents) for word in ("--allow-code", consent)]


def _copy(module: Path, target: Path) -> None:
    if module.is_dir():
        leave = shutil.ignore_patterns("__pycache__", ".git")
        shutil.copytree(module, target, ignore=leave, dirs_exist_ok=True)
    else:
        shutil.copy(module, target)
