"""A new Ray that moves a name inside it that pcsearch uses fails here, with a clear sentence."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import ray

import pcsearch
from pcsearch.cluster import ray_internals
from pcsearch.cluster.ray_internals import Internal
from pcsearch.execution import tune_patches

ALL = (*ray_internals.INTERNALS, *tune_patches.INTERNALS)
HOMES = {"cluster/ray_internals.py", "execution/tune_patches.py"}
INSIDE = re.compile(
    r"ray\._private|ray\._raylet|autoscaler\._private|ray\.core\.generated|class_cache"
)


@pytest.mark.parametrize("internal", ALL, ids=lambda one: f"{one.module}.{one.name}")
def test_a_name_inside_ray_is_where_it_was(internal: Internal) -> None:
    try:
        found = hasattr(importlib.import_module(internal.module), internal.name)
    except ImportError:
        found = False
    assert found, (
        f"Ray {ray.__version__} has no {internal.module}.{internal.name}, which pcsearch uses for "
        f"{internal.purpose} (without it: {internal.without}). Find its new place for "
        "cluster/ray_internals.py or execution/tune_patches.py, or lower ray's upper bound."
    )


def test_nothing_else_reaches_inside_ray() -> None:
    root = Path(pcsearch.__file__).parent
    reaching = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if INSIDE.search(path.read_text(encoding="utf-8"))
    }
    assert reaching == HOMES
