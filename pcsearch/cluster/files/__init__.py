"""Cluster files of Ray's launcher and of KubeRay: read safely, and checked before they cost."""
