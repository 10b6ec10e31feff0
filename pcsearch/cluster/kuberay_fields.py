"""The keys that KubeRay 1.7 knows, of its API `ray.io/v1`, as far as a campaign's manifest goes.

Nothing that could be installed here holds its schema, hence these lists.
"""

from __future__ import annotations


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
