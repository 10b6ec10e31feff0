"""Who can reach the nodes of a file for Ray's launcher: ports, security groups, the token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Any

from pcsearch.cluster.files.cluster_file import (
    ClusterConfig,
    Finding,
    commands,
    commands_by_role,
    texts,
)
from pcsearch.cluster.session.security import others_read
from pcsearch.io import expanded

_INSIDE = [ip_network(of) for of in ("10.0.0.0/8", "fc00::/7")]
# Ranges with at least as many addresses count as open to the world.
_WIDE, _WIDE_IPV6 = IPv4Network("0.0.0.0/9"), IPv6Network("::/32")
_PROTOCOLS = {"6": "tcp", "17": "udp"}
_EVERY = "-1"
_MOST_NAMED = 3
_WHY = "anybody who reaches a port of Ray can run code on the cluster"
_TUNNEL = "open port 22 alone; `ray dashboard FILE` leads to the dashboard"


@dataclass(frozen=True)
class _Opened:
    """Ports of a protocol, from the first to the last, both included."""

    protocol: str
    first: int
    last: int

    @property
    def is_ssh(self) -> bool:
        return (self.protocol, self.first, self.last) == ("tcp", 22, 22)

    def holds(self, protocol: str, port: int) -> bool:
        return self.protocol in (protocol, _EVERY) and self.first <= port <= self.last

    def __str__(self) -> str:
        if (self.first, self.last) == (0, 65535):
            return "every port"
        return f"ports {self.first} to {self.last}"


def rules(config: ClusterConfig) -> Iterator[Finding]:
    """Findings on the security group. Rules for one port count together: parts may add up to the
    world."""
    opened: dict[_Opened, list[Any]] = {}
    for rule in _permissions(config):
        ranges = [of.get("CidrIp") for of in rule.get("IpRanges") or []]
        ranges += [of.get("CidrIpv6") for of in rule.get("Ipv6Ranges") or []]
        if not _ports_of(rule).is_ssh:
            opened.setdefault(_ports_of(rule), []).extend(of for of in ranges if of is not None)
    to_all = list(_open_to_the_world(opened))
    for ports in to_all:
        yield Finding(
            "problem", f"the security group opens {ports} to the world, and {_WHY}", _TUNNEL
        )
    for ports, networks in opened.items():
        if networks and ports not in to_all:
            yield Finding(
                "warning",
                f"the security group opens {ports} to {_named(networks)}, and {_WHY}",
                f"check that all of these addresses are your own, or {_TUNNEL}",
            )
    yield from _unseen(config)


def _open_to_the_world(opened: dict[_Opened, list[Any]]) -> Iterator[_Opened]:
    """Ports open to the world. Checks only first ports of rules, where the most rules overlap."""
    for port, protocol in dict.fromkeys((of.first, of.protocol) for of in opened):
        there = [of for of in opened if of.holds(protocol, port)]
        if _is_world([network for of in there for network in opened[of]]):
            yield _Opened(protocol, port, min(of.last for of in there))


def _unseen(config: ClusterConfig) -> Iterator[Finding]:
    """Warn of prefix lists and groups, whose addresses are in the account and not in the file."""
    others = [rule for rule in _permissions(config) if not _ports_of(rule).is_ssh]
    if any(rule.get("PrefixListIds") for rule in others):
        yield Finding(
            "warning",
            "the security group lets in prefix lists, whose addresses are not in the file",
            "check that they hold only addresses of your own networks: "
            "aws ec2 get-managed-prefix-list-entries --prefix-list-id ID",
        )
    if any(rule.get("UserIdGroupPairs") for rule in others):
        yield Finding(
            "warning",
            "the security group lets in security groups, whose members are not in the file",
            "remove them: Ray adds a rule for the group's own members",
        )


def _permissions(config: ClusterConfig) -> list[dict[str, Any]]:
    group = config["provider"].get("security_group") or {}
    return group.get("IpPermissions") or []


def _ports_of(rule: dict[str, Any]) -> _Opened:
    """The ports of a rule. Without numbers, and for every protocol, AWS opens every port."""
    stated = str(rule.get("IpProtocol", "tcp")).lower()
    protocol = _PROTOCOLS.get(stated, stated)
    try:
        first, last = int(rule["FromPort"]), int(rule["ToPort"])
    except (KeyError, TypeError, ValueError):
        first, last = -1, -1
    if protocol == _EVERY or -1 in (first, last):
        first, last = 0, 65535
    return _Opened(protocol, first, last)


def _named(networks: list[Any]) -> str:
    names = list(dict.fromkeys(map(str, networks)))
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more networks" if more > 0 else "")


def _is_world(ranges: list[Any]) -> bool:
    """Whether the ranges together hold too many addresses to be the user's own."""
    networks = [network for text in ranges for network in _network(text)]
    old = collapse_addresses(of for of in networks if isinstance(of, IPv4Network))
    new = collapse_addresses(of for of in networks if isinstance(of, IPv6Network))
    return (
        sum(of.num_addresses for of in old) >= _WIDE.num_addresses
        or sum(of.num_addresses for of in new) >= _WIDE_IPV6.num_addresses
    )


def _network(text: Any) -> Iterator[IPv4Network | IPv6Network]:
    """The range in a text; nothing for other texts and for private ranges."""
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


_LISTENING = {"--dashboard-host": "dashboard", "--ray-client-server-host": "Ray Client server"}
_PUBLISHED = re.compile(r"(?:^|\s)(?:-p(?:[ =\d\[]|$)|-P(?:\s|$)|--publish(?:-all)?(?:[ =]|$))")
_GROUPS = {"SecurityGroupIds", "NetworkInterfaces"}
_DASHBOARD = "`ray dashboard FILE` leads to the dashboard"


