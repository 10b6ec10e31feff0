"""Read a cluster file for Ray's launcher or KubeRay safely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pcsearch.cluster.files.kuberay import is_kuberay, launcher_form
from pcsearch.cluster.session.capacity import Node
from pcsearch.errors import UserError
from pcsearch.io import read_regular

Severity = Literal["fine", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check of a cluster file; `remedy` says what to do unless it is fine."""

    level: Severity
    text: str
    remedy: str = ""


ClusterConfig = dict[str, Any]
_LARGEST_BYTES = 1_000_000
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LONGEST_NUMBER = 40
_KUBERAY = "kuberay"
"""The provider's type for a KubeRay manifest."""

COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
_ON_HEAD = tuple(key for key in COMMANDS if not key.startswith("worker_"))
_ON_WORKERS = tuple(key for key in COMMANDS if not key.startswith("head_"))


def load_cluster_file(path: Path) -> ClusterConfig:
    """The file's content; a KubeRay manifest is converted by `launcher_form`.

    Raises:
        UserError: the file cannot be read, is not YAML, or is not a cluster file.
    """
    documents = _documents(path)
    if is_kuberay(documents):
        try:
            return launcher_form(documents)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error.__cause__
    if len(documents) > 1:
        raise UserError(f"{path}: holds {len(documents)} documents, but a cluster file has one")
    config = documents[0] if documents else None
    if not isinstance(config, dict):
        raise UserError(f"{path}: not a cluster file: it must have keys such as provider")
    if not isinstance(config.get("provider"), dict) or "type" not in config["provider"]:
        raise UserError(
            f"{path}: not a cluster file: it has no provider.type, such as aws; start from the "
            "repository's cluster.yaml"
        )
    if config["provider"]["type"] == _KUBERAY:
        raise UserError(f"{path}: not a cluster file: give KubeRay's manifest, with a RayCluster")
    for problem in _misshapen(config):
        raise UserError(f"{path}: {problem}")
    return config


def load_launcher_file(path: Path) -> ClusterConfig:
    """The content of a file for Ray's launcher.

    Raises:
        UserError: as for `load_cluster_file`, or the file is a KubeRay manifest.
    """
    config = load_cluster_file(path)
    if on_kubernetes(config):
        raise UserError(
            f"{path}: a manifest for KubeRay: kubectl apply -f starts its cluster, and kubectl "
            "delete -f ends it; for other commands, start `kubectl port-forward "
            f"service/{config['cluster_name']}-head-svc 8265` and name http://127.0.0.1:8265"
        )
    return config


def on_kubernetes(config: ClusterConfig) -> bool:
    """Whether the file is a manifest for KubeRay."""
    return bool(config["provider"]["type"] == _KUBERAY)


def _documents(path: Path) -> list[Any]:
    import yaml

    from pcsearch.recipe.yaml_core import LimitError

    try:
        return list(_loaded(read_regular(path, _LARGEST_BYTES).decode()))
    except LimitError as error:
        raise UserError(f"{path}:{error.line}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a YAML text") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise UserError(f"{path}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {error}") from None
    except (ValueError, TypeError, AttributeError, OverflowError, KeyError) as error:
        # PyYAML's constructors raise these for invalid dates and numbers
        raise UserError(f"{path}: holds a value that does not fit its form or tag") from error


def _loaded(text: str) -> Iterator[Any]:
    """The documents of a file, within limits."""
    from pcsearch.recipe.yaml_core import LimitedLoader

    class Loader(LimitedLoader):
        what = "a cluster file"
        depth_limit, nodes_limit = 100, 50_000

    loader = Loader(text)
    try:
        while loader.check_node() and (root := loader.get_node()) is not None:
            loader.check_aliases(root)
            _check_numbers(root)
            document = loader.construct_document(root)
            if document is not None:
                yield document
    finally:
        loader.dispose()


def _check_numbers(root: Any) -> None:
    """Limit numbers: Python's parser takes quadratic time and refuses 4,300 digits."""
    import yaml

    from pcsearch.recipe.yaml_core import LimitError

    nodes: list[Any] = [root]
    seen: set[int] = set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
                line = node.start_mark.line + 1
                raise LimitError(f"a number has {len(node.value):,} characters", line)
        elif isinstance(node, yaml.MappingNode):
            nodes += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


