"""`pcsearch cluster init`: write a cluster file of one's own, from a shipped one."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcsearch.cli import ctrl_c
from pcsearch.cli.options import examples, register
from pcsearch.errors import UserError

if TYPE_CHECKING:
    from pcsearch.cluster.files.shipped import Value

app = typer.Typer(
    no_args_is_help=True,
    help="Write a cluster file of your own, make the token, build the wheel, and check all of it.",
)

_File = Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")]
_FILE = Path("my-cluster.yaml")
_Force = Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")]
_Text = str | None


def _option(text: str, metavar: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(metavar=metavar, help=text, show_default=False)
    return found


_Bucket = Annotated[_Text, _option("S3 bucket for images (data/) and runs (runs/).", "NAME")]


def aws(
    file: _File = _FILE,
    region: Annotated[_Text, _option("Region of the bucket and the machines.", "REGION")] = None,
    zones: Annotated[
        _Text, _option("Zones of the region; with credentials, all of it.", "ZONE,...")
    ] = None,
    image: Annotated[
        _Text,
        _option(
            "Image with Ubuntu 24.04 and NVIDIA drivers; with credentials, the newest of AWS's "
            "parameter store.",
            "AMI",
        ),
    ] = None,
    bucket: _Bucket = None,
    force: _Force = False,
) -> None:
    """Write a file for AWS: a small head, and GPU workers on spot and on demand.

    What no option gives is asked. It also builds the wheel for the nodes and makes the token, once.
    Then it runs pcsearch cluster check. Nothing is started.

    Exit codes: 0 no problem, 2 a problem.
    """
    given = {"--region": region, "--zones": zones, "--image": image, "--bucket": bucket}
    _init("aws", file, given, force)


def gcp(
    file: _File = _FILE,
    project: Annotated[_Text, _option("Project that pays.", "NAME")] = None,
    image: Annotated[
        _Text, _option("Image family with Ubuntu 24.04 and NVIDIA drivers.", "FAMILY")
    ] = None,
    filestore: Annotated[
        _Text, _option("Address of the Filestore instance for images and runs.", "HOST")
    ] = None,
    zone: Annotated[_Text, _option("Zone of the machines.", "ZONE")] = None,
    force: _Force = False,
) -> None:
    """Write a file for Google Cloud: a small head, and GPU workers on spot.

    What no option gives is asked. It also builds the wheel for the nodes and makes the token, once.
    Then it runs pcsearch cluster check. Nothing is started.

    Exit codes: 0 no problem, 2 a problem.
    """
    given = {"--project": project, "--image": image, "--filestore": filestore, "--zone": zone}
    _init("gcp", file, given, force)


def on_premise(
    file: _File = _FILE,
    head: Annotated[_Text, _option("Address of the head.", "HOST")] = None,
    workers: Annotated[_Text, _option("Addresses of the workers.", "HOST,...")] = None,
    user: Annotated[_Text, _option("User on all of them.", "NAME")] = None,
    ssh_key: Annotated[_Text, _option("Key to log in with.", "FILE")] = None,
    shared: Annotated[_Text, _option("Folder that all of them share.", "DIR")] = None,
    force: _Force = False,
) -> None:
    """Write a file for machines that exist, and that this one reaches through SSH.

    What no option gives is asked. It also builds the wheel for the nodes and makes the token, once.
    Then it runs pcsearch cluster check. Nothing is started.

    Exit codes: 0 no problem, 2 a problem.
    """
    given = {"--head": head, "--workers": workers, "--user": user}
    _init("on-premise", file, given | {"--ssh-key": ssh_key, "--shared": shared}, force)


def kuberay(
    file: _File = _FILE,
    registry: Annotated[
        _Text, _option("Registry that the nodes pull the image from.", "HOST/PATH")
    ] = None,
    bucket: _Bucket = None,
    force: _Force = False,
) -> None:
    """Write a manifest for Kubernetes with KubeRay.

    What no option gives is asked. It also builds the wheel for the image. Then it runs pcsearch
    cluster check. Nothing is started.

    Exit codes: 0 no problem, 2 a problem.
    """
    _init("kuberay", file, {"--registry": registry, "--bucket": bucket}, force)


for _name, _command, _epilog in (
    ("aws", aws, "pcsearch cluster init aws --bucket my-bucket --region us-west-2"),
    ("gcp", gcp, "pcsearch cluster init gcp google.yaml --project my-project"),
    (
        "on-premise",
        on_premise,
        "pcsearch cluster init on-premise --head node-1 --workers node-2,node-3",
    ),
    ("kuberay", kuberay, "pcsearch cluster init kuberay --registry registry.example.com/team"),
):
    register(app, _name, _command, examples(_epilog))


def _init(kind: str, file: Path, given: Mapping[str, str | None], force: bool) -> None:
    """Fill in a shipped file, with all that it needs on this machine."""
    from pcsearch.cli.cluster.check import findings_of, print_findings, refuse_problems
    from pcsearch.cluster.files.shipped import filled_in
    from pcsearch.cluster.session.security import make_token
    from pcsearch.io import expanded, replacing

    with ctrl_c.told_as("before the file was written; the same command asks again") as told:
        if file.exists() and not force:
            raise UserError(f"{file}: already exists; choose another name, or give --force")
        values = _values(kind, {option: text for option, text in given.items() if text is not None})
        typer.echo(f"{_wheel()}: pcsearch for the nodes")
        token = Path("~/.ray/auth_token")
        if kind != "kuberay":  # KubeRay makes a token itself
            made = make_token(expanded(token))
            typer.echo(f"{token}: {'made; only you can read it' if made else 'is there already'}")
        try:
            with replacing(file) as new:
                new.write_text(filled_in(kind, values, file), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{file}: cannot be written: {error.strerror}") from None
        told.words = f"after {file} was written"
        typer.echo(f"{file}: written\n")
        findings = findings_of(file, None, None, None)
        print_findings(findings)
        refuse_problems(file, findings, f"; then check again: pcsearch cluster check {file}")
        typer.echo(f"\n{_next(kind, file, values)}")


def _values(kind: str, given: Mapping[str, str]) -> dict[str, str]:
    """Every value of a shipped file: given, known to the account, asked, or its default.

    Raises:
        UserError: a value has the wrong form; or several are missing, without a terminal to ask.
    """
    from pcsearch.cli.console import note
    from pcsearch.cluster.files.aws_account import has_credentials
    from pcsearch.cluster.files.shipped import SHIPPED

    wanted = SHIPPED[kind].values
    found = {
        value.option: value.checked(given[value.option])
        for value in wanted
        if value.option in given
    }
    if kind == "aws" and not has_credentials() and len(found) < len(wanted):
        note("no AWS credentials on this machine, so your account cannot say the zones and image")
    missing = []
    for value in wanted:
        if value.option in found:
            continue
        known = _of_account(value.option, found.get("--region")) if kind == "aws" else None
        if known is not None:
            found[value.option] = value.checked(known)
        elif sys.stdin.isatty():
            found[value.option] = _asked(value)
        elif value.default is not None:
            found[value.option] = value.default
        else:
            missing.append(f"{value.option} {value.example} ({value.question})")
    if missing:
        raise UserError(
            "\n".join(["cannot ask without a terminal; give the missing values:", *missing])
        )
    return found


def _of_account(option: str, region: str | None) -> str | None:
    """What this machine's AWS account says about a value; None without credentials."""
    from pcsearch.cli.console import note
    from pcsearch.cluster.files import aws_account

    look = {"--zones": aws_account.zones, "--image": aws_account.newest_image}.get(option)
    if look is None or region is None or not aws_account.has_credentials():
        return None
    try:
        known = look(region)
    except OSError as error:
        note(f"AWS does not say {option} for {region}: {error}")
        return None
    typer.echo(f"{option} {known}: from your AWS account, for {region}")
    return known


