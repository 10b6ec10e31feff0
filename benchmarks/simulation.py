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
from collections.abc import Callable
from statistics import median
from typing import Any

from pcsearch.recipe.space import Space
from pcsearch.search import asking
from pcsearch.search.arm_state import ArmState
from pcsearch.search.optuna_study import seen
from pcsearch.search.plan import ArmPlan, ImageCounts, Plan, StudyPlan, confirm_seeds
from pcsearch.search.trial import Config, Trial
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.curves import Family, position
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
    print("trials   sampler   wall s   ms a decision   ms a trial   peak MB   makespan h   used")
    for sampler in ("tpe", "random"):
        for trials in options.trials:
            subprocess.run(
                [sys.executable, __file__, "one", "--trials", str(trials), "--sampler", sampler],
                check=True,
            )


def one(options: argparse.Namespace) -> None:
    import resource

    (trials,) = options.trials
    asked = plan(study("birds", trials // 2), sampler=options.sampler)
    cluster = ClusterModel(nodes=256, slots_per_node=8, gpus_per_node=8)
    began = time.perf_counter()
    done = simulate(asked, cluster, Family(asked, 0, 500.0))
    wall = time.perf_counter() - began
    ran = len(done.state.trials)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    decision = 1e3 * done.decision_seconds / done.events
    print(
        f"{trials:7,}  {options.sampler:8} {wall:7.2f}  {decision:14.3f}"
        f"  {1e3 * wall / ran:11.2f}  {peak:8.0f}  {done.makespan_seconds / 3600:11.2f}"
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
        asking.seen = rule
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
    family = Family(asked, seed, 500.0)
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


def together(options: argparse.Namespace) -> None:
    """Datasets of the paper's sizes, 16 search trials an arm, on eight slots that are all there."""
    sizes = {
        "flowers": 2040,
        "cub200": 5994,
        "aircraft": 6667,
        "cars": 8144,
        "dogs": 12000,
        "nabirds": 23929,
    }
    cluster = ClusterModel(nodes=8, slots_per_node=1, always=8, worker_seconds=8.0)
    ratios, used, used_alone = [], [], []
    for seed in range(options.seeds):
        changes = {"seed": seed, "startup_trials": 4}
        studies = [study(name, 16, train) for name, train in sizes.items()]
        whole = plan(*studies, **changes)
        at_once = simulate(whole, cluster, Family(whole, seed, 500.0), seed=seed)
        used.append(at_once.busy_seconds / (8 * at_once.makespan_seconds))
        alone = busy = 0.0
        for of in studies:
            single = plan(of, **changes)
            done = simulate(single, cluster, Family(single, seed, 500.0), seed=seed)
            alone += done.makespan_seconds
            busy += done.busy_seconds
        used_alone.append(busy / (8 * alone))
        ratios.append(at_once.makespan_seconds / alone)
    print(
        f"makespan together ÷ one after the other: median {median(ratios):.3f}, "
        f"{min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} seeds; slots used "
        f"{100 * median(used):.0f} % together, {100 * median(used_alone):.0f} % alone"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("scale", "shown", "together", "one"))
    parser.add_argument("--trials", type=int, nargs="+")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    defaults = {"scale": [100, 1000, 10_000, 100_000], "shown": [600]}
    options.trials = options.trials or defaults.get(options.what)
    {"scale": scale, "shown": shown, "together": together, "one": one}[options.what](options)


if __name__ == "__main__":
    main()
