"""What the rules of a security group, in a file for Ray's launcher, let in besides SSH."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any

from pcsearch.cluster.file import Config
from pcsearch.cluster.finding import Finding

_INSIDE = [ip_network(of) for of in ("10.0.0.0/8", "fc00::/7")]
# As many addresses as in one of these are nobody's own.
_WIDE, _WIDE_IPV6 = IPv4Network("0.0.0.0/9"), IPv6Network("::/32")
_PROTOCOLS = {"6": "tcp", "17": "udp"}
_EVERY = "-1"
_MOST_NAMED = 3
_WHY = "whoever reaches a port of Ray may run code on the cluster"
_TUNNEL = "open port 22 alone; the dashboard is reached by `ray dashboard FILE`"


@dataclass(frozen=True)
class _Opened:
    """Ports of a protocol, the first and the last of them included."""

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


def rules(config: Config) -> Iterator[Finding]:
    """Rules for the same port are taken together: the world may be let in by parts."""
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
                f"see that all of these addresses are your own, or {_TUNNEL}",
            )
    yield from _unseen(config)


def _open_to_the_world(opened: dict[_Opened, list[Any]]) -> Iterator[_Opened]:
    """The most is let in where some rule's ports begin, so it is enough to look there."""
    for port, protocol in dict.fromkeys((of.first, of.protocol) for of in opened):
        there = [of for of in opened if of.holds(protocol, port)]
        if _is_world([network for of in there for network in opened[of]]):
            yield _Opened(protocol, port, min(of.last for of in there))


def _unseen(config: Config) -> Iterator[Finding]:
    """Those who are let in by a name for them that is kept in the account."""
    others = [rule for rule in _permissions(config) if not _ports_of(rule).is_ssh]
    if any(rule.get("PrefixListIds") for rule in others):
        yield Finding(
            "warning",
            "the security group lets in prefix lists, whose addresses cannot be seen here",
            "see that they hold no address beyond your own networks: "
            "aws ec2 get-managed-prefix-list-entries --prefix-list-id ID",
        )
    if any(rule.get("UserIdGroupPairs") for rule in others):
        yield Finding(
            "warning",
            "the security group lets in security groups, whose members cannot be seen here",
            "leave them out: the group's own members are let in by a rule that Ray adds",
        )


def _permissions(config: Config) -> list[dict[str, Any]]:
    group = config["provider"].get("security_group") or {}
    return group.get("IpPermissions") or []


def _ports_of(rule: dict[str, Any]) -> _Opened:
    """Without numbers, and for every protocol, AWS opens every port."""
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
