"""What an AWS account knows and a cluster file needs: the newest image, the zones of a region."""

from __future__ import annotations

import importlib.util
from typing import Any

from pcsearch.cluster.files.provider import aws_credentials

_NEWEST = (
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
)
"""AWS's own parameter; cluster.yaml names it, too."""


def has_credentials() -> bool:
    """Whether boto3 is installed and finds credentials, without asking the network."""
    if importlib.util.find_spec("boto3") is None:
        return False
    from botocore.exceptions import BotoCoreError

    try:
        return aws_credentials()
    except (BotoCoreError, OSError, ValueError):
        return False


def newest_image(region: str) -> str:
    """AWS's newest Ubuntu 24.04 with NVIDIA drivers in a region.

    Raises:
        OSError: AWS does not say.
    """
    answer = _asked("ssm", region, "get_parameter", Name=_NEWEST)
    return str(answer["Parameter"]["Value"])


def zones(region: str) -> str:
    """The zones of a region, separated by commas.

    Raises:
        OSError: AWS does not say.
    """
    kinds = [{"Name": "zone-type", "Values": ["availability-zone"]}]
    found = _asked("ec2", region, "describe_availability_zones", Filters=kinds)
    return ",".join(sorted(str(zone["ZoneName"]) for zone in found["AvailabilityZones"]))


def _asked(service: str, region: str, what: str, **about: Any) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    soon = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
    try:
        client = boto3.client(service, region_name=region, config=soon)
        return getattr(client, what)(**about)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise OSError(str(error)) from error
