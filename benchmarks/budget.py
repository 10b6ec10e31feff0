"""What a budget in money lets a campaign spend: cost until its end ÷ `budget.cost`.

    python benchmarks/budget.py

On a virtual clock: two studies of two arms, 40 search trials each, rungs at 1 and 3 of 9 epochs,
two finalists and three confirm seeds an arm. The budget is a share of what the same campaign costs
without one. Nodes take 30 s to come and go after 5 minutes without a trial.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from simulation import plan, study

from pcsearch.search.plan import Plan, confirm_seeds
from pcsearch.simulation.cluster import ClusterModel
from pcsearch.simulation.curves import SyntheticCurves
from pcsearch.simulation.outcome import Simulated
from pcsearch.simulation.simulator import simulate

IMAGES = 100
"""Of a dataset: 80 to train on, an epoch."""

PRICE = 3.6
FULL_SECONDS = (72, 1440)
"""Of a search trial that is not stopped: short and long, beside the idle timeout."""

CLUSTERS = ((1, 2), (2, 2), (4, 2), (8, 2), (12, 2), (16, 2), (1, 8), (2, 8), (4, 8))
SHARES = (0.6, 0.8)


@dataclass(frozen=True)
class Spent:
    ratio: float
    asked: float
    """The share of the planned search trials."""
    confirmed: bool


def campaign(seed: int, budget: float | None) -> Plan:
    return plan(
        *(study(name, 40, IMAGES) for name in ("birds", "cars")),
        seed=seed, sampler="random", max_epochs=9, confirm_epochs=9, finalist_configs=2,
        finalist_repeats=1, confirm_seeds=confirm_seeds(0, 3), budget_cost=budget,
        price_per_node_hour=PRICE,
    )  # fmt: skip


def spent(full_seconds: float, nodes: int, slots: int, share: float, seed: int) -> Spent:
    model = ClusterModel(
        nodes=nodes, slots_per_node=slots, price=PRICE, start_seconds=30.0, worker_seconds=0.0
    )  # fmt: skip

    def run(budget: float | None) -> Simulated:
        asked = campaign(seed, budget)
        return simulate(
            asked, model, SyntheticCurves(asked, seed, 80 * 9 / full_seconds), seed=seed
        )

    budget = share * until_the_end(run(None))
    done = run(budget)
    arms = done.state.arms.values()
    return Spent(
        ratio=until_the_end(done) / budget,
        asked=sum(len(arm.trials["search"]) for arm in arms) / (2 * 2 * 40),
        confirmed=all(len(arm.trials["confirm"]) == 3 for arm in arms),
    )


def until_the_end(done: Simulated) -> float:
    return (done.cost or 0.0) - (done.tail_cost or 0.0)


def rows(seeds: int) -> Iterator[str]:
    yield "full trial  nodes x slots  " + "  ".join(f"{share:^24}" for share in SHARES)
    for seconds in FULL_SECONDS:
        for nodes, slots in CLUSTERS:
            cells = []
            for share in SHARES:
                runs = [spent(seconds, nodes, slots, share, seed) for seed in range(seeds)]
                ratios = [run.ratio for run in runs]
                asked = 100 * sum(run.asked for run in runs) / seeds
                lost = "" if all(run.confirmed for run in runs) else " not confirmed"
                cells.append(f"{min(ratios):.2f} to {max(ratios):.2f}, {asked:3.0f} %{lost}")
            yield f"{seconds:8} s  {nodes:6} x {slots:<5}  " + "  ".join(f"{c:24}" for c in cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    for row in rows(parser.parse_args().seeds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
