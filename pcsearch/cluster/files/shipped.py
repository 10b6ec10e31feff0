"""The shipped cluster files, and the values that a user fills in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pcsearch
from pcsearch.errors import UserError
from pcsearch.io import read_text
from pcsearch.version import __version__

_PACKAGE = Path(pcsearch.__file__).parent
_FOLDERS = (_PACKAGE / "clusters", _PACKAGE.parent, _PACKAGE.parent / "clusters")
"""Inside an installed package, or beside the package in a checkout."""

_RAY = "2.60.0"
_NUMBER = re.compile(r"FILL IN \d: (\w)")
_HOST = r"[A-Za-z0-9][A-Za-z0-9.:-]*"
WHEEL = f"pcsearch-{__version__}-py3-none-any.whl"


@dataclass(frozen=True)
class Value:
    """One value of a cluster file; its form admits nothing that a shell or YAML would interpret."""

    option: str
    question: str
    example: str
    form: str
    """A regular expression for the whole value."""
    default: str | None = None

    def checked(self, text: str) -> str:
        """The text, if it has the value's form.

        Raises:
            UserError: it has not.
        """
        if not re.fullmatch(self.form, text):
            raise UserError(f"{self.option} is {text!r}, but must look like {self.example}")
        return text


@dataclass(frozen=True)
class Shipped:
    """A shipped file: its name, its values, and the texts that they replace."""

    name: str
    values: tuple[Value, ...]
    replaced: Callable[[Mapping[str, str]], Mapping[str, str]]
    """From option → value to text in the file → its replacement, in this order."""


_BUCKET = Value(
    "--bucket", "S3 bucket for images and runs", "my-bucket", r"[a-z0-9][a-z0-9.-]{2,62}"
)
_REGION = Value(
    "--region", "Region of the bucket", "us-west-2", r"[a-z]{2}(-[a-z]+)+-\d", "us-west-2"
)
_ZONES = Value(
    "--zones",
    "Zones of the region, separated by commas",
    "us-west-2a,us-west-2b",
    r"[a-z0-9-]+(,[a-z0-9-]+)*",
)
_IMAGE = Value(
    "--image",
    "Image (AMI) with Ubuntu 24.04 and NVIDIA drivers",
    "ami-0123456789abcdef0",
    r"ami-[0-9a-f]{8,17}",
)
_GCP = (
    Value(
        "--project", "Google Cloud project that pays", "my-project", r"[a-z][a-z0-9-]{4,28}[a-z0-9]"
    ),
    Value(
        "--image",
        "Image family with Ubuntu 24.04 and NVIDIA drivers (gcloud compute images list --project "
        "deeplearning-platform-release)",
        "common-cu128-ubuntu-2404-nvidia-570",
        r"[a-z][a-z0-9-]{0,62}",
    ),
    Value("--filestore", "Address of the Filestore instance", "10.0.0.2", _HOST),
    Value(
        "--zone",
        "Zone of the machines",
        "us-central1-a",
        r"[a-z]+-[a-z]+\d+-[a-z]",
        "us-central1-a",
    ),
)
_ON_PREMISE = (
    Value("--head", "Address of the head", "10.0.0.5", _HOST),
    Value(
        "--workers",
        "Addresses of the workers, separated by commas",
        "10.0.0.6,10.0.0.7",
        rf"{_HOST}(,{_HOST})*",
    ),
    Value("--user", "User on all of them", "ubuntu", r"[A-Za-z_][A-Za-z0-9_.-]*"),
    Value(
        "--ssh-key",
        "Key to log in with",
        "~/.ssh/id_ed25519",
        r"[~/][\w./@+-]*",
        "~/.ssh/id_ed25519",
    ),
    Value("--shared", "Folder that all of them share", "/shared", r"/[\w./-]*\w", "/shared"),
)
_KUBERAY = (
    Value(
        "--registry",
        "Registry that the nodes pull images from",
        "registry.example.com/team",
        r"[A-Za-z0-9][A-Za-z0-9.:/_-]*",
    ),
    _BUCKET,
)


def _machines(values: Mapping[str, str]) -> Mapping[str, str]:
    workers = [f'"{worker}"' for worker in values["--workers"].split(",")]
    return {  # quoted: YAML takes some names for numbers or truth values
        "head-FILL-IN": f'"{values["--head"]}"',
        "[worker-1-FILL-IN, worker-2-FILL-IN]": f"[{', '.join(workers)}]",
        "min_workers: 2": f"min_workers: {len(workers)}",
        "max_workers: 2": f"max_workers: {len(workers)}",
        "user-FILL-IN": f'"{values["--user"]}"',
        "~/.ssh/id_ed25519": values["--ssh-key"],
        "/shared": values["--shared"],
    }


SHIPPED = {
    "aws": Shipped(
        "cluster.yaml",
        (_REGION, _ZONES, _IMAGE, _BUCKET),
        lambda values: {
            "us-west-2a,us-west-2b,us-west-2c": values["--zones"],
            "us-west-2": values["--region"],
            "ami-FILL-IN": values["--image"],
            "bucket-FILL-IN": values["--bucket"],
        },
    ),
    "gcp": Shipped(
        "clusters/gcp.yaml",
        _GCP,
        lambda values: {
            "us-central1-a": values["--zone"],
            "us-central1": values["--zone"].rpartition("-")[0],
            "project-FILL-IN": values["--project"],
            "image-FILL-IN": values["--image"],
            "filestore-FILL-IN": values["--filestore"],
        },
    ),
    "on-premise": Shipped("clusters/on-premise.yaml", _ON_PREMISE, _machines),
    "kuberay": Shipped(
        "clusters/kuberay.yaml",
        _KUBERAY,
        lambda values: {
            "registry-FILL-IN": values["--registry"],
            "bucket-FILL-IN": values["--bucket"],
        },
    ),
}


def filled_in(kind: str, values: Mapping[str, str], file: Path) -> str:
    """A shipped file with a user's values; its comments stay.

    Args:
        kind: A key of `SHIPPED`.
        values: Option → value, for every value of that file.
        file: Where it will be; its own commands then name it.
    """
    shipped = SHIPPED[kind]
    text = _NUMBER.sub(lambda found: found[1].upper(), _shipped_text(shipped.name))
    for before in ("cluster check ", "cluster up ", "--cluster ", "apply -f ", "delete -f "):
        text = text.replace(before + shipped.name, f"{before}{file}")
    for mark, value in shipped.replaced(values).items():
        text = text.replace(mark, value)
    return text.replace(_RAY, version("ray"))


def _shipped_text(name: str) -> str:
    base = Path(name).name
    file = next(of for folder in _FOLDERS if (of := folder / base).is_file())
    return read_text(file)


def checkout() -> Path | None:
    """The source tree that this package is imported from; None if a wheel was installed."""
    return _PACKAGE.parent if (_PACKAGE.parent / "pyproject.toml").is_file() else None
