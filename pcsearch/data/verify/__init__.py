"""Check every image of a dataset before any training."""

from pcsearch.data.verify.check import Inspected, inspect, report_on, verify_dataset
from pcsearch.data.verify.report import (
    ClassBalance,
    Duplicate,
    ImageProblem,
    PartSize,
    VerifyReport,
)
from pcsearch.data.verify.write_manifest import check_writable, write_manifest

__all__ = [
    "ClassBalance",
    "Duplicate",
    "ImageProblem",
    "Inspected",
    "PartSize",
    "VerifyReport",
    "check_writable",
    "inspect",
    "report_on",
    "verify_dataset",
    "write_manifest",
]
