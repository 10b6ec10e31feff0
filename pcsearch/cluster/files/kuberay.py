"""A KubeRay manifest, converted to the form of a file for Ray's launcher.

No Python package holds KubeRay's schema, so this module lists its keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pcsearch.cluster.ray_internals import launcher_config_of
from pcsearch.errors import UserError


def _words(text: str) -> list[str]:
    return text.split()


CLUSTER = frozenset(
    _words("""
    upgradeStrategy authOptions suspend managedBy autoscalerOptions headServiceAnnotations
    enableInTreeAutoscaling gcsFaultToleranceOptions historyServerOptions networkPolicy tlsOptions
    headGroupSpec rayVersion workerGroupSpecs
""")
)
HEAD = frozenset(
    _words("""
    template headService enableIngress ingressOptions resources labels rayStartParams serviceType
""")
)
WORKERS = frozenset(
    _words("""
    suspend groupName replicas minReplicas maxReplicas idleTimeoutSeconds priority resources
    labels rayStartParams template scaleStrategy numOfHosts
""")
)
AUTOSCALER = frozenset(
    _words("""
    resources image imagePullPolicy securityContext idleTimeoutSeconds upscalingMode version env
    envFrom volumeMounts command args
""")
)
AUTH = frozenset(
    _words("""
    enableK8sTokenAuth secretName mode
""")
)
JOB = frozenset(
    _words("""
    activeDeadlineSeconds preRunningDeadlineSeconds backoffLimit rayClusterSpec
    submitterPodTemplate metadata clusterSelector submitterConfig managedBy deletionStrategy
    entrypoint runtimeEnvYAML jobId submissionMode entrypointResources entrypointNumCpus
    entrypointNumGpus ttlSecondsAfterFinished shutdownAfterJobFinishes suspend
""")
)


ClusterSpec = dict[str, Any]


def groups(spec: ClusterSpec) -> dict[str, ClusterSpec]:
    """The head's group and those of the workers, by name."""
    workers = {str(group["groupName"]): group for group in spec["workerGroupSpecs"]}
    return {"head": spec["headGroupSpec"]} | workers


def pod(group: ClusterSpec) -> ClusterSpec:
    """The spec of a group's pods; empty if there is none."""
    template = group.get("template")
    spec = template.get("spec") if isinstance(template, dict) else None
    return spec if isinstance(spec, dict) else {}


def containers(group: ClusterSpec, key: str = "containers") -> list[ClusterSpec]:
    """The containers of a group's pods, Ray's first; none if one of them is not a mapping."""
    return mappings(pod(group).get(key))


def mappings(value: Any) -> list[ClusterSpec]:
    """The value if it is a list of mappings; else an empty list."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    return []


def variables(group: ClusterSpec) -> dict[str, ClusterSpec]:
    """The environment variables of a group's Ray container, by name."""
    return {str(item.get("name")): item for item in mappings(containers(group)[0].get("env"))}


def mounted(container: ClusterSpec) -> dict[str, str]:
    """The mount folders of a container, with the names of their volumes."""
    found = mappings(container.get("volumeMounts"))
    return {str(item.get("mountPath")): str(item.get("name")) for item in found}


def volumes(group: ClusterSpec) -> dict[str, ClusterSpec]:
    """The volumes of a group's pods, by name."""
    return {str(item.get("name")): item for item in mappings(pod(group).get("volumes"))}


def filled_folders(spec: ClusterSpec) -> list[str]:
    """Folders that every pod's Ray container mounts.

    A volume that starts empty counts only if an init container also mounts it, to fill it.
    """
    each = [set(_filled(group)) for group in groups(spec).values()]
    return sorted(set.intersection(*each))


def _filled(group: ClusterSpec) -> list[str]:
    early = {name for c in containers(group, "initContainers") for name in mounted(c).values()}
    kinds = volumes(group)
    return [
        folder
        for folder, name in mounted(containers(group)[0]).items()
        if ("emptyDir" not in kinds.get(name, {}) or name in early)
        and not {"secret", "configMap"} & kinds.get(name, {}).keys()
    ]


