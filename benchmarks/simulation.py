"""What a campaign's decisions cost as it grows, and what they are worth.

    python benchmarks/simulation.py scale      decision time and memory, 100 to 100,000 trials
    python benchmarks/simulation.py shown      how many trials a sampler is to be shown
    python benchmarks/simulation.py together   six studies as one campaign ÷ one after the other

All on a virtual clock with made-up learning curves: nothing is trained. Each campaign of `scale`
runs in a process of its own, so that its memory can be told.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from pcsearch.recipe.load import load_recipes
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.search_space import Space
from pcsearch.search import next_trial
from pcsearch.search.plan import (
    ArmPlan,
    DatasetFacts,
    ImageCounts,
    Plan,
    StudyPlan,
    build_plan,
    confirm_seeds,
)
from pcsearch.search.sampling.samplers import seen
from pcsearch.search.state import ArmState
from pcsearch.search.trial import Config, Trial
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.curves import SyntheticCurves, position
from pcsearch.simulation.outcome import Simulated
from pcsearch.simulation.simulator import simulate

SPACE = {
    "lr": Space.between(0.001, 0.1, log=True),
    "weight_decay": Space.between(1e-5, 1e-2, log=True),
    "batch_size": Space.between(16, 128),
    "lambda_over_n": Space.between(0.05, 0.15),
}


def arm(name: str, trials: int) -> ArmPlan:
    own = "lambda_over_n" if name == "pc" else None
    space = {key: of for key, of in SPACE.items() if key != "lambda_over_n" or own}
    return ArmPlan(
        name=name, variant="euclidean", parameter=own, trials=trials, space=space, fixed={}
    )  # fmt: skip


def study(
    dataset: str, trials: int, train: int = 6000, arms: tuple[str, ...] = ("control", "pc")
) -> StudyPlan:
    fit = train * 4 // 5
    return StudyPlan(
        id=f"{dataset}/resnet50",
        dataset=dataset,
        backbone="resnet50",
        num_classes=200,
        images=ImageCounts(fit=fit, val=train - fit, train=train, test=train),
        split_hash="0" * 16,
        arms=tuple(arm(name, trials) for name in arms),
    )


def plan(*studies: StudyPlan, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "name": "benchmark", "metric": "top1", "studies": studies, "max_epochs": 27,
        "grace_epochs": 1, "reduction_factor": 3, "sampler": "tpe", "startup_trials": 50, "seed": 0,
        "finalist_configs": 3, "finalist_repeats": 2, "confirm_seeds": confirm_seeds(0, 5),
        "confirm_epochs": 27,
    }  # fmt: skip
    return Plan(**values | changes)


def scale(options: argparse.Namespace) -> None:
    print(
        "trials   sampler   wall s    cpu s   ms a decision  ms a trial  peak MB  makespan h  used"
    )
    for sampler in ("tpe", "random"):
        for trials in options.trials:
            what = ["--trials", str(trials), "--sampler", sampler, "--nodes", str(options.nodes)]
            subprocess.run([sys.executable, __file__, "one", *what], check=True)


def one(options: argparse.Namespace) -> None:
    import resource

    (trials,) = options.trials
    asked = plan(study("birds", trials // 2), sampler=options.sampler)
    cluster = ClusterModel(nodes=options.nodes, slots_per_node=8, gpus_per_node=8)
    began, used = time.perf_counter(), time.process_time()
    done = simulate(asked, cluster, SyntheticCurves(asked, 0, 500.0))
    wall, used = time.perf_counter() - began, time.process_time() - used
    ran = len(done.state.trials)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    decision = 1e3 * done.decision_seconds / done.events
    print(
        f"{trials:7,}  {options.sampler:8} {wall:7.2f}  {used:7.2f}  {decision:14.3f}"
        f"  {1e3 * used / ran:10.2f}  {peak:7.0f}  {done.makespan_seconds / 3600:10.2f}"
        f"  {100 * done.utilisation:4.0f} %",
        flush=True,
    )


def shown(options: argparse.Namespace) -> None:
    rules: dict[str, Callable[[ArmState], list[Trial]]] = {
        "all": lambda done: done.trials["search"],
        "best 25 and latest 75": seen,
        "best 16 and latest 48": _best_and_latest(16, 48),
        "latest 100": _best_and_latest(0, 100),
        "first 200": lambda done: done.trials["search"][:200],
    }
    print("points lost to the best configuration: by the chosen one, by the last quarter's mean")
    for name, rule in [*rules.items(), ("random search", seen)]:
        sampler = "random" if name == "random search" else "tpe"
        next_trial.seen = rule
        losses, means, began = [], [], time.perf_counter()
        for seed in range(options.seeds):
            loss, mean = _lost(options.trials[0], sampler, seed)
            losses.append(loss)
            means.append(mean)
        seconds = (time.perf_counter() - began) / options.seeds
        print(
            f"{name:22} {median(losses):6.3f} {median(means):6.2f}   {seconds:5.1f} s a campaign",
            flush=True,
        )


def _best_and_latest(best: int, latest: int) -> Callable[[ArmState], list[Trial]]:
    def rule(done: ArmState) -> list[Trial]:
        search = done.trials["search"]
        if len(search) <= best + latest:
            return search
        older = [t for t in done.best(best) if t.spec.index < search[-latest].spec.index]
        return sorted(older, key=lambda trial: trial.spec.index) + search[-latest:]

    return rule


def _lost(trials: int, sampler: str, seed: int) -> tuple[float, float]:
    of = study("birds", trials, arms=("pc",))
    asked = plan(
        of, sampler=sampler, seed=seed, finalist_configs=0, finalist_repeats=0, confirm_seeds=()
    )  # fmt: skip
    family = SyntheticCurves(asked, seed, 500.0)
    best = {key: family.best(of.id, key) for key in SPACE}

    def lost(config: Config) -> float:
        return sum(
            30 * ((position(space, config, key) or 0.0) - best[key]) ** 2
            for key, space in SPACE.items()
        )

    done = simulate(asked, ClusterModel(nodes=8, slots_per_node=8), family, seed=seed)
    state = done.state.arms[of.id, "pc"]
    assert state.choice is not None
    last = state.trials["search"][-trials // 4 :]
    return lost(state.choice.config), sum(lost(t.spec.config) for t in last) / len(last)


SIZES = {
    "flowers": 2040,
    "cub200": 5994,
    "aircraft": 6667,
    "cars": 8144,
    "dogs": 12000,
    "nabirds": 23929,
}
"""Training images of the paper's datasets."""

