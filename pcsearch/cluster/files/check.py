"""Find problems in a cluster file, without starting or paying for anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pcsearch.cluster.files.cluster_file import ClusterConfig, Finding, on_kubernetes, texts
from pcsearch.cluster.files.network_access import ports, token
from pcsearch.cluster.files.nodes import nodes, price, versions
from pcsearch.cluster.files.pods import manifest, pod_ports, pod_storage, pod_token
from pcsearch.cluster.files.provider import provider
from pcsearch.cluster.files.storage import data, storage
from pcsearch.io import expanded
from pcsearch.recipe.schema import Recipe


def check_cluster_file(
    config: ClusterConfig,
    *,
    folder: Path,
    recipes: Sequence[Recipe] = (),
    runs: str | None = None,
    prices: Mapping[str, float] | None = None,
) -> Iterator[Finding]:
    """Check everything that can be checked offline.

    Args:
        config: The file, from `load_cluster_file`.
        folder: Where the cluster will be started: paths in the file are relative to it.
        recipes: Recipes whose trials will run there.
        runs: Where the runs will be kept, if known.
        prices: Price of a node-hour by node type.
    """
    pods = on_kubernetes(config)
    yield from manifest(config) if pods else provider(config)
    yield from _to_fill_in(config)
    yield from nodes(config, recipes)
    yield from pod_ports(config) if pods else ports(config)
    yield from pod_token(config) if pods else token(config)
    yield from _files(config, folder)
    yield from pod_storage(config, runs) if pods else storage(config, runs)
    yield from data(config, recipes)
    yield from versions(config)
    yield from price(config, prices or {})


def _to_fill_in(config: ClusterConfig) -> Iterator[Finding]:
    documents = config["documents"] if on_kubernetes(config) else [config]
    places: dict[str, str] = {}  # an anchor may fill several; one is enough
    for document in documents:
        for path, text in texts(document):
            if "FILL-IN" in text:
                places.setdefault(text, path)
    for text, path in places.items():
        yield Finding("problem", f"{path} must still be filled in ({text})", "its comment says how")


def _files(config: ClusterConfig, folder: Path) -> Iterator[Finding]:
    for there, here in (config.get("file_mounts") or {}).items():
        if str(there).endswith(".ray/auth_token"):
            continue
        if not (folder / expanded(str(here))).exists():
            wheel = str(here).endswith(".whl")
            remedy = "pip wheel --no-deps -w dist ." if wheel else "make it, or remove it"
            yield Finding(
                "problem", f"file_mounts: there is no {here} (seen from {folder})", remedy
            )
    key = (config.get("auth") or {}).get("ssh_private_key")
    if key and not expanded(str(key)).is_file():
        yield Finding(
            "problem", f"auth.ssh_private_key: there is no {key}", "name the key you log in with"
        )