_GROUP = "ray.io/"
_MOST_PODS = 10**6


def is_kuberay(documents: Sequence[Any]) -> bool:
    """Whether any of a file's documents is for KubeRay."""
    return any(str(document.get("apiVersion", "")).startswith(_GROUP)
               or document.get("kind") in ("RayCluster", "RayJob", "RayService")
               for document in documents if isinstance(document, dict))  # fmt: skip


def launcher_form(documents: Sequence[Any]) -> dict[str, Any]:
    """The autoscaler's configuration from a manifest, by Ray's own code.

    It has the keys of a file for the launcher, with the provider type `kuberay`. `documents` holds
    the manifest's documents, `spec` the spec of its cluster.

    Raises:
        UserError: the manifest holds no cluster, several, or one that cannot be read.
    """
    for document in documents:
        if not isinstance(document, dict) or not isinstance(document.get("spec") or {}, dict):
            raise UserError("each document and its spec must be mappings")
        if not isinstance(document.get("metadata") or {}, dict):
            raise UserError(f"{document.get('kind')}: metadata must be a mapping")
    found = [(_label(document), document, spec) for document in documents
             for spec in [_cluster_spec(document)] if spec is not None]  # fmt: skip
    if not found:
        raise UserError(
            "holds no Ray cluster: a RayJob with a clusterSelector starts none; name the file of "
            "its RayCluster"
        )
    if len(found) > 1:
        names = " and ".join(label for label, _, _ in found)
        raise UserError(f"holds {len(found)} Ray clusters ({names}); put each into its own file")
    (label, document, spec) = found[0]
    for problem in _misshapen(spec):
        raise UserError(f"{label}: {problem}")
    metadata = {"name": "cluster", "namespace": "default"} | (document.get("metadata") or {})
    try:
        config = launcher_config_of(metadata, spec)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{label}: {reason[0]}") from error
    return config | {"documents": list(documents), "spec": spec}


def _label(document: dict[str, Any]) -> str:
    name = (document.get("metadata") or {}).get("name", "without a name")
    return f"{document.get('kind')} {name}"


def _cluster_spec(document: dict[str, Any]) -> Any:
    spec = document.get("spec") or {}
    if document.get("kind") == "RayCluster":
        return spec
    return spec.get({"RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}.get(
        str(document.get("kind")), ""))  # fmt: skip


def _misshapen(spec: Any) -> Iterator[str]:
    """Wrong types that would break the further checks."""
    groups = (spec.get("workerGroupSpecs") or []) if isinstance(spec, dict) else []
    if not isinstance(spec, dict) or not isinstance(groups, list):
        yield "the cluster's spec must be a mapping, and workerGroupSpecs in it a list"
        return
    spec["workerGroupSpecs"] = groups
    for group in [spec.get("headGroupSpec"), *groups]:
        head = group is spec.get("headGroupSpec")
        here = "headGroupSpec" if head else f"worker group {_named(group)}"
        if not isinstance(group, dict):
            yield f"{here} must be a mapping"
        elif not containers(group):
            yield f"{here}: template.spec.containers must be a list of mappings, the first Ray's"
        elif not all(
            isinstance(group.get(key) or {}, dict) for key in ("rayStartParams", "resources")
        ):
            yield f"{here}: rayStartParams and resources must be mappings"
        elif not head and not isinstance(group.get("groupName"), str):
            yield f"{here}: has no groupName"
        elif not head and not all(_count(group.get(key)) for key in ("minReplicas", "maxReplicas")):
            yield f"{here}: minReplicas and maxReplicas must be whole numbers"
        elif not head and group["minReplicas"] > group["maxReplicas"]:
            yield f"{here}: minReplicas is more than maxReplicas"


def _named(group: Any) -> str:
    return str(group.get("groupName", "without a name")) if isinstance(group, dict) else "?"


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_PODS
