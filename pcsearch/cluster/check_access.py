"""Who may reach the nodes of a file for Ray's launcher."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pcsearch.cluster.file import Config, commands, texts
from pcsearch.cluster.finding import Finding

_WORLD = ("0.0.0.0/0", "::/0")
_LISTENING = {"--dashboard-host": "dashboard", "--ray-client-server-host": "Ray Client server"}
_PUBLISHED = re.compile(r"(?:^|\s)(-p|--publish)[ =]")


def ports(config: Config) -> Iterator[Finding]:
    opened = False
    group = config["provider"].get("security_group") or {}
    for rule in group.get("IpPermissions") or []:
        ranges = [of.get("CidrIp") for of in rule.get("IpRanges") or []]
        ranges += [of.get("CidrIpv6") for of in rule.get("Ipv6Ranges") or []]
        first, last = rule.get("FromPort"), rule.get("ToPort")
        tcp = rule.get("IpProtocol", "tcp") in ("tcp", "6")
        if any(of in _WORLD for of in ranges) and not ((first, last) == (22, 22) and tcp):
            opened = True
            every = None in (first, last) or -1 in (first, last)
            which = "every port" if every else f"ports {first} to {last}"
            yield Finding(
                "problem",
                f"the security group opens {which} to the world, and whoever reaches a port of "
                "Ray may run code on the cluster",
                "open port 22 alone; the dashboard is reached by `ray dashboard FILE`",
            )
    starts = commands(config, "head_start_ray_commands", "worker_start_ray_commands")
    for option, what in _LISTENING.items():
        if any(re.search(rf"{option}[= ]['\"]?(0\.0\.0\.0|::|\[::\])", line) for line in starts):
            opened = True
            yield Finding(
                "problem",
                f"the {what} listens on every interface, and it takes jobs",
                f"{option}=127.0.0.1; `ray dashboard FILE` makes a tunnel",
            )
    docker = config.get("docker") or {}
    options = [str(o) for key in ("run_options", "head_run_options", "worker_run_options")
               for o in docker.get(key) or []]  # fmt: skip
    for option in options:
        if _PUBLISHED.search(option):
            opened = True
            yield Finding("problem", f"docker publishes a port: {option}", "take it out")
    if not opened:
        yield Finding("fine", "no port but SSH is opened by the file")


def token(config: Config) -> Iterator[Finding]:
    lines = commands(config)
    if any(re.search(r"RAY_AUTH_MODE=['\"]?disabled", line) for line in lines):
        yield Finding("problem", "token authentication is off", "RAY_AUTH_MODE=token")
        return
    if any(re.search(r"RAY_AUTH_TOKEN=['\"]?[^\s$'\"]", text) for _, text in texts(config)):
        yield Finding("problem", "a token is written in the file", "hand it over by file_mounts")
        return
    mounts = config.get("file_mounts") or {}
    sources = [here for there, here in mounts.items() if str(there).endswith(".ray/auth_token")]
    if not sources and not any("RAY_AUTH_TOKEN_PATH=" in line for line in lines):
        yield Finding(
            "problem",
            "the nodes are not given the token, so no worker will be able to join",
            "file_mounts: {~/.ray/auth_token: ~/.ray/auth_token}",
        )
    elif sources and not Path(sources[0]).expanduser().is_file():
        yield Finding(
            "problem", f"there is no token at {sources[0]}", "ray get-auth-token --generate"
        )
    else:
        yield Finding("fine", "the token is handed to every node")
