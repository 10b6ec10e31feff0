"""Check a cluster file's nodes: room for trials, cost, and versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pcsearch.cluster.files.cluster_file import (
    ClusterConfig,
    Finding,
    commands,
    node_of,
    on_kubernetes,
    texts,
    unstated_types,
    worker_types,
)
from pcsearch.cluster.files.kuberay import containers, groups
from pcsearch.cluster.session.autoscaler import largest_capacity
from pcsearch.cluster.session.capacity import Node, gpus_of_trial
from pcsearch.errors import did_you_mean
from pcsearch.recipe.schema import Recipe

_RAY_PIN = re.compile(r"\bray(?:\[[^\]]*\])?==([0-9][0-9.]*[0-9])")
_RAY_IMAGE = re.compile(r"\brayproject/ray(?:-ml)?:([0-9][0-9.]*[0-9])")
_PYTHON = re.compile(r"\bpython(?:3?==?)?3\.(\d+)\b|-py3(\d+)\b")
_OLDEST_PYTHON = (3, 11)


def versions(config: ClusterConfig) -> Iterator[Finding]:
    import ray

    lines = list(_stating(config))
    pinned = {pin for line in lines for pin in (*_RAY_PIN.findall(line), *_RAY_IMAGE.findall(line))}
    if on_kubernetes(config) and config["spec"].get("rayVersion"):
        pinned.add(str(config["spec"]["rayVersion"]))
    if not pinned:
        yield Finding(
            "warning",
            "the file states no version of Ray, so nodes that start later may get another one",
            f"rayVersion: {ray.__version__}, and images with it"
            if on_kubernetes(config)
            else f"pip install 'ray[default,tune]=={ray.__version__}' in setup_commands",
        )
    elif len(pinned) > 1:
        yield Finding(
            "problem",
            f"the file states several versions of Ray: {' and '.join(sorted(pinned))}",
            "state one",
        )
    unfit = list(_requirement(pinned))
    yield from unfit
    if len(pinned) == 1 and pinned != {ray.__version__} and not unfit:
        (there,) = pinned
        yield _another_than_here(there, ray.__version__, applied=on_kubernetes(config))
    yield from _pythons(lines)


def _another_than_here(there: str, here: str, *, applied: bool) -> Finding:
    """A finding on Ray's versions. Python's do not matter: a job runs with the head's."""
    return Finding(
        "warning" if applied else "problem",  # a manifest's own job needs no Ray here
        f"the nodes get Ray {there}, but this machine checked the file with {here}; "
        "pcsearch cluster submit needs the same on both",
        f"pip install 'ray[default,tune]=={there}' here, or state {here} there",
    )


def _requirement(pinned: set[str]) -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    try:
        stated = [Requirement(text) for text in requires("pcsearch") or []]
    except PackageNotFoundError:
        return
    for wanted in stated:
        if wanted.name != "ray":
            continue
        for pin in sorted(pinned):
            if not wanted.specifier.contains(pin):
                yield Finding(
                    "problem",
                    f"the nodes get Ray {pin}, but pcsearch needs {wanted.specifier}",
                    f"state a version that is {wanted.specifier}",
                )


def _pythons(lines: list[str]) -> Iterator[Finding]:
    found = {int(one or other) for line in lines for one, other in _PYTHON.findall(line)}
    if len(found) > 1:
        names = " and ".join(f"3.{minor}" for minor in sorted(found))
        yield Finding(
            "problem", f"the nodes get Python {names}, but Ray needs one", "state one for all"
        )
    for minor in sorted(found):
        if (3, minor) < _OLDEST_PYTHON:
            yield Finding(
                "problem",
                f"the nodes get Python 3.{minor}, but pcsearch needs 3.11 or newer",
                "choose an image, or a command, with Python 3.11 or newer",
            )


def _stating(config: ClusterConfig) -> Iterator[str]:
    """The texts that may state versions: commands and names of images."""
    if on_kubernetes(config):
        for group in groups(config["spec"]).values():
            yield str(containers(group)[0].get("image", ""))
        return
    yield from commands(config)
    yield from (text for _, text in texts(config.get("docker") or {}))


