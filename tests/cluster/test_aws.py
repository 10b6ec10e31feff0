"""`cluster.yaml` and `clusters/aws-account.yaml` against a fake AWS, by Ray's own launcher code.

As far as `ray up` gets before it logs in to a machine: roles, key, subnets, security group, and the
machines themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("boto3", reason="needs boto3: pip install 'pcsearch[aws]'")
moto = pytest.importorskip("moto", reason="needs moto: pip install 'pcsearch[test]'")

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-west-2"


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """EC2 of an account that has the roles of aws-account.yaml; nothing leaves the process."""
    import boto3

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    from ray.autoscaler._private.aws import utils

    with moto.mock_aws():
        iam = boto3.client("iam", region_name=REGION)
        for item in template()["Resources"].values():
            properties = item["Properties"]
            if item["Type"] == "AWS::IAM::Role":
                trust = json.dumps(properties["AssumeRolePolicyDocument"])
                iam.create_role(RoleName=properties["RoleName"], AssumeRolePolicyDocument=trust)
            elif item["Type"] == "AWS::IAM::InstanceProfile":
                name = properties["InstanceProfileName"]
                iam.create_instance_profile(InstanceProfileName=name)
                (role,) = properties["Roles"]
                role_name = template()["Resources"][role["Ref"]]["Properties"]["RoleName"]
                iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role_name)
        utils.resource_cache.cache_clear()
        yield boto3.client("ec2", region_name=REGION)
        utils.resource_cache.cache_clear()


def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "clusters/aws-account.yaml").read_text())
    return loaded


def launched(ec2: Any) -> dict[str, Any]:
    """The file as Ray's launcher completes it, one machine of each type launched."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config
    from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    text = (ROOT / "cluster.yaml").read_text()
    config = yaml.safe_load(text.replace("ami-FILL-IN", image).replace("bucket-FILL-IN", "b"))
    prepared = prepare_config(config)
    validate_config(prepared)
    ready: dict[str, Any] = bootstrap_aws(prepared)
    provider = AWSNodeProvider(ready["provider"], ready["cluster_name"])
    for name, kind in ready["available_node_types"].items():
        provider.create_node(kind["node_config"], {TAG_RAY_USER_NODE_TYPE: name}, 1)
    return ready


def machines(ec2: Any) -> dict[str, dict[str, Any]]:
    """Running machines, by node type."""
    found = [m for r in ec2.describe_instances()["Reservations"] for m in r["Instances"]]
    return {
        tag["Value"]: machine
        for machine in found
        for tag in machine["Tags"]
        if tag["Key"] == "ray-user-node-type"
    }


def test_ray_launches_each_type_as_the_file_says(account: Any, tmp_path: Path) -> None:
    config = launched(account)
    assert config["head_node"] == {}  # Ray made no role of its own
    found = machines(account)
    assert {name: m.get("InstanceLifecycle") for name, m in found.items()} == {
        "head": None,
        "gpu-spot": "spot",
        "gpu-on-demand": None,
    }
    profiles = {name: m["IamInstanceProfile"]["Arn"] for name, m in found.items()}
    assert profiles["head"].endswith("/pcsearch-head")
    assert profiles["gpu-spot"] == profiles["gpu-on-demand"]
    assert profiles["gpu-spot"].endswith("/pcsearch-worker")
    key = tmp_path / ".ssh" / f"ray-autoscaler_{REGION}.pem"
    assert key.stat().st_mode & 0o77 == 0
    assert len(config["available_node_types"]["gpu-spot"]["node_config"]["SubnetIds"]) == 3


def test_the_security_group_lets_in_ssh_and_its_own_members(account: Any) -> None:
    launched(account)
    groups = {g["GroupName"] for m in machines(account).values() for g in m["SecurityGroups"]}
    assert groups == {"pcsearch-cluster"}
    (group,) = account.describe_security_groups(GroupNames=["pcsearch-cluster"])["SecurityGroups"]
    rules = group["IpPermissions"]
    world = [rule for rule in rules if rule["IpRanges"] or rule["Ipv6Ranges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in world] == [(22, 22)]
    (inside,) = [rule for rule in rules if rule not in world]
    assert [pair["GroupId"] for pair in inside["UserIdGroupPairs"]] == [group["GroupId"]]


def statements(role: str) -> list[dict[str, Any]]:
    resources = template()["Resources"]
    properties = resources[role]["Properties"]
    shared = [resources[of["Ref"]]["Properties"] for of in properties["ManagedPolicyArns"]]
    policies = [*shared, *properties.get("Policies", [])]
    found = [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]
    assert all(statement["Effect"] == "Allow" for statement in found)
    return found


def test_a_worker_may_use_the_bucket_alone_and_the_head_hand_out_that_role_alone() -> None:
    actions = [a for s in statements("WorkerRole") for a in listed(s["Action"])]
    assert sorted(actions) == ["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"]
    assert "*" not in [statement["Resource"] for statement in statements("WorkerRole")]
    (passing,) = [s for s in statements("HeadRole") if s["Action"] == "iam:PassRole"]
    assert passing["Resource"] == {"Fn::GetAtt": ["WorkerRole", "Arn"]}


def test_the_bucket_is_private_and_kept() -> None:
    bucket = template()["Resources"]["Bucket"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert all(bucket["Properties"]["PublicAccessBlockConfiguration"].values())


def test_cloudformation_can_read_the_template() -> None:
    """It knows no YAML aliases, and only its own types and functions."""
    text = (ROOT / "clusters/aws-account.yaml").read_text()
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    assert not any(isinstance(event, yaml.AliasEvent) for event in events)
    resources = template()["Resources"]
    assert {item["Type"] for item in resources.values()} == {
        "AWS::S3::Bucket",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Role",
        "AWS::IAM::InstanceProfile",
    }
    assert references(template()) <= resources.keys()


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {name for item in value for name in references(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["Ref"]} if "Ref" in value else set()
    own |= {value["Fn::GetAtt"][0]} if "Fn::GetAtt" in value else set()
    return own.union(*(references(item) for item in value.values()))


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
