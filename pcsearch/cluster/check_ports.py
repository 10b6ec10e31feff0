"""Who may reach the nodes of a file for Ray's launcher."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from pcsearch.cluster.file import Config, commands
from pcsearch.cluster.finding import Finding

_LISTENING = {"--dashboard-host": "dashboard", "--ray-client-server-host": "Ray Client server"}
_PUBLISHED = re.compile(r"(?:^|\s)(-p|--publish)[ =]")
_GROUPS = {"SecurityGroupIds", "NetworkInterfaces"}
_INSIDE = [ipaddress.ip_network(of) for of in ("10.0.0.0/8", "fc00::/7")]
_WIDE = {4: 8, 6: 32}  # bits; as wide a network as this, or wider, is nobody's own
_TUNNEL = "the dashboard is reached by `ray dashboard FILE`"


def ports(config: Config) -> Iterator[Finding]:
    found = [*_rules(config), *_listening(config), *_published(config)]
    yield from found
    if not found:
        yield Finding("fine", "no port but SSH is opened by the file")
    types = config.get("available_node_types") or {}
    own = [name for name, kind in types.items() if _GROUPS & (kind.get("node_config") or {}).keys()]
    if own:
        yield Finding(
            "warning",
            f"{', '.join(own)}: security groups of your own, whose rules cannot be seen here",
            "let in SSH, and the group's own members, and nothing else",
        )


def _rules(config: Config) -> Iterator[Finding]:
    group = config["provider"].get("security_group") or {}
    for rule in group.get("IpPermissions") or []:
        ranges = [of.get("CidrIp") for of in rule.get("IpRanges") or []]
        ranges += [of.get("CidrIpv6") for of in rule.get("Ipv6Ranges") or []]
        first, last = rule.get("FromPort"), rule.get("ToPort")
        ssh = (first, last) == (22, 22) and rule.get("IpProtocol", "tcp") in ("tcp", "6")
        if any(map(_is_world, ranges)) and not ssh:
            every = None in (first, last) or -1 in (first, last)
            which = "every port" if every else f"ports {first} to {last}"
            yield Finding(
                "problem",
                f"the security group opens {which} to the world, and whoever reaches a port of "
                "Ray may run code on the cluster",
                f"open port 22 alone; {_TUNNEL}",
            )


def _is_world(text: Any) -> bool:
    try:
        network = ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        return False
    inside = any(
        own.version == network.version and network.subnet_of(own)  # type: ignore[arg-type]
        for own in _INSIDE
    )
    return network.prefixlen <= _WIDE[network.version] and not inside


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