def _misshapen(config: ClusterConfig) -> Iterator[str]:
    """Wrong types that would break the further checks."""
    for key in ("available_node_types", "file_mounts", "docker", "auth"):
        if not isinstance(config.get(key) or {}, dict):
            yield f"{key} must be a mapping"
    for key in COMMANDS:
        if not isinstance(config.get(key) or [], list):
            yield f"{key} must be a list"
    if not _count(config.get("max_workers", 0)):
        yield "max_workers must be a whole number"
    if not isinstance(config.get("head_node_type", ""), str):
        yield "head_node_type must be a name"
    group = config["provider"].get("security_group") or {}
    if not isinstance(group, dict) or not _mappings(group.get("IpPermissions") or []):
        yield "provider.security_group.IpPermissions must be a list of mappings"
    elif not all(
        _mappings(r.get(k) or []) for r in group.get("IpPermissions") or [] for k in _RANGES
    ):
        yield "provider.security_group.IpPermissions: ranges must be lists of mappings"
    for name, kind in (config.get("available_node_types") or {}).items():
        here = f"available_node_types.{name}"
        if not isinstance(kind, dict) or not isinstance(kind.get("node_config") or {}, dict):
            yield f"{here} and its node_config must be mappings"
        elif not all(_count(kind.get(key, 0)) for key in ("min_workers", "max_workers")):
            yield f"{here}: min_workers and max_workers must be whole numbers"
        elif not _amounts(kind.get("resources") or {}):
            yield f"{here}.resources must be numbers of 0 or more by name"


_RANGES = ("IpRanges", "Ipv6Ranges")


def _mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**6


def _amounts(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(item, int | float) and not isinstance(item, bool) and 0 <= item <= 10**9
        for key, item in value.items()
        if key in ("CPU", "GPU")
    )


def worker_types(config: ClusterConfig) -> dict[str, dict[str, Any]]:
    """The node types without the head's."""
    types = config.get("available_node_types") or {}
    return {name: kind for name, kind in types.items() if name != config.get("head_node_type")}


def node_of(kind: dict[str, Any]) -> Node:
    """CPUs and GPUs in the file for a node type."""
    resources = kind.get("resources") or {}
    return Node(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))


def unstated_types(config: ClusterConfig) -> dict[str, dict[str, Any]]:
    """The node types whose resources Ray asks from the provider: AWS types without CPUs or GPUs.

    Types of other providers must state both.
    """
    types = config.get("available_node_types") or {}
    asks = config["provider"]["type"] == "aws"
    return {
        name: kind
        for name, kind in types.items()
        if asks and not {"CPU", "GPU"} <= {*(kind.get("resources") or {})}
    }


def commands(config: ClusterConfig, *keys: str) -> list[str]:
    """The shell commands under the keys; without keys, all of them."""
    lists = (config.get(key) or [] for key in keys or COMMANDS)
    return [str(command) for commands in lists for command in commands]


def has_workers(config: ClusterConfig) -> bool:
    """Whether the cluster may have nodes besides the head."""
    return bool(config.get("max_workers", 1) != 0)


def commands_by_role(config: ClusterConfig) -> list[list[str]]:
    """The shell commands of the head, and those of a worker, if there may be workers.

    What every node needs must be in both lists.
    """
    roles = (_ON_HEAD, _ON_WORKERS) if has_workers(config) else (_ON_HEAD,)
    return [commands(config, *keys) for keys in roles]


def at_home(config: ClusterConfig, path: str) -> str:
    """A path on the nodes, with a leading `~` or `$HOME` replaced by their home folder."""
    user = str((config.get("auth") or {}).get("ssh_user", "ubuntu"))
    home = "/root" if user == "root" else f"/home/{user}"
    first, _, rest = path.partition("/")
    return f"{home}/{rest}".rstrip("/") if first in ("~", "$HOME", "${HOME}") else path


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in the file, after the path of its key."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, f"{path}[{index}]")
