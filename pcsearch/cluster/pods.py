"""The parts of a KubeRay cluster's spec: groups of pods, containers, variables, volumes."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]


def groups(spec: Spec) -> dict[str, Spec]:
    """The head's group and those of the workers, by name."""
    workers = {str(group["groupName"]): group for group in spec["workerGroupSpecs"]}
    return {"head": spec["headGroupSpec"]} | workers


def pod(group: Spec) -> Spec:
    """The spec of a group's pods; empty where there is none."""
    template = group.get("template")
    spec = template.get("spec") if isinstance(template, dict) else None
    return spec if isinstance(spec, dict) else {}


def containers(group: Spec, key: str = "containers") -> list[Spec]:
    """The containers of a group's pods, Ray's first; none where one of them is no mapping."""
    return mappings(pod(group).get(key))


def mappings(value: Any) -> list[Spec]:
    """A list of mappings, or none at all where the value is something else."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    return []


def variables(group: Spec) -> dict[str, Spec]:
    """What is stated of the environment of a group's Ray container, by name."""
    return {str(item.get("name")): item for item in mappings(containers(group)[0].get("env"))}


def mounted(container: Spec) -> dict[str, str]:
    """Folders of a container, with the names of the volumes mounted there."""
    found = mappings(container.get("volumeMounts"))
    return {str(item.get("mountPath")): str(item.get("name")) for item in found}


def volumes(group: Spec) -> dict[str, Spec]:
    """The volumes of a group's pods, by name."""
    return {str(item.get("name")): item for item in mappings(pod(group).get("volumes"))}


def filled_folders(spec: Spec) -> list[str]:
    """Folders that every pod's Ray container has from outside of its image.

    A volume that starts empty counts where an init container has it as well, to fill it.
    """
    each = [set(_filled(group)) for group in groups(spec).values()]
    return sorted(set.intersection(*each))


def _filled(group: Spec) -> list[str]:
    early = {name for c in containers(group, "initContainers") for name in mounted(c).values()}
    kinds = volumes(group)
    return [
        folder
        for folder, name in mounted(containers(group)[0]).items()
        if ("emptyDir" not in kinds.get(name, {}) or name in early)
        and not {"secret", "configMap"} & kinds.get(name, {}).keys()
    ]
