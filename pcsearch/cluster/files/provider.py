"""Check that Ray's launcher accepts a cluster file, and has credentials on this machine."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pcsearch.cluster import ray_internals
from pcsearch.cluster.files.cluster_file import ClusterConfig, Finding, texts, unstated_types
from pcsearch.errors import did_you_mean

_VENDOR = Path("/sys/class/dmi/id/sys_vendor")
_WRITTEN = re.compile(r"\bAWS_(SECRET_ACCESS_KEY|SESSION_TOKEN)=[\"']?[A-Za-z0-9/+]")
_SECRETS = ("aws_credentials", "gcp_credentials")


def provider(config: ClusterConfig) -> Iterator[Finding]:
    kind, kinds = str(config["provider"]["type"]), ray_internals.node_providers()
    if kind not in kinds:
        known = ", ".join(sorted(kinds))
        yield Finding(
            "problem",
            f'provider.type is "{kind}", which Ray does not know{did_you_mean(kind, kinds)}',
            f"it must be one of {known}",
        )
        return  # Ray cannot check such a file
    for key in _SECRETS:
        if config["provider"].get(key):
            yield Finding(
                "problem",
                f"provider.{key} are written in the file, which is copied to the head",
                "remove them: the launcher finds those of this machine",
            )
    for path, text in texts(config):
        if _WRITTEN.search(text):
            yield Finding(
                "problem",
                f"{path}: a secret key is written in the file, which is copied to the head",
                "remove it: give the machines a role, or copy ~/.aws to the head by file_mounts",
            )
    look = _CREDENTIALS.get(kind)
    if look is not None:
        yield from look()
    else:
        yield Finding("fine", f"provider {kind}; its credentials were not checked")
    yield from _schema(config)


def _schema(config: ClusterConfig) -> Iterator[Finding]:
    from jsonschema import ValidationError  # type: ignore[import-untyped]

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # Ray prints warnings about file mounts
            ray_internals.validate_launcher_file(_as_asked(config))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        at = f"{where}: " if where else ""
        yield Finding("problem", f"{at}{error.message}", "Ray's launcher refuses the file")
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        yield Finding("problem", reason[0], "Ray's launcher refuses the file")
    else:
        yield Finding("fine", "Ray's launcher accepts the file")


def _as_asked(config: ClusterConfig) -> ClusterConfig:
    """A copy with `resources` in every node type: Ray asks the provider for them at the start."""
    config = copy.deepcopy(config)
    for kind in unstated_types(config).values():
        kind.setdefault("resources", {})
    return config


def _aws() -> Iterator[Finding]:
    if importlib.util.find_spec("botocore") is None:
        yield Finding(
            "problem",
            "boto3 is not installed, but `ray up` needs it",
            "pip install 'pcsearch[aws]'",
        )
        return
    from botocore.exceptions import BotoCoreError

    try:
        found = aws_credentials()
    except (BotoCoreError, OSError, ValueError) as error:
        yield Finding("problem", f"AWS credentials cannot be read: {error}", "run `aws configure`")
        return
    if found:
        yield Finding("fine", "this machine has AWS credentials; their validity was not checked")
    elif _vendor().startswith("Amazon"):
        yield Finding("fine", "this is an AWS machine; whether it has a role was not checked")
    else:
        yield Finding(
            "problem",
            "there are no AWS credentials on this machine",
            "run `aws configure`, or set AWS_PROFILE",
        )


def aws_credentials() -> bool:
    """Whether this machine has credentials of AWS; uses no network."""
    from botocore.session import Session

    before = os.environ.get("AWS_EC2_METADATA_DISABLED")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"  # no network access
    try:
        return Session().get_credentials() is not None
    finally:
        if before is None:
            del os.environ["AWS_EC2_METADATA_DISABLED"]
        else:
            os.environ["AWS_EC2_METADATA_DISABLED"] = before


def _gcp() -> Iterator[Finding]:
    if importlib.util.find_spec("googleapiclient") is None:
        yield Finding(
            "problem",
            "google-api-python-client is not installed, but `ray up` needs it",
            "pip install google-api-python-client",
        )
    try:
        from google.auth import _cloud_sdk, load_credentials_from_file
        from google.auth.exceptions import GoogleAuthError
    except ImportError:
        return  # google-api-python-client installs it

    own = _cloud_sdk.get_application_default_credentials_path()  # type: ignore[no-untyped-call]
    file = Path(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or own)
    login = "gcloud auth application-default login"
    if file.is_file():
        try:
            load_credentials_from_file(str(file))  # type: ignore[no-untyped-call]
        except (GoogleAuthError, ValueError) as error:
            reason = str(error).splitlines()[0]
            yield Finding("problem", f"Google Cloud credentials cannot be read: {reason}", login)
        else:
            yield Finding("fine", "this machine has Google Cloud credentials; they were not tried")
    elif _vendor().startswith("Google"):
        yield Finding("fine", "this is a Google Cloud machine; its rights were not checked")
    else:
        yield Finding("problem", "there are no Google Cloud credentials on this machine", login)


def _vendor() -> str:
    with contextlib.suppress(OSError):
        return _VENDOR.read_text()
    return ""


_CREDENTIALS: dict[str, Callable[[], Iterator[Finding]]] = {"aws": _aws, "gcp": _gcp}
