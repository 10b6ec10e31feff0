"""Who may reach the pods of a KubeRay cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pcsearch.cluster.check_manifest import of_kind
from pcsearch.cluster.file import Config, texts
from pcsearch.cluster.finding import Finding
from pcsearch.cluster.pods import containers, groups, mappings, pod, variables

_PORTS = {6379, 8265, 10001, 8076, 8077, 44217, 52365}
_OUTER = ("LoadBalancer", "NodePort")
_HEAD_SERVICE = re.compile(r"-head-svc$")
_INSIDE = "kubectl port-forward reaches the dashboard without that"


def pod_ports(config: Config) -> Iterator[Finding]:
    found = list(_opened(config))
    yield from found
    if not found:
        yield Finding("fine", "no port is opened beyond Kubernetes' own network by the file")


def _opened(config: Config) -> Iterator[Finding]:
    head = config["spec"]["headGroupSpec"]
    service = head.get("headService")
    inner = service.get("spec") if isinstance(service, dict) else None
    kinds = [head.get("serviceType"), inner.get("type") if isinstance(inner, dict) else None]
    for kind in kinds:
        if kind in _OUTER:
            yield _world(f"the head's Service is a {kind}", "ClusterIP, or leave the type out")
    if head.get("enableIngress"):
        yield _world("an Ingress leads to the dashboard", "enableIngress: false")
    for document in of_kind(config, "Service"):
        spec = document["spec"]
        if spec.get("type") in _OUTER and _leads_to_ray(spec):
            yield _world(f"the Service {_name(document)} is a {spec['type']}", "type: ClusterIP")
    for kind in ("Ingress", "HTTPRoute", "Route"):
        for document in of_kind(config, kind):
            if any(_HEAD_SERVICE.search(text) for _, text in texts(document["spec"])):
                yield _world(f"the {kind} {_name(document)} leads to the head", "take it out")
    for name, group in groups(config["spec"]).items():
        ports = [port for item in containers(group) for port in mappings(item.get("ports"))]
        if pod(group).get("hostNetwork") or any(port.get("hostPort") for port in ports):
            yield _world(
                f"{name}: its pods listen at the addresses of their machines",
                "leave hostNetwork and hostPort out",
            )


def _world(what: str, remedy: str) -> Finding:
    return Finding(
        "problem",
        f"{what}, so Ray's ports are open beyond Kubernetes' own network, and whoever reaches one "
        "may run code on the cluster",
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


def pod_token(config: Config) -> Iterator[Finding]:
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
            "authOptions: {mode: token}, by which KubeRay makes one and keeps it in a Secret",
        )
    elif mode == "disabled" or "disabled" in stated:
        yield Finding("problem", "token authentication is off", "authOptions: {mode: token}")
    elif mode == "token":
        if spec.get("rayVersion"):
            yield Finding("fine", "KubeRay makes a token and hands it to every pod")
        else:
            yield Finding(
                "problem", "with a token, KubeRay must know the version of Ray", "state rayVersion"
            )
    elif set(stated) == {"token"} and all(
        "valueFrom" in of.get("RAY_AUTH_TOKEN", {}) for of in each
    ):
        yield Finding("fine", "the token is handed to every pod from a Secret")
    else:
        yield Finding(
            "problem",
            "the pods are not given a token, and whoever reaches the head inside of Kubernetes may "
            "run code on it",
            "authOptions: {mode: token} (KubeRay 1.5.1 or newer)",
        )
