"""Whether every node of a file for Ray's launcher can keep what trials write."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pcsearch.cluster.file import Config, commands
from pcsearch.cluster.finding import Finding

SHARED = re.compile(r"\bmount\b.*\b(nfs4?|efs|lustre|cifs|glusterfs)\b|gcsfuse|s3fs|blobfuse")
_INSTALLS = re.compile(r"\bpip3?\b.*\binstall\b.*\bpcsearch\b")
_REACHES_S3 = re.compile(r"\bboto3\b|pcsearch[^ ]*\[[a-z,]*aws")


def storage(config: Config, runs: str | None) -> Iterator[Finding]:
    if runs is not None and "://" in runs:
        yield Finding("fine", f"runs are kept at {runs}, which every node can reach")
        yield from _reached(config, runs)
    elif any(SHARED.search(line) for line in commands(config)):
        yield Finding("fine", "a shared folder is mounted on every node")
    elif config["provider"]["type"] == "local":
        yield Finding("warning", "whether the nodes share a folder cannot be seen here")
    elif _with_roles(config):
        yield Finding(
            "fine", "every node has a role, so runs can be kept on S3: --runs s3://BUCKET/runs"
        )
        yield from _reached(config, "runs on S3")
    else:
        yield Finding(
            "problem",
            "no folder is shared by the nodes, so trials cannot go on elsewhere",
            "mount one in setup_commands, or keep the runs on S3 and say so: --runs s3://BUCKET/runs",
        )


def _with_roles(config: Config) -> bool:
    types = config.get("available_node_types") or {}
    return bool(types) and all(_has_role(kind) for kind in types.values())


def _has_role(kind: dict[str, object]) -> bool:
    node = kind.get("node_config")
    return isinstance(node, dict) and "IamInstanceProfile" in node


def _reached(config: Config, runs: str) -> Iterator[Finding]:
    """What writing to S3 takes on each node: a library, and credentials."""
    lines = commands(config)
    if any(map(_INSTALLS.search, lines)) and not any(map(_REACHES_S3.search, lines)):
        yield Finding(
            "problem",
            f"boto3 is not installed on the nodes, which {runs} takes",
            "pip install 'boto3>=1.36' in setup_commands",
        )
    if config["provider"]["type"] != "aws":
        return
    types = config.get("available_node_types") or {}
    head = config.get("head_node_type")
    bare = [name for name, kind in types.items() if name != head and not _has_role(kind)]
    mounted = any(".aws" in str(there) for there in config.get("file_mounts") or {})
    if bare and not mounted:
        yield Finding(
            "problem",
            f"{', '.join(bare)}: no IamInstanceProfile, so no credentials for {runs}",
            "add one to the type's node_config, as cluster.yaml has it; Ray makes a role for the "
            "head alone",
        )
    elif head in types and not _has_role(types[head]) and len(bare) < len(types) - 1:
        yield Finding(
            "warning",
            "the workers have a role, which the one that Ray makes for the head may not hand out",
            "give the head an IamInstanceProfile with iam:PassRole on theirs, as in "
            "clusters/aws-account.yaml",
        )
