"""Check that every node has what a recipe reads, and can keep what trials write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from posixpath import normpath

from pcsearch.cluster.files.cluster_file import (
    ClusterConfig,
    Finding,
    at_home,
    commands,
    commands_by_role,
    has_workers,
    on_kubernetes,
)
from pcsearch.cluster.files.kuberay import filled_folders
from pcsearch.io import home_folder
from pcsearch.recipe.schema import Recipe

_FILLS = re.compile(
    r"\baws s3 (sync|cp)\b|\bgsutil\b|\bgcloud storage (rsync|cp)\b|\brclone\b|\bmountpoint\b"
)


def data(config: ClusterConfig, recipes: Sequence[Recipe]) -> Iterator[Finding]:
    pods = on_kubernetes(config)
    folders = filled_folders(config["spec"]) if pods else _folders(config)
    if not folders:
        return  # the file does not show how images reach the nodes
    for recipe in recipes:
        for key, stated in _read_by(recipe):
            path = stated if pods else _there(config, stated)
            if not any(path.is_relative_to(folder) for folder in folders):
                yield Finding(
                    "warning" if pods else "problem",  # a pod's image may hold them, too
                    f"{recipe.name} reads {key} {path}, which is not in a folder that every node "
                    f"has: {', '.join(folders)}",
                    f"{key}={folders[0]}, if it is there on the nodes",
                )


def _read_by(recipe: Recipe) -> Iterator[tuple[str, PurePosixPath]]:
    from pcsearch.data.catalog import DATASETS

    stated = {"images": recipe.data.images, "manifest": recipe.data.manifest}
    if any(DATASETS[name].folder for name in recipe.datasets):
        yield "data.root", PurePosixPath(recipe.data.root)
    for name, path in stated.items():
        if name in recipe.datasets and path is not None:
            yield f"data.{name}", PurePosixPath(path)
    weights = {recipe.weights_for(backbone) for backbone in recipe.backbones}
    for file in sorted(weights - {"imagenet", "none"}):
        yield "weights", PurePosixPath(file)


def _folders(config: ClusterConfig) -> list[str]:
    """Folders that commands mount or fill on every node, and those copied to all nodes."""
    found: list[str] = []
    for line in commands(config, "initialization_commands", "setup_commands"):
        if SHARED_FILE_SYSTEMS.search(line) or _FILLS.search(line):
            words = [word.strip("'\"") for word in line.split()]
            found += [word for word in words if word.startswith(("/", "~/"))][-1:]
    found += [str(there) for there in config.get("file_mounts") or {} if _is_folder(str(there))]
    return [at_home(config, folder) for folder in found]


def _there(config: ClusterConfig, path: PurePosixPath) -> PurePosixPath:
    """The path on a node: `submit` replaces the home folder here by the one there."""
    here = home_folder()
    if not path.is_relative_to(here):
        return path
    return PurePosixPath(at_home(config, f"~/{path.relative_to(here)}"))


def _is_folder(there: str) -> bool:
    name = PurePosixPath(there)
    return not name.suffix and name.parent.name not in (".ray", ".ssh", ".aws")


SHARED_FILE_SYSTEMS = re.compile(
    r"\bmount\b.*\b(nfs4?|efs|lustre|cifs|glusterfs)\b|gcsfuse|s3fs|blobfuse"
)
_FSTAB = re.compile(r"\s(/\S+)\s+(?:nfs4?|efs|lustre|cifs|glusterfs)\s+\S.*/etc/fstab")
_ASSERTED = re.compile(r"^\s*mountpoint\s+(?:-q\s+)?(/\S+)\s*$")
_NEXT_COMMAND = re.compile(r"&&|\|\|?|;|\n")
_PACKAGES = re.compile(r"\b(?:apt|apt-get|yum|dnf|pip3?|snap)\b")
_NO_FOLDER = ("/dev/", "/bin/", "/sbin/", "/usr/")
_MOUNTED = (
    "a folder that setup_commands mount (if the image mounts it: `mountpoint -q /FOLDER` there)"
)
_UNSEEN = "the file does not show whether the nodes share a folder"
_ASSERT = "`mountpoint -q /FOLDER` in setup_commands: a node without it is not used"
_INSTALLS = re.compile(r"\bpip3?\b.*\binstall\b.*\bpcsearch\b")
_REACHES_S3 = re.compile(r"\bboto3\b|pcsearch[^ ]*\[[a-z,]*aws")


def storage(config: ClusterConfig, runs: str | None) -> Iterator[Finding]:
    if runs is not None and "://" in runs:
        yield Finding("fine", f"runs are kept at {runs}, which every node can reach")
        yield from _reached(config, runs)
    elif runs is not None:
        yield _in_a_folder(config, runs)
    elif _shared_folders(config):
        yield Finding("fine", "a shared folder is mounted on every node")
    elif asserted := _asserted_folders(config):
        where = ", ".join(sorted(asserted))
        yield Finding("fine", f"only nodes that mount {where} are used")
    elif config["provider"]["type"] == "local":
        yield Finding("warning", _UNSEEN, _ASSERT)
    elif _with_roles(config):
        yield Finding(
            "fine", "every node has a role, so runs can be kept on S3: --runs s3://BUCKET/runs"
        )
        yield from _reached(config, "runs on S3")
    else:
        yield Finding(
            "problem",
            "the nodes share no folder, so trials cannot continue on another node",
            "mount one in setup_commands, or keep the runs on S3: --runs s3://BUCKET/runs",
        )


def _in_a_folder(config: ClusterConfig, runs: str) -> Finding:
    """Whether all nodes share the folder for runs."""
    path = PurePosixPath(normpath(at_home(config, runs)))
    if not path.is_absolute():
        return Finding(
            "problem",
            f"--runs is {runs}, a relative path, which is a different folder on each machine",
            "--runs s3://BUCKET/runs, or the absolute path of a folder that all nodes share",
        )
    if not has_workers(config):
        return Finding("fine", f"runs are kept at {runs}, and only the head runs trials")
    folders = _shared_folders(config) | _asserted_folders(config)
    if any(folder and path.is_relative_to(folder) for folder in folders):
        return Finding("fine", f"runs are kept at {runs}, in a folder that every node mounts")
    if config["provider"]["type"] == "local":
        return Finding("warning", f"{_UNSEEN} that holds {runs}", _ASSERT)
    if "" in folders:
        return Finding(
            "warning",
            f"every node mounts a folder, but the file does not show whether {runs} is in it",
            "write its path at the end of the mount command",
        )
    known = sorted(folders)
    below = f"a folder below {' or '.join(known)}" if known else _MOUNTED
    return Finding(
        "problem",
        f"runs at {runs} would be in a separate folder on each node: "
        + (f"the nodes share {', '.join(known)}" if known else "no shared folder is mounted")
        + ", so trials cannot continue on another node",
        f"--runs s3://BUCKET/runs, or {below}",
    )


def outlives_machines(config: ClusterConfig, runs: str) -> bool:
    """Whether runs remain when the machines of a cluster are ended."""
    if "://" in runs or config["provider"]["type"] == "local":
        return True
    path = PurePosixPath(normpath(at_home(config, runs)))
    folders = _shared_folders(config) | _asserted_folders(config)
    return any(not folder or path.is_relative_to(folder) for folder in folders)


def _shared_folders(config: ClusterConfig) -> set[str]:
    """Where every node mounts a network file system; "" for a mount of an unknown folder."""
    found = [
        {at_home(config, folder) for line in lines for folder in _mounts(line)}
        for lines in commands_by_role(config)
    ]
    return set.intersection(*found)


def _mounts(line: str) -> Iterator[str]:
    yield from _FSTAB.findall(line)
    for part in _NEXT_COMMAND.split(line):
        if SHARED_FILE_SYSTEMS.search(part) and not _PACKAGES.search(part):
            words = [word.strip("'\"") for word in part.split()]
            paths = [word for word in words if word.startswith(("/", "~/", "$HOME/", "${HOME}/"))]
            yield next((of for of in reversed(paths) if not of.startswith(_NO_FOLDER)), "")


def _asserted_folders(config: ClusterConfig) -> set[str]:
    """Folders that a node's setup requires, however they are mounted."""
    found = [
        {match[1] for line in lines if (match := _ASSERTED.match(line))}
        for lines in commands_by_role(config)
    ]
    return set.intersection(*found)


