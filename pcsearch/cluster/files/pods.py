"""Check a KubeRay manifest: its keys, who can reach its pods, and where they keep runs.

The API server decides in the end: `kubectl apply --dry-run=server`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

from pcsearch.cluster.files import kuberay as fields
from pcsearch.cluster.files.cluster_file import ClusterConfig, Finding, texts
from pcsearch.cluster.files.kuberay import (
    containers,
    filled_folders,
    groups,
    mappings,
    mounted,
    pod,
    variables,
    volumes,
)
from pcsearch.errors import did_you_mean

_PORTS = {6379, 8265, 10001, 8076, 8077, 44217, 52365}
_OUTER = ("LoadBalancer", "NodePort")
_HEAD_SERVICE = re.compile(r"-head-svc$")
_INSIDE = "kubectl port-forward reaches the dashboard without that"


def pod_ports(config: ClusterConfig) -> Iterator[Finding]:
    found = list(_opened(config))
    yield from found
    if not found:
        yield Finding("fine", "the file opens no port beyond Kubernetes' own network")


def _opened(config: ClusterConfig) -> Iterator[Finding]:
    head = config["spec"]["headGroupSpec"]
    service = head.get("headService")
    inner = service.get("spec") if isinstance(service, dict) else None
    kinds = [head.get("serviceType"), inner.get("type") if isinstance(inner, dict) else None]
    for kind in kinds:
        if kind in _OUTER:
            yield _world(f"the head's Service is a {kind}", "ClusterIP, or omit the type")
    if head.get("enableIngress"):
        yield _world("an Ingress leads to the dashboard", "enableIngress: false")
    for document in of_kind(config, "Service"):
        spec = document["spec"]
        if spec.get("type") in _OUTER and _leads_to_ray(spec):
            yield _world(f"the Service {_name(document)} is a {spec['type']}", "type: ClusterIP")
    for kind in ("Ingress", "HTTPRoute", "Route"):
        for document in of_kind(config, kind):
            if any(_HEAD_SERVICE.search(text) for _, text in texts(document["spec"])):
                yield _world(f"the {kind} {_name(document)} leads to the head", "remove it")
    for name, group in groups(config["spec"]).items():
        ports = [port for item in containers(group) for port in mappings(item.get("ports"))]
        if pod(group).get("hostNetwork") or any(port.get("hostPort") for port in ports):
            yield _world(
                f"{name}: its pods listen at the addresses of their machines",
                "remove hostNetwork and hostPort",
            )


def _world(what: str, remedy: str) -> Finding:
    return Finding(
        "problem",
        f"{what}, so Ray's ports are open beyond Kubernetes' own network, and anybody who reaches "
        "one can run code on the cluster",
        f"{remedy}; {_INSIDE}",
    )


def _leads_to_ray(spec: dict[str, Any]) -> bool:
    selector = spec.get("selector")
    labels = selector if isinstance(selector, dict) else {}
    numbers = {port.get(key) for port in mappings(spec.get("ports"))
               for key in ("port", "targetPort")}  # fmt: skip
    return any(str(label).startswith("ray.io/") for label in labels) or bool(numbers & _PORTS)


def _name(document: dict[str, Any]) -> str:
    return str((document.get("metadata") or {}).get("name"))


def pod_token(config: ClusterConfig) -> Iterator[Finding]:
    spec = config["spec"]
    auth = spec.get("authOptions")
    mode = auth.get("mode") if isinstance(auth, dict) else None
    each = [variables(group) for group in groups(spec).values()]
    stated = [str(of.get("RAY_AUTH_MODE", {}).get("value")) for of in each]
    secrets = [d for d in config["documents"] if d.get("kind") == "Secret"]
    if any("RAY_AUTH_TOKEN" in of and of["RAY_AUTH_TOKEN"].get("value") for of in each) or any(
        path.endswith("auth_token") for secret in secrets for path, _ in texts(secret)
    ):
        yield Finding(
            "problem",
            "a token is written in the file",
            "authOptions: {mode: token}: KubeRay makes one and keeps it in a Secret",
        )
    elif mode == "disabled" or "disabled" in stated:
        yield Finding("problem", "token authentication is off", "authOptions: {mode: token}")
    elif mode == "token":
        if spec.get("rayVersion"):
            yield Finding("fine", "KubeRay makes a token and gives it to every pod")
        else:
            yield Finding(
                "problem", "with a token, KubeRay needs the version of Ray", "state rayVersion"
            )
    elif set(stated) == {"token"} and all(
        "valueFrom" in of.get("RAY_AUTH_TOKEN", {}) for of in each
    ):
        yield Finding("fine", "every pod gets the token from a Secret")
    else:
        yield Finding(
            "problem",
            "the pods get no token, so anybody who reaches the head inside of Kubernetes can run "
            "code on it",
            "authOptions: {mode: token} (KubeRay 1.5.1 or newer)",
        )


_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_TUNE = re.compile(r"\bpcsearch\s+tune\b")
_DEFAULT = "runs"
"""Where `pcsearch tune` keeps runs by default: in the working directory of its pod."""
_RUNS = re.compile(r"--runs[= ]+['\"]?([^\s'\"]+)")


def pod_storage(config: ClusterConfig, runs: str | None) -> Iterator[Finding]:
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
                "mount a Secret as ~/.aws, or set a serviceAccountName with a role",
            )
    if own or not remote:
        yield _in_folders(own, shared)


def _stated(config: ClusterConfig) -> Iterator[str]:
    """Where the file's jobs keep their runs."""
    for line in _entrypoints(config):
        found = _RUNS.findall(line)
        yield from found or ([_DEFAULT] if _TUNE.search(line) else [])


