"""`clusters/aws-account.yaml`: what CloudFormation can read, and what it gives to whom."""

from __future__ import annotations

from typing import Any

import yaml

from tests.cluster.fake_aws import BUCKET, ROOT, policies, template

AT_START = {"StringEquals": {"ec2:CreateAction": "RunInstances"}}


def statements(role: str) -> list[dict[str, Any]]:
    found = [statement for policy in policies(role) for statement in policy["Statement"]]
    assert all(statement["Effect"] == "Allow" for statement in found)
    return found


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_a_worker_may_use_the_bucket_alone() -> None:
    found = statements("WorkerRole")
    actions = [action for statement in found for action in listed(statement["Action"])]
    assert sorted(actions) == ["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"]
    assert {statement["Resource"] for statement in found} == {
        f"arn:aws:s3:::{BUCKET}",
        f"arn:aws:s3:::{BUCKET}/*",
    }


def test_the_head_hands_out_the_workers_role_alone() -> None:
    (passing,) = [s for s in statements("HeadRole") if s["Action"] == "iam:PassRole"]
    assert passing["Resource"].endswith(":role/pcsearch-worker")


def test_the_head_ends_machines_of_ray_alone() -> None:
    """And cannot make others its own by naming them so: it names those that it starts."""
    of_ray = {"Null": {"ec2:ResourceTag/ray-cluster-name": "false"}}
    for action in ("ec2:TerminateInstances", "ec2:CreateTags"):
        found = [s for s in statements("HeadRole") if action in listed(s["Action"])]
        limits = [statement.get("Condition") for statement in found]
        assert of_ray in limits
        assert all(limit in (of_ray, AT_START) for limit in limits)
    actions = {action for s in statements("HeadRole") for action in listed(s["Action"])}
    assert {action for action in actions if "*" in action} == {"ec2:Describe*"}


def test_the_roles_are_those_of_the_cluster_file() -> None:
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    named = {k["node_config"]["IamInstanceProfile"]["Name"]
             for k in cluster["available_node_types"].values()}  # fmt: skip
    profiles = {
        item["Properties"]["InstanceProfileName"]
        for item in template()["Resources"].values()
        if item["Type"] == "AWS::IAM::InstanceProfile"
    }
    assert named == profiles == {"pcsearch-head", "pcsearch-worker"}


def test_the_bucket_is_private_and_kept() -> None:
    bucket = template()["Resources"]["Bucket"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert all(bucket["Properties"]["PublicAccessBlockConfiguration"].values())


def test_cloudformation_can_read_it() -> None:
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
