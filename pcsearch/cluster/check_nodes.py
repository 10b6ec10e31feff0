"""Whether trials fit on a cluster file's nodes, and what these may cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pcsearch.cluster.autoscaler import largest
from pcsearch.cluster.capacity import Node
from pcsearch.cluster.file import Config, node_of, on_kubernetes, unstated_types, worker_types
from pcsearch.cluster.finding import Finding
from pcsearch.errors import did_you_mean
from pcsearch.recipe.schema import Recipe
from pcsearch.search.sizing import gpus_of_trial


def nodes(config: Config, recipes: Sequence[Recipe]) -> Iterator[Finding]:
    types = config.get("available_node_types") or {}
    head = types.get(config.get("head_node_type"), {})
    if node_of(head).cpus or node_of(head).gpus:
        yield Finding(
            "warning",
            "the head has room for trials, which slow down what decides for all of them",
            'rayStartParams: {num-cpus: "0", num-gpus: "0"}'
            if on_kubernetes(config)
            else "give the head's type resources: {CPU: 0, GPU: 0}",
        )
    workers = worker_types(config)
    unstated = unstated_types(config)
    if unstated:
        yield Finding(
            "warning",
            f"{', '.join(unstated)}: CPU and GPU are not both stated, so what has room there is "
            "known once Ray has asked the provider, and not by this check",
            "state them, such as resources: {CPU: 4, GPU: 1}, and {CPU: 0, GPU: 0} for the head",
        )
    if not workers and config["provider"]["type"] != "local":
        yield Finding("warning", "there are no worker types: the cluster is its head alone")
    for name, kind in workers.items():
        if kind.get("min_workers"):
            many = kind["min_workers"]
            yield Finding(
                "warning", f"{many} of {name} run, and cost, also while there is no trial"
            )
    if config["provider"]["type"] == "local" and not types:
        yield Finding(
            "warning",
            "what the machines have room for is not in the file, so whether a trial fits is seen "
            "when they run, and not by this check",
            "see that `nproc` and `nvidia-smi -L` there show what a trial takes "
            "(resources.cpus_per_trial, gpus_per_trial); pcsearch cluster status counts them",
        )
        return
    if any(name in unstated for name in workers):
        return  # one of them may have the room
    for recipe in recipes:
        yield from _fits(config, recipe, workers)


def _fits(config: Config, recipe: Recipe, workers: Mapping[str, Any]) -> Iterator[Finding]:
    capacity, cpus = largest(config), recipe.resources.cpus_per_trial
    gpus = gpus_of_trial(recipe.resources, capacity.gpus)
    most = capacity.fits(cpus, gpus)
    needs = f"a trial of {recipe.name} takes {_size(Node(cpus, gpus))}"
    if not most:
        sizes = ", ".join(f"{name} {_size(node_of(kind))}" for name, kind in workers.items())
        yield Finding(
            "problem",
            f"{needs}, and no node has room for one ({sizes or 'there are no worker types'})",
            "lower resources.cpus_per_trial or gpus_per_trial, or state the resources of a "
            "larger type",
        )
        return
    limit = recipe.resources.max_concurrent
    at_once = most if limit == "auto" else min(most, limit)
    room = {name: node_of(kind).fits(cpus, gpus) for name, kind in workers.items()}
    rooms = ", ".join(f"{fits} on a {name}" for name, fits in room.items())
    yield Finding("fine", f"{needs}: {rooms}; {at_once} at once at most")
    without = [name for name, fits in room.items() if not fits]
    if without:
        yield Finding(
            "warning",
            f"no trial of {recipe.name} fits on {', '.join(without)}, so none will be started",
            "lower what a trial takes, or take the type out",
        )


def _size(node: Node) -> str:
    cpus = "1 CPU" if node.cpus == 1 else f"{node.cpus:g} CPUs"
    return f"{cpus} and 1 GPU" if node.gpus == 1 else f"{cpus} and {node.gpus:g} GPUs"


def price(config: Config, prices: Mapping[str, float]) -> Iterator[Finding]:
    types = config.get("available_node_types") or {}
    if not types and not prices:
        return  # machines that are there already
    for name in prices:
        if name not in types:
            yield Finding(
                "problem",
                f'--price: there is no node type "{name}"{did_you_mean(name, list(types))}',
                f"the types are {', '.join(types)}",
            )
    unpriced = [name for name in types if name not in prices]
    if not prices or unpriced:
        missing = " ".join(f"--price {name}=P" for name in unpriced)
        yield Finding("warning", "what it may cost is not known", f"give {missing}")
        return
    limit = int(config.get("max_workers", 2))
    each = sorted(
        (
            prices[name]
            for name, kind in worker_types(config).items()
            for _ in range(min(int(kind.get("max_workers", limit)), limit))
        ),
        reverse=True,
    )
    head = prices.get(str(config.get("head_node_type")), 0.0)
    most = head + sum(each[:limit])
    idle = head + sum(
        prices[name] * int(kind.get("min_workers", 0))
        for name, kind in worker_types(config).items()
    )
    yield Finding(
        "fine",
        f"it costs {idle:,.2f} an hour idle and {most:,.2f} an hour at most; what a campaign may "
        "cost: pcsearch simulate RECIPE --nodes K --price P",
    )
