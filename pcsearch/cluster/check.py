"""What is wrong with a cluster file, found without starting, or paying for, anything."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pcsearch.cluster.check_access import ports, storage, token
from pcsearch.cluster.check_nodes import nodes, price
from pcsearch.cluster.file import Config, commands, texts
from pcsearch.cluster.finding import Finding
from pcsearch.errors import did_you_mean
from pcsearch.recipe.schema import Recipe

_RAY_PIN = re.compile(r"\bray(?:\[[^\]]*\])?==([0-9][0-9.]*[0-9])")


def check(
    config: Config,
    *,
    folder: Path,
    recipes: Sequence[Recipe] = (),
    runs: str | None = None,
    prices: Mapping[str, float] | None = None,
) -> Iterator[Finding]:
    """Look at everything that can be seen offline.

    Args:
        config: The file, of `load_cluster_file`.
        folder: Where `ray up` will be started: paths in the file are relative to that.
        recipes: Whose trials are to run there.
        runs: Where runs are to be kept, if that is known.
        prices: Of an hour of a node, by node type.
    """
    yield from _provider(config)
    yield from _schema(config)
    yield from _to_fill_in(config)
    yield from nodes(config, recipes)
    yield from ports(config)
    yield from token(config)
    yield from _files(config, folder)
    yield from storage(config, runs)
    yield from _versions(config)
    yield from price(config, prices or {})


def _provider(config: Config) -> Iterator[Finding]:
    from ray.autoscaler._private.providers import _NODE_PROVIDERS

    kind = str(config["provider"]["type"])
    if kind not in _NODE_PROVIDERS:
        known = ", ".join(sorted(_NODE_PROVIDERS))
        yield Finding(
            "problem",
            f'provider.type is "{kind}", which Ray does not know'
            f"{did_you_mean(kind, list(_NODE_PROVIDERS))}",
            f"it must be one of {known}",
        )
    elif kind == "aws":
        yield from _aws()
    else:
        yield Finding("fine", f"provider {kind}; its credentials were not looked at")


def _aws() -> Iterator[Finding]:
    if importlib.util.find_spec("botocore") is None:
        yield Finding(
            "problem", "boto3 is not installed, which `ray up` needs", "pip install 'pcsearch[aws]'"
        )
        return
    from botocore.session import Session

    before = os.environ.get("AWS_EC2_METADATA_DISABLED")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"  # no question to the network
    try:
        found = Session().get_credentials()
    except Exception as error:
        yield Finding("problem", f"AWS credentials cannot be read: {error}", "run `aws configure`")
        return
    finally:
        if before is None:
            del os.environ["AWS_EC2_METADATA_DISABLED"]
        else:
            os.environ["AWS_EC2_METADATA_DISABLED"] = before
    if found is None:
        yield Finding(
            "problem",
            "there are no AWS credentials on this machine",
            "run `aws configure`, or set AWS_PROFILE",
        )
    else:
        yield Finding("fine", "AWS credentials are here; whether they are valid was not asked")


def _schema(config: Config) -> Iterator[Finding]:
    import copy

    from ray.autoscaler._private.providers import _NODE_PROVIDERS

    if config["provider"]["type"] not in _NODE_PROVIDERS:
        return  # Ray can say nothing of its file

    from jsonschema import ValidationError  # type: ignore[import-untyped]
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        validate_config(prepare_config(copy.deepcopy(config)))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        at = f"{where}: " if where else ""
        yield Finding("problem", f"{at}{error.message}", "Ray's launcher refuses the file")
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        yield Finding("problem", reason[0], "Ray's launcher refuses the file")
    else:
        yield Finding("fine", "Ray's launcher accepts the file")


def _to_fill_in(config: Config) -> Iterator[Finding]:
    for path, text in texts(config):
        if "FILL-IN" in text:
            yield Finding("problem", f"{path} is still to be filled in", "its comment says how")


def _files(config: Config, folder: Path) -> Iterator[Finding]:
    for there, here in (config.get("file_mounts") or {}).items():
        if str(there).endswith(".ray/auth_token"):
            continue
        if not (folder / Path(str(here)).expanduser()).exists():
            wheel = str(here).endswith(".whl")
            remedy = "pip wheel --no-deps -w dist ." if wheel else "make it, or take it out"
            yield Finding(
                "problem", f"file_mounts: there is no {here} (seen from {folder})", remedy
            )


def _versions(config: Config) -> Iterator[Finding]:
    import ray

    pinned = {pin for line in commands(config) for pin in _RAY_PIN.findall(line)}
    if not pinned:
        yield Finding(
            "warning",
            "no version of Ray is stated, so nodes that start later may get another one",
            f"pip install 'ray[default,tune]=={ray.__version__}' in setup_commands",
        )
    elif len(pinned) > 1:
        yield Finding("problem", f"Ray is installed as {' and '.join(sorted(pinned))}", "state one")
