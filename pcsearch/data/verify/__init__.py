"""Looking at every image of a dataset before any training."""

from pcsearch.data.verify.check import verify
from pcsearch.data.verify.manifest import write_manifest
from pcsearch.data.verify.report import (
    ClassBalance,
    Duplicate,
    ImageProblem,
    PartSize,
    VerifyReport,
)

__all__ = [
    "ClassBalance",
    "Duplicate",
    "ImageProblem",
    "PartSize",
    "VerifyReport",
    "verify",
    "write_manifest",
]