def _in_folders(runs: list[str], shared: list[str]) -> Finding:
    """Whether the pods share the folders for runs; without `runs`, whether they share any."""
    if not shared:
        return Finding(
            "problem",
            "the pods share no folder, so trials cannot continue in another pod",
            "keep the runs on S3: --runs s3://BUCKET/runs",
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
            f"runs at {', '.join(outside)} would be in a separate folder in each pod, so trials "
            f"cannot continue in another pod: the pods share {folders}",
            f"--runs s3://BUCKET/runs, or a folder below {' or '.join(shared)}",
        )
    return Finding("fine", f"all pods share {folders}")


def _written_keys(spec: dict[str, Any]) -> Iterator[Finding]:
    for name, group in groups(spec).items():
        stated = variables(group)
        written = [key for key in _SECRETS if stated.get(key, {}).get("value")]
        if written:
            yield Finding(
                "problem",
                f"{name}: {', '.join(written)} is written in the file",
                "put it into a Secret, and refer to it: valueFrom: {secretKeyRef: ...}",
            )


def _shared(spec: dict[str, Any]) -> list[str]:
    """Folders at which all pods mount the same claim, or the same NFS export."""
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


_VERSION = "ray.io/v1"
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST = {"RayCluster": 63, "RayJob": 47, "RayService": 47}
_SELECTOR = "ray.io/cluster"
_STATED_TWICE = {"num-cpus", "num-gpus", "memory", "resources"}


def manifest(config: ClusterConfig) -> Iterator[Finding]:
    """Findings on the cluster and the jobs of a manifest."""
    spec = config["spec"]
    found = [*_documents(config), *_unknown(spec), *_groups(spec)]
    for job in of_kind(config, "RayJob"):
        found += _job(job, config)
    if not spec.get("enableInTreeAutoscaling"):
        found.append(
            Finding(
                "warning",
                "the number of workers does not follow the trials",
                "enableInTreeAutoscaling: true",
            )
        )
    yield from found
    if not any(finding.level == "problem" for finding in found):
        yield Finding(
            "fine", "KubeRay should accept the manifest, as far as an offline check shows"
        )


def of_kind(config: ClusterConfig, kind: str) -> list[dict[str, Any]]:
    """The documents of a kind that have a spec."""
    return [d for d in config["documents"] if d.get("kind") == kind and d.get("spec")]


def _documents(config: ClusterConfig) -> Iterator[Finding]:
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
                f"{kind} {name}: KubeRay refuses this name",
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
            yield Finding("problem", f"{where} must be a mapping", "write its keys under it")
        return
    for key in value:
        if key not in known:
            near = did_you_mean(str(key), known)
            yield Finding(
                "problem" if near else "warning",
                f"{where}.{key}: KubeRay 1.7 has no such key{near}",
                "Kubernetes refuses unknown keys",
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
                f"{name}: both resources and rayStartParams state its resources",
                "state them in one of the two",
            )
        if pod(group).get("restartPolicy", "Never") != "Never":
            yield Finding(
                "problem", f"{name}: restartPolicy must be Never with an autoscaler", "remove it"
            )


def _job(job: dict[str, Any], config: ClusterConfig) -> Iterator[Finding]:
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
            f"RayJob {name}: its clusterSelector names {wanted}, but the cluster of this file is "
            f"{', '.join(map(str, own))}",
            f"clusterSelector: {{{_SELECTOR}: {own[0] if own else 'NAME'}}}",
        )
    if spec.get("backoffLimit") or spec.get("submissionMode") == "SidecarMode":
        yield Finding(
            "problem",
            f"RayJob {name}: clusterSelector excludes backoffLimit and SidecarMode",
            "remove them",
        )
    if spec.get("shutdownAfterJobFinishes"):
        yield Finding(
            "warning",
            f"RayJob {name}: its cluster stays after the job, since the job did not start it",
            "remove shutdownAfterJobFinishes, and kubectl delete the RayCluster",
        )


def _entrypoints(config: ClusterConfig) -> list[str]:
    """The commands of the file's jobs."""
    return [str(job["spec"].get("entrypoint", "")) for job in of_kind(config, "RayJob")]
