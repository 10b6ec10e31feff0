"""An AWS account within this process, as `clusters/aws-account.yaml` and Ray's launcher make it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-west-2"
BUCKET = "the-bucket"
_ACCOUNT = "123456789012"


def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "clusters/aws-account.yaml").read_text())
    return loaded


def policies(role: str) -> list[dict[str, Any]]:
    """The policies of one of the template's roles, what they refer to filled in."""
    resources = template()["Resources"]
    properties = resources[role]["Properties"]
    shared = [resources[of["Ref"]]["Properties"] for of in properties["ManagedPolicyArns"]]
    documents = [item["PolicyDocument"] for item in [*shared, *properties.get("Policies", [])]]
    return [_resolved(document) for document in documents]


def _resolved(value: Any) -> Any:
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = {
        "Bucket": f"arn:aws:s3:::{BUCKET}",
        "WorkerRole": f"arn:aws:iam::{_ACCOUNT}:role/pcsearch-worker",
    }
    if "Fn::GetAtt" in value:
        return names[value["Fn::GetAtt"][0]]
    if "Fn::Sub" in value:
        return value["Fn::Sub"].replace("${Bucket.Arn}", names["Bucket"])
    return {key: _resolved(item) for key, item in value.items()}


def deploy() -> None:
    """Make what the template says."""
    import boto3

    iam = boto3.client("iam", region_name=REGION)
    resources = template()["Resources"]
    for name, item in resources.items():
        properties = item["Properties"]
        if item["Type"] == "AWS::IAM::Role":
            trust = json.dumps(properties["AssumeRolePolicyDocument"])
            role = properties["RoleName"]
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust)
            for number, policy in enumerate(policies(name)):
                iam.put_role_policy(
                    RoleName=role, PolicyName=f"p{number}", PolicyDocument=json.dumps(policy)
                )
        elif item["Type"] == "AWS::IAM::InstanceProfile":
            profile = properties["InstanceProfileName"]
            iam.create_instance_profile(InstanceProfileName=profile)
            for reference in properties["Roles"]:
                role = resources[reference["Ref"]]["Properties"]["RoleName"]
                iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    s3 = boto3.client("s3", region_name=REGION)
    for bucket in (BUCKET, "another"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})


def completed(ec2: Any) -> dict[str, Any]:
    """`cluster.yaml`, filled in, as Ray's launcher completes it."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.util import prepare_config, validate_config

    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    text = (ROOT / "cluster.yaml").read_text()
    config = yaml.safe_load(text.replace("ami-FILL-IN", image).replace("bucket-FILL-IN", BUCKET))
    prepared = prepare_config(config)
    validate_config(prepared)
    ready: dict[str, Any] = bootstrap_aws(prepared)
    return ready


def keys_of(role: str) -> dict[str, str]:
    """What a machine with that role acts with."""
    import boto3

    found = boto3.client("sts", region_name=REGION).assume_role(
        RoleArn=f"arn:aws:iam::{_ACCOUNT}:role/{role}", RoleSessionName="machine"
    )["Credentials"]
    return {
        "aws_access_key_id": found["AccessKeyId"],
        "aws_secret_access_key": found["SecretAccessKey"],
        "aws_session_token": found["SessionToken"],
    }
