"""Who may reach the nodes of a file for Ray's launcher."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from pcsearch.cluster.file import Config, commands
from pcsearch.cluster.finding import Finding

_LISTENING = {"--dashboard-host": "dashboard", "--ray-client-server-host": "Ray Client server"}
_PUBLISHED = re.compile(r"(?:^|\s)(?:-p(?:[ =\d\[]|$)|-P(?:\s|$)|--publish(?:-all)?(?:[ =]|$))")
_GROUPS = {"SecurityGroupIds", "NetworkInterfaces"}
_INSIDE = [ip_network(of) for of in ("10.0.0.0/8", "fc00::/7")]
# As many addresses as in one of these are nobody's own.
_WIDE, _WIDE_IPV6 = IPv4Network("0.0.0.0/9"), IPv6Network("::/32")
_TUNNEL = "the dashboard is reached by `ray dashboard FILE`"


def ports(config: Config) -> Iterator[Finding]:
    found = [*_rules(config), *_lists(config), *_listening(config), *_published(config)]
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
    """Rules for the same ports are taken together: the world may be let in by parts."""
    opened: dict[tuple[str, str, str], list[Any]] = {}
    for rule in _permissions(config):
        ranges = [of.get("CidrIp") for of in rule.get("IpRanges") or []]
        ranges += [of.get("CidrIpv6") for of in rule.get("Ipv6Ranges") or []]
        opened.setdefault(_ports_of(rule), []).extend(ranges)
    for key, ranges in opened.items():
        _, first, last = key
        if _is_world(ranges) and not _is_ssh(key):
            every = {"None", "-1"} & {first, last}
            which = "every port" if every else f"ports {first} to {last}"
            yield Finding(
                "problem",
                f"the security group opens {which} to the world, and whoever reaches a port of "
                "Ray may run code on the cluster",
                f"open port 22 alone; {_TUNNEL}",
            )


def _lists(config: Config) -> Iterator[Finding]:
    """Prefix lists: names of ranges that are kept in the account."""
    for rule in _permissions(config):
        if rule.get("PrefixListIds") and not _is_ssh(_ports_of(rule)):
            yield Finding(
                "warning",
                "the security group lets in prefix lists, whose addresses cannot be seen here",
                "see that they hold no address beyond your own networks: "
                "aws ec2 get-managed-prefix-list-entries --prefix-list-id ID",
            )
            return


def _permissions(config: Config) -> list[dict[str, Any]]:
    group = config["provider"].get("security_group") or {}
    return group.get("IpPermissions") or []


def _ports_of(rule: dict[str, Any]) -> tuple[str, str, str]:
    """Protocol, first and last port, as they are written."""
    protocol = rule.get("IpProtocol", "tcp")
    return str(protocol), str(rule.get("FromPort")), str(rule.get("ToPort"))


def _is_ssh(ports: tuple[str, str, str]) -> bool:
    return ports in (("tcp", "22", "22"), ("6", "22", "22"))


def _is_world(ranges: list[Any]) -> bool:
    """Whether ranges hold, together, as many addresses as only strangers have."""
    networks = [network for text in ranges for network in _network(text)]
    old = collapse_addresses(of for of in networks if isinstance(of, IPv4Network))
    new = collapse_addresses(of for of in networks if isinstance(of, IPv6Network))
    return (
        sum(of.num_addresses for of in old) >= _WIDE.num_addresses
        or sum(of.num_addresses for of in new) >= _WIDE_IPV6.num_addresses
    )


def _network(text: Any) -> Iterator[IPv4Network | IPv6Network]:
    """The range that a text names, unless it is none, or one that is never reached from outside."""
    try:
        network = ip_network(str(text), strict=False)
    except ValueError:
        return
    inside = any(
        own.version == network.version and network.subnet_of(own)  # type: ignore[arg-type]
        for own in _INSIDE
    )
    if not inside:
        yield network


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
