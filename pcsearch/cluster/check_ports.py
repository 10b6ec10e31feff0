"""Who may reach the nodes of a file for Ray's launcher."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from pcsearch.cluster.check_rules import rules
from pcsearch.cluster.file import Config, commands
from pcsearch.cluster.finding import Finding

_LISTENING = {"--dashboard-host": "dashboard", "--ray-client-server-host": "Ray Client server"}
_PUBLISHED = re.compile(r"(?:^|\s)(?:-p(?:[ =\d\[]|$)|-P(?:\s|$)|--publish(?:-all)?(?:[ =]|$))")
_GROUPS = {"SecurityGroupIds", "NetworkInterfaces"}
_TUNNEL = "the dashboard is reached by `ray dashboard FILE`"


def ports(config: Config) -> Iterator[Finding]:
    found = [*rules(config), *_public(config), *_listening(config), *_published(config)]
    yield from found
    if config["provider"]["type"] == "gcp":
        yield Finding(
            "warning",
            "Google Cloud keeps its firewall rules apart from the file: they were not seen",
            "see that they let in SSH, and the network's own machines, and nothing else: "
            "gcloud compute firewall-rules list",
        )
    elif not found:
        yield Finding("fine", "no port but SSH is opened by the file")
    types = config.get("available_node_types") or {}
    own = [name for name, kind in types.items() if _GROUPS & (kind.get("node_config") or {}).keys()]
    if own:
        yield Finding(
            "warning",
            f"{', '.join(own)}: security groups of your own, whose rules cannot be seen here",
            "let in SSH, and the group's own members, and nothing else",
        )


def _public(config: Config) -> Iterator[Finding]:
    """Machines that are there already, at addresses that the world can reach."""
    provider = config["provider"]
    workers = provider.get("worker_ips")
    stated = [provider.get("head_ip"), *(workers if isinstance(workers, list) else [])]
    public = [str(of) for of in stated if provider["type"] == "local" and _is_public(of)]
    if public:
        yield Finding(
            "problem",
            f"head_ip and worker_ips: {', '.join(public)} can be reached by the world, and Ray "
            "listens on every interface there",
            "name the addresses that the machines have for each other in a private network",
        )


def _is_public(address: Any) -> bool:
    try:
        return ip_address(str(address)).is_global
    except ValueError:
        return False  # a name


def _listening(config: Config) -> Iterator[Finding]:
    starts = commands(config, "head_start_ray_commands", "worker_start_ray_commands")
    for option, what in _LISTENING.items():
        everywhere = re.compile(rf"{option}[= ]['\"]?(0\.0\.0\.0|::|\[::\])")
        if any(map(everywhere.search, starts)):
            yield Finding(
                "problem",
                f"the {what} listens on every interface, and it takes jobs",
                f"{option}=127.0.0.1; {_TUNNEL}",
            )


def _published(config: Config) -> Iterator[Finding]:
    docker = config.get("docker") or {}
    for key in ("run_options", "head_run_options", "worker_run_options"):
        for option in docker.get(key) or []:
            if _PUBLISHED.search(str(option)):
                yield Finding("problem", f"docker publishes a port: {option}", "take it out")