def _asked(value: Value) -> str:
    """The answer of a person; asked again until it has the value's form."""
    while True:
        try:
            such = "" if value.default else f", such as {value.example}"
            text = typer.prompt(f"{value.question}{such}", default=value.default)
        except typer.Abort:  # Ctrl-C, or the end of the input
            typer.echo(err=True)
            raise KeyboardInterrupt from None
        try:
            return value.checked(text.strip())
        except UserError as error:
            typer.echo(str(error), err=True)


def _wheel() -> Path:
    """Build the wheel of this checkout into dist/.

    Raises:
        UserError: it cannot be built, and is not there already.
    """
    from pcsearch.cluster.files.shipped import WHEEL, checkout

    wheel, source = Path("dist", WHEEL), checkout()
    if source is None:
        if wheel.is_file():
            return wheel
        raise UserError(
            f"there is no {wheel}, and pcsearch was installed without its source; put the wheel "
            f"that you installed there, or build it: pip wheel --no-deps -w dist CHECKOUT"
        )
    typer.echo("building the wheel ...", err=True)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(wheel.parent)]
    if importlib.util.find_spec("hatchling") is not None:
        command.append("--no-build-isolation")  # it needs no download
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    if done.returncode or not wheel.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(
            f"{wheel}: cannot be built ({lines[-1] if lines else 'pip wrote nothing'}); build it "
            f"with: pip wheel --no-deps -w dist {source}"
        )
    return wheel


def _next(kind: str, file: Path, values: Mapping[str, str]) -> str:
    """The next command, with the places of images and runs."""
    where = shlex.quote(str(file))
    if kind == "kuberay":
        return (
            f"Next: build and push the image, as the first lines of {where} say, then: "
            f"kubectl apply -f {where}"
        )
    shared = values.get("--shared", "/shared")
    root, runs = (
        ("/home/ubuntu/data", f"s3://{values['--bucket']}/runs")
        if kind == "aws"
        else (f"{shared}/data", f"{shared}/runs")
    )
    return (
        f"The first lines of {where} say what to do once. Next: pcsearch tune RECIPE "
        f"data.root={root} --runs {runs} --cluster {where}"
    )