def nodes(config: ClusterConfig, recipes: Sequence[Recipe]) -> Iterator[Finding]:
    types = config.get("available_node_types") or {}
    head = types.get(config.get("head_node_type"), {})
    if node_of(head).cpus or node_of(head).gpus:
        yield Finding(
            "warning",
            "the head has room for trials, and they would slow down the driver",
            'rayStartParams: {num-cpus: "0", num-gpus: "0"}'
            if on_kubernetes(config)
            else "give the head's type resources: {CPU: 0, GPU: 0}",
        )
    workers = worker_types(config)
    unstated = unstated_types(config)
    if unstated:
        yield Finding(
            "warning",
            f"{', '.join(unstated)}: CPU and GPU are not both stated, so this check cannot tell "
            "whether a trial fits; Ray asks the provider later",
            "state them, such as resources: {CPU: 4, GPU: 1}, and {CPU: 0, GPU: 0} for the head",
        )
    if not workers and config["provider"]["type"] != "local":
        yield Finding("warning", "the file has no worker types: the cluster is its head alone")
    for name, kind in workers.items():
        if kind.get("min_workers"):
            many = kind["min_workers"]
            yield Finding(
                "warning", f"min_workers: {many} of {name} run, and cost money, even without trials"
            )
    if config["provider"]["type"] == "local" and not types:
        yield Finding(
            "warning",
            "the machines' CPUs and GPUs are not in the file, so this check cannot tell whether a "
            "trial fits",
            "check that `nproc` and `nvidia-smi -L` there show what a trial needs "
            "(resources.cpus_per_trial, gpus_per_trial); pcsearch cluster status counts them",
        )
        return
    if any(name in unstated for name in workers):
        return  # one of them may have room
    for recipe in recipes:
        yield from _fits(config, recipe, workers)


def _fits(config: ClusterConfig, recipe: Recipe, workers: Mapping[str, Any]) -> Iterator[Finding]:
    capacity, cpus = largest_capacity(config), recipe.resources.cpus_per_trial
    gpus = gpus_of_trial(recipe.resources, capacity.gpus)
    most = capacity.max_trials(cpus, gpus)
    needs = f"a trial of {recipe.name} needs {_size(Node(cpus, gpus))}"
    if not most:
        sizes = ", ".join(f"{name} {_size(node_of(kind))}" for name, kind in workers.items())
        yield Finding(
            "problem",
            f"{needs}, and no node has room for one ({sizes or 'there are no worker types'})",
            "lower resources.cpus_per_trial or gpus_per_trial, or add a larger type",
        )
        return
    limit = recipe.resources.max_concurrent
    at_once = most if limit == "auto" else min(most, limit)
    room = {name: node_of(kind).max_trials(cpus, gpus) for name, kind in workers.items()}
    rooms = ", ".join(f"{fits} on a {name}" for name, fits in room.items())
    yield Finding("fine", f"{needs}: {rooms}; {at_once} at once at most")
    without = [name for name, fits in room.items() if not fits]
    if without:
        yield Finding(
            "warning",
            f"no trial of {recipe.name} fits on {', '.join(without)}, so none of these starts",
            "lower what a trial needs, or remove the type",
        )


def _size(node: Node) -> str:
    cpus = "1 CPU" if node.cpus == 1 else f"{node.cpus:g} CPUs"
    return f"{cpus} and 1 GPU" if node.gpus == 1 else f"{cpus} and {node.gpus:g} GPUs"


def price(config: ClusterConfig, prices: Mapping[str, float]) -> Iterator[Finding]:
    types = config.get("available_node_types") or {}
    if not types:  # existing machines
        if prices:
            yield Finding("problem", "--price: the file has no node types", "omit --price")
        return
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
        yield Finding("warning", "the cost is unknown", f"give {missing}")
        return
    head = prices.get(str(config.get("head_node_type")), 0.0)
    idle = head + sum(
        prices[name] * int(kind.get("min_workers", 0))
        for name, kind in worker_types(config).items()
    )
    yield Finding(
        "fine",
        f"the cluster costs {idle:,.2f} an hour idle and {highest_price(config, prices):,.2f} an "
        "hour at most; to estimate a campaign: pcsearch simulate RECIPE --nodes K --price P",
    )


def highest_price(config: ClusterConfig, prices: Mapping[str, float]) -> float:
    """The price of an hour in which all machines run; types without a price count as free."""
    limit = int(config.get("max_workers", 2))
    each = sorted(
        (
            prices.get(name, 0.0)
            for name, kind in worker_types(config).items()
            for _ in range(min(int(kind.get("max_workers", limit)), limit))
        ),
        reverse=True,
    )
    return prices.get(str(config.get("head_node_type")), 0.0) + sum(each[:limit])