def ports(config: ClusterConfig) -> Iterator[Finding]:
    found = [*rules(config), *_public(config), *_listening(config), *_published(config)]
    yield from found
    if config["provider"]["type"] == "gcp":
        yield Finding(
            "warning",
            "Google Cloud's firewall rules are not in the file, so they were not checked",
            "check that they let in only SSH and the network's own machines: "
            "gcloud compute firewall-rules list",
        )
    elif not found:
        yield Finding("fine", "the file opens no port except SSH")
    types = config.get("available_node_types") or {}
    own = [name for name, kind in types.items() if _GROUPS & (kind.get("node_config") or {}).keys()]
    if own:
        yield Finding(
            "warning",
            f"{', '.join(own)}: security groups of your own, whose rules are not in the file",
            "let in only SSH and the group's own members",
        )


def _public(config: ClusterConfig) -> Iterator[Finding]:
    """Existing machines at public addresses."""
    provider = config["provider"]
    workers = provider.get("worker_ips")
    stated = [provider.get("head_ip"), *(workers if isinstance(workers, list) else [])]
    public = [str(of) for of in stated if provider["type"] == "local" and _is_public(of)]
    if public:
        yield Finding(
            "problem",
            f"the world can reach {', '.join(public)} (head_ip, worker_ips), and Ray listens on "
            "every interface there",
            "name the machines' addresses in a private network",
        )


def _is_public(address: Any) -> bool:
    try:
        return ip_address(str(address)).is_global
    except ValueError:
        return False  # a name


def _listening(config: ClusterConfig) -> Iterator[Finding]:
    starts = commands(config, "head_start_ray_commands", "worker_start_ray_commands")
    for option, what in _LISTENING.items():
        everywhere = re.compile(rf"{option}[= ]['\"]?(0\.0\.0\.0|::|\[::\])")
        if any(map(everywhere.search, starts)):
            yield Finding(
                "problem",
                f"the {what} listens on every interface, and it accepts jobs",
                f"{option}=127.0.0.1; {_DASHBOARD}",
            )


def _published(config: ClusterConfig) -> Iterator[Finding]:
    docker = config.get("docker") or {}
    for key in ("run_options", "head_run_options", "worker_run_options"):
        for option in docker.get(key) or []:
            if _PUBLISHED.search(str(option)):
                yield Finding("problem", f"docker publishes a port: {option}", "remove it")


_OFF = re.compile(r"RAY_AUTH_MODE=['\"]?disabled")
_USED = re.compile(r"RAY_AUTH_MODE=['\"]?token\b")
_FILE = re.compile(r"RAY_AUTH_TOKEN_PATH=")
_WRITTEN = re.compile(r"RAY_AUTH_TOKEN=['\"]?[^\s$'\"]")
_STARTS = re.compile(r"\b(?:ray|ray\.scripts\.scripts) start\b")
_KEPT = re.compile(r"\.(?:bashrc|bash_profile|profile)\b|/etc/(?:environment|profile)")
"""Files through which a command sets variables for later shells."""


def token(config: ClusterConfig) -> Iterator[Finding]:
    """Whether the file gives the nodes a token, and whether this machine has it."""
    found = list(token_problems(config))
    sources = _sources(config)
    if not found and sources and not expanded(sources[0]).is_file():
        found.append(
            Finding(
                "problem",
                f"there is no token at {sources[0]}",
                "(umask 077; ray get-auth-token --generate)",
            )
        )
    elif not found and sources and others_read(expanded(sources[0]).resolve()):
        found.append(
            Finding(
                "warning",
                f"other users of this machine can read {sources[0]}",
                f"chmod 600 {sources[0]}",
            )
        )
    yield from found or [Finding("fine", "every node gets the token")]


def token_problems(config: ClusterConfig) -> Iterator[Finding]:
    """A problem with the token in the file itself; at most one finding."""
    stated = [text for _, text in texts(config)]
    environments = list(_environments(config))
    if any(map(_OFF.search, stated)):
        yield Finding("problem", "token authentication is off", "RAY_AUTH_MODE=token")
    elif any(map(_WRITTEN.search, stated)):
        yield Finding("problem", "a token is written in the file", "copy it by file_mounts")
    elif not _sources(config) and not all(any(map(_FILE.search, of)) for of in environments):
        yield Finding(
            "problem",
            "the nodes do not get the token, so no worker can join",
            "file_mounts: {~/.ray/auth_token: ~/.ray/auth_token}",
        )
    elif not all(any(map(_USED.search, of)) for of in environments):
        yield Finding(
            "problem",
            "the nodes have the token and do not use it, so no worker can join",
            "RAY_AUTH_MODE=token before ray start, on the head and on the workers",
        )


def _sources(config: ClusterConfig) -> list[str]:
    """Files of this machine that every node gets as its token."""
    mounts = config.get("file_mounts") or {}
    return [str(of) for there, of in mounts.items() if str(there).endswith(".ray/auth_token")]


def _environments(config: ClusterConfig) -> Iterator[list[str]]:
    """The lines that set Ray's environment, on the head, and on a worker if there are any.

    Each command has its own shell. So the command that starts Ray must set a variable, or a file
    that every shell reads, or the container.
    """
    docker = config.get("docker") or {}
    for role, lines in zip(("head", "worker"), commands_by_role(config), strict=False):
        options = (docker.get(key) or [] for key in ("run_options", f"{role}_run_options"))
        yield [
            *(line for line in lines if _STARTS.search(line) or _KEPT.search(line)),
            *(str(option) for of in options if isinstance(of, list) for option in of),
        ]
