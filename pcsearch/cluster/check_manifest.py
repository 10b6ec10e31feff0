"""Whether KubeRay takes a manifest, by the rules of its version 1.7 that a campaign relies on.

The last word has the API server: `kubectl apply --dry-run=server`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pcsearch.cluster import kuberay_fields as fields
from pcsearch.cluster.file import Config
from pcsearch.cluster.finding import Finding
from pcsearch.cluster.pods import groups, pod
from pcsearch.errors import did_you_mean

_VERSION = "ray.io/v1"
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST = {"RayCluster": 63, "RayJob": 47, "RayService": 47}
_SELECTOR = "ray.io/cluster"
_STATED_TWICE = {"num-cpus", "num-gpus", "memory", "resources"}


def manifest(config: Config) -> Iterator[Finding]:
    """Findings of the cluster, and of the jobs beside it."""
    spec = config["spec"]
    found = [*_documents(config), *_unknown(spec), *_groups(spec)]
    for job in of_kind(config, "RayJob"):
        found += _job(job, config)
    if not spec.get("enableInTreeAutoscaling"):
        found.append(
            Finding(
                "warning",
                "the workers do not come and go with the trials",
                "enableInTreeAutoscaling: true",
            )
        )
    yield from found
    if not any(finding.level == "problem" for finding in found):
        yield Finding("fine", "the manifest is one for KubeRay, as far as can be seen offline")


def of_kind(config: Config, kind: str) -> list[dict[str, Any]]:
    """The documents of that kind, those without a spec left out."""
    return [d for d in config["documents"] if d.get("kind") == kind and d.get("spec")]


def _documents(config: Config) -> Iterator[Finding]:
    for document in config["documents"]:
        kind, name = document.get("kind"), (document.get("metadata") or {}).get("name")
        if kind not in _LONGEST:
            continue
        if document.get("apiVersion") != _VERSION:
            yield Finding(
                "problem",
                f"{kind} {name}: apiVersion is {document.get('apiVersion')}",
                f"apiVersion: {_VERSION}",
            )
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST[kind]:
            yield Finding(
                "problem",
                f"{kind} {name}: KubeRay takes no such name",
                f"up to {_LONGEST[kind]} lower-case letters, digits and -, a letter first",
            )


def _unknown(spec: dict[str, Any]) -> Iterator[Finding]:
    yield from _unlisted("spec", spec, fields.CLUSTER)
    yield from _unlisted("autoscalerOptions", spec.get("autoscalerOptions"), fields.AUTOSCALER)
    yield from _unlisted("authOptions", spec.get("authOptions"), fields.AUTH)
    for name, group in groups(spec).items():
        yield from _unlisted(
            name, group, fields.HEAD if group is spec["headGroupSpec"] else fields.WORKERS
        )


def _unlisted(where: str, value: Any, known: frozenset[str]) -> Iterator[Finding]:
    if not isinstance(value, dict):
        if value is not None:
            yield Finding("problem", f"{where} must be a mapping", "write its keys below it")
        return
    for key in value:
        if key not in known:
            near = did_you_mean(str(key), known)
            yield Finding(
                "problem" if near else "warning",
                f"{where}.{key}: KubeRay 1.7 knows no such key{near}",
                "Kubernetes refuses keys that it does not know",
            )


def _groups(spec: dict[str, Any]) -> Iterator[Finding]:
    for name, group in groups(spec).items():
        parameters = group.get("rayStartParams") or {}
        for key, value in parameters.items():
            if not isinstance(value, str):
                yield Finding(
                    "problem",
                    f"{name}: rayStartParams.{key} is {value}, but must be a text",
                    f'{key}: "{str(value).lower()}"',
                )
        if group.get("resources") and _STATED_TWICE & parameters.keys():
            yield Finding(
                "problem",
                f"{name}: its resources are stated in both resources and rayStartParams",
                "state them in one of the two",
            )
        if pod(group).get("restartPolicy", "Never") != "Never":
            yield Finding(
                "problem", f"{name}: restartPolicy must be Never with an autoscaler", "leave it out"
            )


def _job(job: dict[str, Any], config: Config) -> Iterator[Finding]:
    name, spec = (job.get("metadata") or {}).get("name"), job["spec"]
    yield from _unlisted(f"RayJob {name}: spec", spec, fields.JOB)
    selector = spec.get("clusterSelector")
    if not selector:
        return
    own = [(c.get("metadata") or {}).get("name") for c in of_kind(config, "RayCluster")]
    wanted = selector.get(_SELECTOR) if isinstance(selector, dict) else None
    if wanted not in own:
        yield Finding(
            "problem",
            f"RayJob {name}: its clusterSelector names {wanted}, and the cluster of this file is "
            f"{', '.join(map(str, own))}",
            f"clusterSelector: {{{_SELECTOR}: {own[0] if own else 'NAME'}}}",
        )
    if spec.get("backoffLimit") or spec.get("submissionMode") == "SidecarMode":
        yield Finding(
            "problem",
            f"RayJob {name}: neither backoffLimit nor SidecarMode goes with a clusterSelector",
            "leave them out",
        )
    if spec.get("shutdownAfterJobFinishes"):
        yield Finding(
            "warning",
            f"RayJob {name}: the cluster stays when the job has ended, as another started it",
            "leave shutdownAfterJobFinishes out, and kubectl delete the RayCluster",
        )


def entrypoints(config: Config) -> list[str]:
    """What the jobs of the file run."""
    return [str(job["spec"].get("entrypoint", "")) for job in of_kind(config, "RayJob")]
