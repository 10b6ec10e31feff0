"""What a campaign in one of KubeRay's pods can know of the cluster that it runs on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from pcsearch.cluster.kuberay import derived

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def own_config() -> dict[str, Any]:
    """What the autoscaler of this pod's cluster goes by; empty outside of KubeRay's pods.

    It runs beside the head and has it from Kubernetes; the head's pod may ask for it, too.
    """
    name = os.environ.get("RAY_CLUSTER_NAME")
    if not name or "KUBERNETES_SERVICE_HOST" not in os.environ:
        return {}
    import requests

    with contextlib.suppress(requests.RequestException, OSError, LookupError, ValueError):
        from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

        namespace = os.environ.get("RAY_CLUSTER_NAMESPACE") or _NAMESPACE.read_text().strip()
        cluster = KubernetesHttpApiClient(namespace).get(f"rayclusters/{name}")
        if cluster["spec"].get("enableInTreeAutoscaling"):
            return derived(cluster["metadata"], cluster["spec"])
    return {}
