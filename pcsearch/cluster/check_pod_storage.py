"""Whether every pod of a KubeRay cluster can keep what trials write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

from pcsearch.cluster.check_manifest import entrypoints
from pcsearch.cluster.file import Config
from pcsearch.cluster.finding import Finding
from pcsearch.cluster.pods import (
    containers,
    filled_folders,
    groups,
    mounted,
    pod,
    variables,
    volumes,
)

_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_TUNE = re.compile(r"\bpcsearch\s+tune\b")
_DEFAULT = "runs"
"""Where `pcsearch tune` keeps them if it is not told: beside it, in its own pod."""
_RUNS = re.compile(r"--runs[= ]+['\"]?([^\s'\"]+)")


def pod_storage(config: Config, runs: str | None) -> Iterator[Finding]:
    spec = config["spec"]
    yield from _written_keys(spec)
    kept = {runs} if runs else set(_stated(config))
    remote = sorted(of for of in kept if "://" in of)
    own = sorted(kept - set(remote))
    shared = _shared(spec)
    if remote:
        yield Finding("fine", f"runs are kept at {', '.join(remote)}, which every pod can reach")
        bare = [name for name, group in groups(spec).items() if not _has_credentials(group)]
        if bare:
            yield Finding(
                "warning",
                f"{', '.join(bare)}: the file gives no credentials for {remote[0]}",
                "mount a Secret as ~/.aws, or state a serviceAccountName with a role",
            )
    if own or not remote:
        yield _in_folders(own, shared)


def _stated(config: Config) -> Iterator[str]:
    """Where the file's own campaigns keep their runs."""
    for line in entrypoints(config):
        found = _RUNS.findall(line)
        yield from found or ([_DEFAULT] if _TUNE.search(line) else [])


def _in_folders(runs: list[str], shared: list[str]) -> Finding:
    """Whether folders for runs, or any that are still to be named, are the same in every pod."""
    if not shared:
        return Finding(
            "problem",
            "no folder is shared by the pods, so trials cannot go on elsewhere",
            "keep the runs on S3 and say so: --runs s3://BUCKET/runs",
        )
    folders = ", ".join(shared)
    outside = [
        of
        for of in runs
        if not any(PurePosixPath(normpath(of)).is_relative_to(folder) for folder in shared)
    ]
    if outside:
        return Finding(
            "problem",
            f"runs at {', '.join(outside)} would be in another folder in each pod, so trials "
            f"cannot go on elsewhere: the pods share {folders}",
            f"--runs s3://BUCKET/runs, or a folder below {' or '.join(shared)}",
        )
    return Finding("fine", f"{folders} is one and the same folder in every pod")


def _written_keys(spec: dict[str, Any]) -> Iterator[Finding]:
    for name, group in groups(spec).items():
        stated = variables(group)
        written = [key for key in _SECRETS if stated.get(key, {}).get("value")]
        if written:
            yield Finding(
                "problem",
                f"{name}: {', '.join(written)} is written in the file",
                "put it into a Secret, and take it from there: valueFrom: {secretKeyRef: ...}",
            )


def _shared(spec: dict[str, Any]) -> list[str]:
    """Folders at which all pods have the same claim, or the same export of a server."""
    claims = []
    for group in groups(spec).values():
        kinds, found = volumes(group), {}
        for folder, name in mounted(containers(group)[0]).items():
            volume = kinds.get(name, {})
            source = volume.get("persistentVolumeClaim") or volume.get("nfs")
            if source:
                found[folder] = source
        claims.append(found)
    first = claims[0]
    return [
        folder
        for folder in filled_folders(spec)
        if folder in first and all(of.get(folder) == first[folder] for of in claims)
    ]


def _has_credentials(group: dict[str, Any]) -> bool:
    kinds = volumes(group)
    return (
        "serviceAccountName" in pod(group)
        or bool(containers(group)[0].get("envFrom"))
        or any(name.startswith("AWS_") for name in variables(group))
        or any(
            folder.endswith(".aws") and "secret" in kinds.get(name, {})
            for folder, name in mounted(containers(group)[0]).items()
        )
    )
