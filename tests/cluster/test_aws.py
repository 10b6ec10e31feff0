"""`cluster.yaml` and `clusters/aws-account.yaml` against a fake AWS, by Ray's own launcher code.

As far as `ray up` gets before it logs in to a machine: roles, key, subnets, security group, and the
machines themselves; then what the autoscaler on the head does, with the head's rights alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.fake_aws import BUCKET, REGION, completed, deploy, keys_of

pytest.importorskip("boto3", reason="needs boto3: pip install 'pcsearch[aws]'")
moto = pytest.importorskip("moto", reason="needs moto: pip install 'pcsearch[test]'")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def account(home: Path) -> Iterator[Any]:
    """EC2 of an account that has the roles of aws-account.yaml; nothing leaves the process."""
    import boto3

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        from ray.autoscaler._private.aws import utils

        with moto.mock_aws():
            deploy()
            utils.resource_cache.cache_clear()
            yield boto3.client("ec2", region_name=REGION)
            utils.resource_cache.cache_clear()


@pytest.fixture(scope="module")
def config(account: Any) -> dict[str, Any]:
    """`cluster.yaml` as Ray's launcher completes it."""
    return completed(account)


@pytest.fixture(scope="module")
def machines(account: Any, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One machine of each type, launched by Ray, by the type's name."""
    for name in config["available_node_types"]:
        launch(provider(config), config, name)
    found = [m for r in account.describe_instances()["Reservations"] for m in r["Instances"]]
    return {
        tag["Value"]: machine
        for machine in found
        for tag in machine["Tags"]
        if tag["Key"] == "ray-user-node-type"
    }


def provider(config: dict[str, Any], **keys: str) -> Any:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    own = {"aws_credentials": keys} if keys else {}
    return AWSNodeProvider(config["provider"] | own, config["cluster_name"])


def launch(provider: Any, config: dict[str, Any], name: str) -> None:
    from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

    kind = config["available_node_types"][name]
    provider.create_node(kind["node_config"], {TAG_RAY_USER_NODE_TYPE: name}, 1)


def test_ray_launches_each_type_as_the_file_says(
    machines: dict[str, dict[str, Any]], config: dict[str, Any], home: Path
) -> None:
    assert config["head_node"] == {}  # Ray made no role of its own
    assert {name: m.get("InstanceLifecycle") for name, m in machines.items()} == {
        "head": None,
        "gpu-spot": "spot",
        "gpu-on-demand": None,
    }
    profiles = {name: m["IamInstanceProfile"]["Arn"] for name, m in machines.items()}
    assert profiles["head"].endswith("/pcsearch-head")
    assert profiles["gpu-spot"] == profiles["gpu-on-demand"]
    assert profiles["gpu-spot"].endswith("/pcsearch-worker")
    key = home / ".ssh" / f"ray-autoscaler_{REGION}.pem"
    assert key.stat().st_mode & 0o77 == 0
    assert len(config["available_node_types"]["gpu-spot"]["node_config"]["SubnetIds"]) == 3


def test_the_security_group_lets_in_ssh_and_its_own_members(
    account: Any, machines: dict[str, dict[str, Any]]
) -> None:
    groups = {g["GroupName"] for m in machines.values() for g in m["SecurityGroups"]}
    assert groups == {"pcsearch-cluster"}
    (group,) = account.describe_security_groups(GroupNames=["pcsearch-cluster"])["SecurityGroups"]
    rules = group["IpPermissions"]
    world = [rule for rule in rules if rule["IpRanges"] or rule["Ipv6Ranges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in world] == [(22, 22)]
    (inside,) = [rule for rule in rules if rule not in world]
    assert [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group["GroupId"]]


def test_the_heads_role_is_enough_to_start_and_end_workers(config: dict[str, Any]) -> None:
    keys = keys_of("pcsearch-head")

    @moto.core.set_initial_no_auth_action_count(0)  # from here on, rights count
    def autoscaling() -> None:
        acting = provider(config, **keys)
        before = set(acting.non_terminated_nodes({}))
        for name in ("gpu-spot", "gpu-on-demand"):
            launch(acting, config, name)
        nodes = sorted(set(acting.non_terminated_nodes({})) - before)
        assert len(nodes) == 2
        acting.set_node_tags(nodes[0], {"ray-node-status": "up-to-date"})
        acting.terminate_nodes(nodes)
        assert set(acting.non_terminated_nodes({})) == before

    autoscaling()


@pytest.mark.parametrize("role", ["pcsearch-head", "pcsearch-worker"])
@pytest.mark.usefixtures("account")
def test_either_role_uses_the_bucket_and_no_other(role: str) -> None:
    import boto3
    from botocore.exceptions import ClientError

    keys = keys_of(role)

    @moto.core.set_initial_no_auth_action_count(0)
    def using() -> None:
        s3 = boto3.client("s3", region_name=REGION, **keys)
        s3.put_object(Bucket=BUCKET, Key="runs/a", Body=b"a")
        assert s3.get_object(Bucket=BUCKET, Key="runs/a")["Body"].read() == b"a"
        assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1
        s3.delete_object(Bucket=BUCKET, Key="runs/a")
        with pytest.raises(ClientError, match=r"AccessDenied|Forbidden|not authorized"):
            s3.put_object(Bucket="another", Key="a", Body=b"a")

    using()


@pytest.mark.usefixtures("account")
def test_a_worker_may_not_start_machines() -> None:
    import boto3
    from botocore.exceptions import ClientError

    keys = keys_of("pcsearch-worker")

    @moto.core.set_initial_no_auth_action_count(0)
    def starting() -> None:
        ec2 = boto3.client("ec2", region_name=REGION, **keys)
        with pytest.raises(ClientError, match="not authorized"):
            ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)

    starting()
