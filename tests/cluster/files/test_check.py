"""`pcsearch cluster check`: each mistake in a launcher's file is found, and found alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pcsearch.cli.app import app
from pcsearch.cluster.files.check import check_cluster_file
from pcsearch.cluster.files.cluster_file import load_cluster_file
from pcsearch.errors import UserError
from pcsearch.recipe.load import load_recipe
from pcsearch.recipe.schema import Recipe

FILE = Path(__file__).resolve().parents[3] / "cluster.yaml"
PINNED, RAY = "2.60.0", version("ray")
PRICES = {"head": 0.1, "gpu-spot": 0.4, "gpu-on-demand": 1.0}


@pytest.fixture
def ready(home: Path) -> dict[str, Any]:
    """The shipped file, filled in."""
    pytest.importorskip("boto3")
    text = FILE.read_text().replace("FILL-IN", "1").replace(PINNED, RAY)
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def recipe(*overrides: str) -> Recipe:
    return load_recipe("cub200", ["data.root=/home/ubuntu/data", *overrides])


def problems(config: dict[str, Any], folder: Path, **options: Any) -> list[str]:
    found = check_cluster_file(copy.deepcopy(config), folder=folder, **options)
    return [finding.text for finding in found if finding.level == "problem"]


def test_the_shipped_file_passes_once_it_is_filled_in(ready: dict[str, Any], home: Path) -> None:
    found = list(check_cluster_file(ready, folder=home, recipes=[recipe()], prices=PRICES))
    assert [f.text for f in found if f.level != "fine"] == []
    assert any("1 on a gpu-spot, 1 on a gpu-on-demand; 8 at once at most" in f.text for f in found)
    assert any("0.10 an hour idle and 4.50 an hour at most" in f.text for f in found)


def test_a_type_whose_size_only_the_provider_knows(ready: dict[str, Any], home: Path) -> None:
    """Ray looks it up when the cluster starts: it is no node of 0 CPUs."""
    (spot,) = types(ready, "gpu-spot")
    del spot["resources"]
    found = list(
        check_cluster_file(copy.deepcopy(ready), folder=home, recipes=[recipe()], prices=PRICES)
    )
    (told,) = [f.text for f in found if f.level != "fine"]
    assert told.startswith("gpu-spot: CPU and GPU are not both stated")
    spot["resources"] = {"GPU": 1}  # Ray fills in the CPUs
    found = list(
        check_cluster_file(copy.deepcopy(ready), folder=home, recipes=[recipe()], prices=PRICES)
    )
    assert [f.level for f in found if f.level != "fine"] == ["warning"]
    spot["resources"] = {"GPU": 0, "CPU": 4}
    (on_demand,) = types(ready, "gpu-on-demand")
    on_demand["resources"] = {"CPU": 4, "GPU": 0}
    assert problems(ready, home, recipes=[recipe()]), "now it is known that none fits"


def test_machines_that_always_run_cost_when_idle(ready: dict[str, Any], home: Path) -> None:
    types(ready, "gpu-spot")[0]["min_workers"] = 2
    found = check_cluster_file(ready, folder=home, prices=PRICES)
    idle = PRICES["head"] + 2 * PRICES["gpu-spot"]
    assert any(f"the cluster costs {idle:,.2f} an hour idle" in finding.text for finding in found)


def types(config: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    return [config["available_node_types"][name] for name in names]


def opened(config: dict[str, Any], first: int, last: int, *to: str, by: str = "tcp") -> None:
    rules = []
    for network in to or ("0.0.0.0/0",):
        key, address = ("Ipv6Ranges", "CidrIpv6") if ":" in network else ("IpRanges", "CidrIp")
        ports = {"FromPort": first, "ToPort": last, "IpProtocol": by}
        rules.append({**ports, key: [{address: network}]})
    config["provider"]["security_group"]["IpPermissions"] = rules


def opened_to(config: dict[str, Any], *rules: tuple[int, int, str]) -> None:
    every = []
    for first, last, network in rules:
        opened(config, first, last, network)
        every += config["provider"]["security_group"]["IpPermissions"]
    config["provider"]["security_group"]["IpPermissions"] = every


def without_roles(config: dict[str, Any], *names: str) -> None:
    for kind in types(config, *names):
        del kind["node_config"]["IamInstanceProfile"]


def replaced(key: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        assert any(old in command for command in config[key])
        config[key] = [command.replace(old, new) for command in config[key]]

    return change


DOCKER = {"image": "i", "container_name": "c", "run_options": ["-p 8265:8265"]}
HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"
MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "Ray's ports open to the world": (lambda c: opened(c, 6379, 6379), "opens ports 6379 to 6379"),
    "open over IPv6": (lambda c: opened(c, 8265, 8265, "::/0"), "opens ports 8265 to 8265"),
    "open to half of the world": (lambda c: opened(c, 6379, 6379, "128.0.0.0/1"), "to the world"),
    "open to the world by parts": (
        lambda c: opened(c, 6379, 6379, *(f"{k}.{h}.0.0/9" for k in range(256) for h in (0, 128))),
        "opens ports 6379 to 6379",
    ),
    "open to a large part of the world": (
        lambda c: opened(c, 6379, 6379, "64.0.0.0/9"),
        "to the world",
    ),
    "all ports open": (lambda c: opened(c, -1, -1), "opens every port to the world"),
    "SSH among others": (lambda c: opened(c, 22, 8265), "opens ports 22 to 8265"),
    "every protocol": (lambda c: opened(c, 22, 22, by="-1"), "opens every port to the world"),
    "open to the world by parts, for ports that overlap": (
        lambda c: opened_to(c, (6000, 6400, "16.0.0.0/10"), (6300, 7000, "32.0.0.0/10")),
        "opens ports 6300 to 6400 to the world",
    ),
    "SSH to the world, and all to a large part": (
        lambda c: opened_to(c, (22, 22, "0.0.0.0/0"), (22, 8265, "64.0.0.0/9")),
        "opens ports 22 to 8265 to the world",
    ),
    "dashboard on every interface": (
        replaced(HEAD, "--dashboard-host=127.0.0.1", "--dashboard-host 0.0.0.0"),
        "the dashboard listens on every interface",
    ),
    "Ray Client on every interface": (
        replaced(HEAD, "--port=6379", "--port=6379 --ray-client-server-host=0.0.0.0"),
        "the Ray Client server listens on every interface",
    ),
    "a port of a container": (
        lambda c: c.update(docker=DOCKER),
        "docker publishes a port",
    ),
    "no token": (lambda c: c["file_mounts"].pop("~/.ray/auth_token"), "do not get the token"),
    "token off": (
        replaced(WORKER, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled"),
        "token authentication is off",
    ),
    "token unused": (
        lambda c: [
            replaced(key, "RAY_AUTH_MODE=token", "X=1")(c)
            for key in (HEAD, WORKER, "setup_commands")
        ],
        "have the token and do not use it",
    ),
    "token in the file": (
        replaced(HEAD, "RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN=abc"),
        "a token is written in the file",
    ),
    "credentials in the file": (
        lambda c: c["provider"].update(aws_credentials={"aws_access_key_id": "x"}),
        "provider.aws_credentials are written in the file",
    ),
    "a secret key in a command": (
        lambda c: c["setup_commands"].append("export AWS_SECRET_ACCESS_KEY=abc/123"),
        "a secret key is written in the file",
    ),
    "no role and nothing shared": (
        lambda c: without_roles(c, "head", "gpu-spot", "gpu-on-demand"),
        "the nodes share no folder",
    ),
    "token used by the head alone": (
        lambda c: [
            replaced(key, "RAY_AUTH_MODE=token", "X=1")(c) for key in (WORKER, "setup_commands")
        ],
        "have the token and do not use it",
    ),
    "token exported in a shell that ends": (
        lambda c: [
            *(replaced(k, "RAY_AUTH_MODE=token", "X=1")(c) for k in (WORKER, "setup_commands")),
            c[WORKER].insert(0, "export RAY_AUTH_MODE=token"),
        ],
        "have the token and do not use it",
    ),
    "token off in a container": (
        lambda c: c.update(docker=DOCKER | {"run_options": ["-e RAY_AUTH_MODE=disabled"]}),
        "token authentication is off",
    ),
    "boto3 on the head alone": (
        lambda c: [
            replaced("setup_commands", " 'boto3>=1.36'", "")(c),
            c["head_setup_commands"].append("~/pcsearch/bin/pip install 'boto3>=1.36'"),
        ],
        "boto3 is not installed",
    ),
    "no boto3": (replaced("setup_commands", " 'boto3>=1.36'", ""), "boto3 is not installed"),
    "not filled in": (
        lambda c: types(c, "head")[0]["node_config"].update(ImageId="ami-FILL-IN"),
        "available_node_types.head.node_config.ImageId must still be filled in",
    ),
    "no such provider": (
        lambda c: c["provider"].update(type="asw"),
        'provider.type is "asw", which Ray does not know, did you mean "aws"?',
    ),
    "no such head": (lambda c: c.update(head_node_type="haed"), "head_node_type"),
    "an unknown key": (lambda c: c.update(idle_minutes=5), "idle_minutes"),
    "two Rays": (
        lambda c: c["setup_commands"].append("pip install ray==2.57.0"),
        f"the file states several versions of Ray: 2.57.0 and {RAY}",
    ),
    "too old a Ray": (replaced("setup_commands", f"=={RAY}", "==2.9.0"), "the nodes get Ray 2.9.0"),
    "too old a Python": (
        replaced("setup_commands", "python3 -m", "python3.10 -m"),
        "the nodes get Python 3.10",
    ),
    "no wheel": (
        lambda c: c["file_mounts"].update({"~/x.whl": "dist/other.whl"}),
        "file_mounts: there is no dist/other.whl",
    ),
    "no key to log in with": (
        lambda c: c["auth"].update(ssh_private_key="~/.ssh/none"),
        "auth.ssh_private_key: there is no ~/.ssh/none",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_found_alone(mistake: str, ready: dict[str, Any], home: Path) -> None:
    change, message = MISTAKES[mistake]
    change(ready)
    found = [f for f in check_cluster_file(ready, folder=home) if f.level == "problem"]
    assert [message in f.text for f in found] == [True], found
    assert found[0].remedy


def test_a_port_that_is_open_within_the_network_is_fine(ready: dict[str, Any], home: Path) -> None:
    for network in ("10.0.0.0/8", "10.0.0.0/16", "fd00::/8", "junk"):
        opened(ready, 2049, 2049, network)
        assert problems(ready, home) == []


NO_PORT = "the file opens no port except SSH"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([(6379, 6379, "52.0.0.0/10")], ["ports 6379 to 6379 to 52.0.0.0/10"]),
        (
            [(6379, 6379, "52.0.0.0/10"), (6000, 7000, "52.0.0.0/11")],
            ["ports 6379 to 6379 to 52.0.0.0/10", "ports 6000 to 7000 to 52.0.0.0/11"],
        ),
        ([(22, 22, "0.0.0.0/0"), (2049, 2049, "10.0.0.0/16")], ["2049 to 2049 to 10.0.0.0/16"]),
        ([(22, 22, "0.0.0.0/0")], []),
        (
            [(1, 2, f"9.9.9.{n}/32") for n in range(5)],
            ["ports 1 to 2 to 9.9.9.0/32, 9.9.9.1/32, 9.9.9.2/32 and 2 more networks"],
        ),
    ],
)
def test_every_rule_that_lets_in_more_than_ssh_is_told(
    rules: list[tuple[int, int, str]], told: list[str], ready: dict[str, Any], home: Path
) -> None:
    opened_to(ready, *rules)
    found = list(check_cluster_file(ready, folder=home))
    warned = [f for f in found if "the security group opens" in f.text]
    assert [f.level for f in warned] == ["warning"] * len(told)
    assert all(text in f.text and f.remedy for text, f in zip(told, warned, strict=True))
    assert any(f.text == NO_PORT for f in found) == (not told)


def test_who_is_in_other_groups_cannot_be_seen(ready: dict[str, Any], home: Path) -> None:
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-1"}]}
    ready["provider"]["security_group"]["IpPermissions"] = [rule]
    found = list(check_cluster_file(ready, folder=home))
    (note,) = [f for f in found if "lets in security groups" in f.text]
    assert note.level == "warning"
    assert not any(f.text == NO_PORT for f in found)


@pytest.mark.parametrize(
    ("option", "publishes"),
    [
        ("-p 8265:8265", True),
        ("-p6379:6379", True),
        ("-v /a:/b -p=6379:6379", True),
        ("-p", True),
        ("-P", True),
        ("--publish-all", True),
        ("--publish 1:1", True),
        ("--pids-limit=100", False),
        ("--privileged", False),
        ("-v /data-p/P:/data", False),
    ],
)
def test_ports_of_a_container(
    option: str, publishes: bool, ready: dict[str, Any], home: Path
) -> None:
    ready["docker"] = DOCKER | {"run_options": [option]}
    assert [f"docker publishes a port: {option}"] * publishes == problems(ready, home)


def test_what_prefix_lists_hold_cannot_be_seen(ready: dict[str, Any], home: Path) -> None:
    opened(ready, 6379, 6379, "10.0.0.0/16")
    (rule,) = ready["provider"]["security_group"]["IpPermissions"]
    rule["PrefixListIds"] = [{"PrefixListId": "pl-1"}]
    found = list(check_cluster_file(ready, folder=home))
    (note,) = [f for f in found if "prefix lists" in f.text]
    assert note.level == "warning"
    assert not any("opens no port except SSH" in f.text for f in found)
    rule.update(FromPort=22, ToPort=22)
    assert not any("prefix lists" in f.text for f in check_cluster_file(ready, folder=home))


def test_security_groups_of_ones_own_cannot_be_seen(ready: dict[str, Any], home: Path) -> None:
    types(ready, "gpu-spot")[0]["node_config"]["SecurityGroupIds"] = ["sg-1"]
    (found,) = [
        f for f in check_cluster_file(ready, folder=home) if "security groups of your own" in f.text
    ]
    assert found.level == "warning"
    assert found.text.startswith("gpu-spot:")


def test_a_trial_that_fits_on_no_node(ready: dict[str, Any], home: Path) -> None:
    (found,) = problems(
        ready, home, recipes=[recipe("resources.gpus_per_trial=1", "resources.cpus_per_trial=99")]
    )
    assert "no node has room for one (gpu-spot 4 CPUs and 1 GPU, gpu-on-demand 4 CPUs" in found


def test_the_width_counts_every_worker_type(ready: dict[str, Any], home: Path) -> None:
    large, small = types(ready, "gpu-on-demand", "gpu-spot")
    large["resources"] = {"CPU": 16, "GPU": 4}
    found = list(check_cluster_file(ready, folder=home, recipes=[recipe()]))
    assert any("4 on a gpu-on-demand; 14 at once at most" in f.text for f in found)
    small["resources"] = {"CPU": 4, "GPU": 0}
    found = list(check_cluster_file(ready, folder=home, recipes=[recipe()]))
    assert any("0 on a gpu-spot, 4 on a gpu-on-demand; 8 at once" in f.text for f in found)
    assert any("no trial of cub200 fits on gpu-spot" in f.text for f in found)


def test_images_that_are_not_where_the_nodes_have_them(ready: dict[str, Any], home: Path) -> None:
    elsewhere = load_recipe("cub200", ["data.root=data"])
    (found,) = problems(ready, home, recipes=[elsewhere])
    assert "cub200 reads data.root data, which is not in a folder that every node has: " in found
    assert "every node has: /home/ubuntu" in found
    drawn = load_recipe("quickstart", ["resources.gpus_per_trial=auto"])
    assert problems(ready, home, recipes=[drawn]) == []
    (found,) = problems(ready, home, recipes=[recipe("weights=/weights/resnet50.pth")])
    assert "cub200 reads weights /weights/resnet50.pth" in found
    (found,) = problems(ready, home, recipes=[load_recipe("my-images", ["data.images=/mine"])])
    assert "reads data.images /mine" in found


def test_the_home_folder_is_the_one_of_the_nodes(ready: dict[str, Any], home: Path) -> None:
    at_home = load_recipe("cub200", ["data.root=~/data"])
    assert str(at_home.data.root).startswith(str(Path.home()))
    assert problems(ready, home, recipes=[at_home]) == []


def test_runs_on_s3_take_a_role_on_every_worker(ready: dict[str, Any], home: Path) -> None:
    without_roles(ready, "gpu-on-demand")
    (found,) = problems(ready, home, runs="s3://bucket/runs")
    assert "gpu-on-demand: no IamInstanceProfile, so no credentials for s3://bucket/runs" in found


def test_rays_own_role_for_the_head_hands_out_none(ready: dict[str, Any], home: Path) -> None:
    without_roles(ready, "head")
    found = list(check_cluster_file(ready, folder=home, runs="s3://bucket/runs"))
    assert [f.text for f in found if f.level == "problem"] == []
    assert any("Ray's own role for the head may not assign it" in f.text for f in found)


def test_another_ray_here(ready: dict[str, Any], home: Path) -> None:
    replaced("setup_commands", f"=={RAY}", "==2.57.0")(ready)
    found = [f for f in check_cluster_file(ready, folder=home) if "2.57.0" in f.text]
    assert [f.level for f in found] == ["problem"]
    assert "pip install 'ray[default,tune]==2.57.0' here" in found[0].remedy


def test_a_token_for_every_container(ready: dict[str, Any], home: Path) -> None:
    for key in (HEAD, WORKER, "setup_commands"):
        replaced(key, "RAY_AUTH_MODE=token", "X=1")(ready)
    ready["docker"] = DOCKER | {"run_options": ["--env RAY_AUTH_MODE=token"]}
    assert problems(ready, home) == []
    ready["docker"] = DOCKER | {"run_options": [], "head_run_options": ["-e RAY_AUTH_MODE=token"]}
    assert len(problems(ready, home)) == 1


NFS = "sudo mkdir -p /shared; mountpoint -q /shared || sudo mount -t nfs -o hard fs:/x /shared"


@pytest.mark.parametrize(
    ("command", "runs", "message"),
    [
        (None, "/home/ubuntu/runs", "no shared folder is mounted"),
        (None, "~/runs", "no shared folder is mounted"),
        (None, "runs", "--runs is runs, a relative path"),
        ("sudo apt-get install -y gcsfuse", "/shared/runs", "no shared folder is mounted"),
        (NFS, "/other", "the nodes share /shared"),
        (NFS, "/shared/../other", "the nodes share /shared"),
        (NFS, "/shared/runs", None),
        ("gcsfuse my-bucket $HOME/bucket > /dev/null", "/home/ubuntu/bucket/runs", None),
        ("echo 'fs:/ /efs nfs4 _netdev 0 0' | sudo tee -a /etc/fstab; sudo mount -a", "/efs", None),
        ("mountpoint -q /efs", "/efs/runs", None),
        ("mountpoint -q /efs || sudo mkfs /dev/nvme1n1", "/efs/runs", "no shared folder"),
    ],
)
def test_a_folder_of_runs_must_be_the_same_on_every_node(
    command: str | None, runs: str, message: str | None, ready: dict[str, Any], home: Path
) -> None:
    ready["setup_commands"] += [command] if command else []
    found = [f for f in check_cluster_file(ready, folder=home, runs=runs) if f.level == "problem"]
    assert len(found) == (message is not None)
    assert all(
        message in f.text and "--runs s3://BUCKET/runs" in f.remedy for f in found if message
    )


def test_a_folder_that_the_head_alone_mounts_is_not_shared(
    ready: dict[str, Any], home: Path
) -> None:
    ready["head_setup_commands"] = [NFS]
    (found,) = problems(ready, home, runs="/shared/runs")
    assert "no shared folder is mounted" in found
    without_roles(ready, "head", "gpu-spot", "gpu-on-demand")
    (found,) = problems(ready, home)
    assert "the nodes share no folder" in found
    ready["worker_setup_commands"] = [NFS]
    assert problems(ready, home, runs="/shared/runs") == []
    assert problems(ready, home) == []


def test_a_mount_whose_folder_cannot_be_told(ready: dict[str, Any], home: Path) -> None:
    ready["setup_commands"].append("sudo mount -t nfs fs:/x $WHERE")
    found = [
        f
        for f in check_cluster_file(ready, folder=home, runs="/shared/runs")
        if "/shared" in f.text
    ]
    assert [f.level for f in found] == ["warning"]


def test_no_credentials(ready: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    assert problems(ready, home) == ["there are no AWS credentials on this machine"]


def test_credentials_that_cannot_be_read(
    ready: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "none-such")
    (found,) = problems(ready, home)
    assert found.startswith("AWS credentials cannot be read: The config profile (none-such)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("provider: [", ":1: not YAML"),
        ("- a", "not a cluster file"),
        ("", "not a cluster file"),
        ("datasets: [cub200]", "has no provider.type"),
        ("provider: {type: kuberay}", "give KubeRay's manifest"),
        ("provider: {type: aws}\n---\nprovider: {type: aws}", "holds 2 documents"),
        ("provider: {type: aws}\navailable_node_types: [a]", "must be a mapping"),
        ("provider: {type: aws}\navailable_node_types: {a: {resources: {CPU: x}}}", "numbers"),
        ("provider: {type: aws}\nmax_workers: many", "max_workers must be a whole number"),
        ("provider: !!python/object/apply:os.system [echo]", "not YAML"),
    ],
)
def test_what_is_no_cluster_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message.replace("!", "")):
        load_cluster_file(file)


JUNK = (
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=5) | st.just([]) | st.just({})
)
KEYS = st.sampled_from(
    [
        "provider",
        "available_node_types",
        "head_node_type",
        "file_mounts",
        "max_workers",
        "docker",
        "auth",
        "setup_commands",
    ]
)


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(KEYS, JUNK, min_size=1, max_size=3))
def test_junk_is_refused_or_checked_but_never_a_traceback(
    changes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("junk") / "cluster.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(FILE.read_text()) | changes))
    try:
        config = load_cluster_file(file)
    except UserError:
        return
    list(check_cluster_file(config, folder=file.parent, recipes=[recipe()]))


def test_the_command(home: Path) -> None:
    result = CliRunner().invoke(app, ["cluster", "check", str(FILE), "cub200", "--json"])
    findings = json.loads(result.stdout)
    assert {"level", "text", "remedy"} == findings[0].keys()
    assert isinstance(result.exception, UserError)
    assert "problem" in str(result.exception)
    result = CliRunner().invoke(app, ["cluster", "check", str(FILE), "--price", "head"])
    assert "must be a node type and a number" in str(result.exception)


LAUGHS = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [
        f"{n}: &{n} [{', '.join([f'*{b}'] * 9)}]"
        for b, n in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)
MERGES = "\n".join(
    ["a0: &a0 {k: v}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
)
TOO_MUCH = {
    "aliases": LAUGHS,
    "merge keys": MERGES,
    "a circle": "a: &a [*a]",
    "a circle of mappings": "a: &a {b: *a}",
    "depth": "a: " + "[" * 5000 + "]" * 5000,
    "depth of mappings": "a: " + "{a: " * 3000,
    "depth of blocks": "- " * 5000 + "a",
    "values": "a: [" + "b," * 100_000 + "]",
    "documents": "--- 1\n" * 100_000,
    "base 60": "max_workers: " + "1:" * 200_000 + "1",
    "a hexadecimal": "a: {b: 0x" + "f" * 5000 + "}",
    "a number as a key": "0x" + "f" * 5000 + ": 1",
    "a binary in a list": "a: [0b" + "1" * 20_000 + "]",
    "aliases of many": f"a: &a [{'b,' * 900}]\nc: [{'*a,' * 900}]",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", TOO_MUCH)
def test_files_that_would_take_too_much(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"provider: {{type: aws}}\n{TOO_MUCH[kind]}\n")
    with pytest.raises(
        UserError,
        match=r"cluster\.yaml:\d+: (is nested too|holds too many|not YAML|a number has [\d,]+ ch)",
    ):
        load_cluster_file(file)


@pytest.mark.parametrize(
    "value",
    [
        "!!bool maybe",
        "!!int x",
        "!!float x",
        "!!timestamp x",
        "2001-99-99",
        "9" * 5000,
        "{[]: 1}",
        "!!python/object/apply:os.system [x]",
        "!!set [a]",
        "!!omap {a: 1}",
        "!!binary é",
        "!!pairs 3",
    ],
)
def test_values_that_are_not_what_they_say(value: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"provider: {{type: aws}}\na: {value}\n")
    with pytest.raises(UserError, match=r"cluster\.yaml"):
        load_cluster_file(file)
