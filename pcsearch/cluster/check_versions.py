"""The versions of Ray and Python that a cluster file states, against each other and those here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pcsearch.cluster.file import Config, commands, on_kubernetes, texts
from pcsearch.cluster.finding import Finding
from pcsearch.cluster.pods import containers, groups

_RAY_PIN = re.compile(r"\bray(?:\[[^\]]*\])?==([0-9][0-9.]*[0-9])")
_RAY_IMAGE = re.compile(r"\brayproject/ray(?:-ml)?:([0-9][0-9.]*[0-9])")
_PYTHON = re.compile(r"\bpython(?:3?==?)?3\.(\d+)\b|-py3(\d+)\b")
_OLDEST_PYTHON = (3, 11)


def versions(config: Config) -> Iterator[Finding]:
    import ray

    lines = list(_stating(config))
    pinned = {pin for line in lines for pin in (*_RAY_PIN.findall(line), *_RAY_IMAGE.findall(line))}
    if on_kubernetes(config) and config["spec"].get("rayVersion"):
        pinned.add(str(config["spec"]["rayVersion"]))
    if not pinned:
        yield Finding(
            "warning",
            "no version of Ray is stated, so nodes that start later may get another one",
            f"rayVersion: {ray.__version__}, and images that hold it"
            if on_kubernetes(config)
            else f"pip install 'ray[default,tune]=={ray.__version__}' in setup_commands",
        )
    elif len(pinned) > 1:
        yield Finding("problem", f"Ray is installed as {' and '.join(sorted(pinned))}", "state one")
    unfit = list(_requirement(pinned))
    yield from unfit
    if len(pinned) == 1 and pinned != {ray.__version__} and not unfit:
        (there,) = pinned
        yield _another_than_here(there, ray.__version__, applied=on_kubernetes(config))
    yield from _pythons(lines)


def _another_than_here(there: str, here: str, *, applied: bool) -> Finding:
    """Python is not compared: a job runs with the one of the head."""
    return Finding(
        "warning" if applied else "problem",  # a manifest's own job needs no Ray here
        f"the nodes get Ray {there}, and this machine has {here}, by which the file was looked at; "
        "pcsearch cluster submit takes the same on both",
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
                    f"the nodes get Ray {pin}, but pcsearch takes {wanted.specifier}",
                    f"state a version that is {wanted.specifier}",
                )


def _pythons(lines: list[str]) -> Iterator[Finding]:
    found = {int(one or other) for line in lines for one, other in _PYTHON.findall(line)}
    if len(found) > 1:
        names = " and ".join(f"3.{minor}" for minor in sorted(found))
        yield Finding(
            "problem", f"the nodes get Python {names}, and Ray takes one", "state one for all"
        )
    for minor in sorted(found):
        if (3, minor) < _OLDEST_PYTHON:
            yield Finding(
                "problem",
                f"the nodes get Python 3.{minor}, but pcsearch takes 3.11 or newer",
                "choose an image, or a command, with Python 3.11 or newer",
            )


def _stating(config: Config) -> Iterator[str]:
    """Commands and names of images."""
    if on_kubernetes(config):
        for group in groups(config["spec"]).values():
            yield str(containers(group)[0].get("image", ""))
        return
    yield from commands(config)
    yield from (text for _, text in texts(config.get("docker") or {}))
