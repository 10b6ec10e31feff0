"""Whether every pod of a KubeRay cluster can keep what trials write."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
_RUNS = re.compile(r"--runs[= ]+['\"]?([^\s'\"]+)")


def pod_storage(config: Config, runs: str | None) -> Iterator[Finding]:
    spec = config["spec"]
    yield from _written_keys(spec)
    kept = {runs} if runs else {of for line in entrypoints(config) for of in _RUNS.findall(line)}
    remote = sorted(of for of in kept if "://" in of)
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
    elif shared:
        yield Finding("fine", f"{', '.join(shared)} is one and the same folder in every pod")
    else:
        yield Finding(
            "problem",
            "no folder is shared by the pods, so trials cannot go on elsewhere",
            "keep the runs on S3 and say so: --runs s3://BUCKET/runs",
        )


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