SLOWER = {"densenet161": 2.3}
"""How much longer an image takes than with a ResNet-50; about, and a guess."""

MORE = (
    "asha={max_epochs: 27, grace_epochs: 1, reduction_factor: 3}",
    "search.weight_decay={low: 1.0e-5, high: 1.0e-2, log: true}",
    "search.batch_size={low: 16, high: 128}",
    "train.warmup_epochs=0",
)
"""Rungs from the first epoch on, and four dimensions."""


class Backbones(SyntheticCurves):
    """Made-up curves, of networks that are not equally fast."""

    def seconds_per_image(self, study: str) -> float:
        return super().seconds_per_image(study) * SLOWER.get(study.partition("/")[2], 1.0)


def together(options: argparse.Namespace) -> None:
    """Six studies on slots that are all there, with the settings of the shipped recipes."""
    print("recipe        trials  together/alone            least  used  work  points lost, alone")
    for name, *changes in (
        ["quickstart"],
        ["cub200-small"],
        ["my-images", "search.trials=8"],
        ["my-images"],
        ["my-images", "search.trials=24"],
        ["cub200"],
        ["cub200", "backbones=[resnet50, densenet161]"],
        ["my-images", *MORE],
    ):
        (recipe,) = load_recipes([name], changes, Path("photos") if name == "my-images" else None)
        runs = [_together(recipe, seed, options.slots) for seed in range(options.seeds)]
        ratios = [run["ratio"] for run in runs]
        means = {key: median(run[key] for run in runs) for key in runs[0]}
        print(
            f"{name:13} {recipe.search.trials:6}  {median(ratios):.3f} ({min(ratios):.3f} to "
            f"{max(ratios):.3f})  {means['least']:.3f}  {means['used']:.2f}"
            f"  {means['work']:.2f}  {means['lost']:.2f}, {means['lost alone']:.2f}"
            f"  {' '.join(changes)}",
            flush=True,
        )


def _together(recipe: Recipe, seed: int, slots: int) -> dict[str, float]:
    """One campaign, and one for each of its studies.

    `least`: the makespan of the separate campaigns' trials if no slot were ever idle, ÷ what they
    took; `work`: of busy slots, the one campaign's ÷ theirs.
    """
    cluster = ClusterModel(nodes=slots, slots_per_node=1, always=slots)
    search = recipe.search.model_copy(update={"seed": seed})
    names = ("cub200", "cars", "nabirds") if len(recipe.backbones) > 1 else SIZES
    facts = [
        DatasetFacts(
            name, 200, ImageCounts(fit=n * 4 // 5, val=n - n * 4 // 5, train=n, test=n), "0" * 16
        )
        for name, n in SIZES.items()
        if name in names
    ]
    whole = build_plan(recipe.model_copy(update={"search": search}), facts)
    curves = Backbones(whole, seed, 500.0)
    at_once = simulate(whole, cluster, curves, seed=seed)
    single = [
        simulate(whole.model_copy(update={"studies": (of,)}), cluster, curves, seed=seed)
        for of in whole.studies
    ]
    alone, busy = sum(s.makespan_seconds for s in single), sum(s.busy_seconds for s in single)
    return {
        "ratio": at_once.makespan_seconds / alone,
        "least": busy / slots / alone,
        "used": at_once.busy_seconds / slots / at_once.makespan_seconds,
        "work": at_once.busy_seconds / busy,
        "lost": mean(_points_lost([at_once], curves)),
        "lost alone": mean(_points_lost(single, curves)),
    }


def _points_lost(campaigns: Sequence[Simulated], curves: SyntheticCurves) -> Iterator[float]:
    """Points of accuracy by which the configurations that were chosen lie below the best."""
    for done in campaigns:
        for of in done.state.plan.studies:
            for arm in of.arms:
                choice = done.state.arms[of.id, arm.name].choice
                assert choice is not None
                yield sum(
                    30
                    * ((position(space, choice.config, key) or 0.0) - curves.best(of.id, key)) ** 2
                    for key, space in arm.space.items()
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("scale", "shown", "together", "one"))
    parser.add_argument("--trials", type=int, nargs="+")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--nodes", type=int, default=256, help="of 8 slots each, of `scale`")
    parser.add_argument("--slots", type=int, default=8, help="of `together`")
    options = parser.parse_args()
    defaults = {"scale": [100, 1000, 10_000, 100_000], "shown": [600]}
    options.trials = options.trials or defaults.get(options.what)
    {"scale": scale, "shown": shown, "together": together, "one": one}[options.what](options)


if __name__ == "__main__":
    main()