def _with_roles(config: ClusterConfig) -> bool:
    types = config.get("available_node_types") or {}
    return bool(types) and all(_has_role(kind) for kind in types.values())


def _has_role(kind: dict[str, object]) -> bool:
    node = kind.get("node_config")
    return isinstance(node, dict) and "IamInstanceProfile" in node


def _lacks_boto3(lines: list[str]) -> bool:
    """Whether commands install pcsearch on a node without its library for S3."""
    return any(map(_INSTALLS.search, lines)) and not any(map(_REACHES_S3.search, lines))


def _reached(config: ClusterConfig, runs: str) -> Iterator[Finding]:
    """Problems with what each node needs to write to S3: a library and credentials."""
    if any(map(_lacks_boto3, commands_by_role(config))):
        yield Finding(
            "problem",
            f"boto3 is not installed on the nodes, but {runs} needs it",
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
            "add one to the type's node_config, as in cluster.yaml; Ray makes a role for the head "
            "only",
        )
    elif head in types and not _has_role(types[head]) and len(bare) < len(types) - 1:
        yield Finding(
            "warning",
            "the workers have a role, but Ray's own role for the head may not assign it",
            "give the head an IamInstanceProfile with iam:PassRole on the workers' role, as in "
            "clusters/aws-account.yaml",
        )
