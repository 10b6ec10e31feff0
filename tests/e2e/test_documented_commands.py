"""Every command of README, the tutorial and the questions, run in their order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.docs_reference import commands
from tests.e2e.cli import PACKAGE, CommandLine
from tests.e2e.pictures import save_classes

SMALL = (
    "search.trials=2 search.startup_trials=1 asha.max_epochs=2 asha.grace_epochs=1 "
    "train.warmup_epochs=0 finalists.configs=1 finalists.repeats=2 confirm.seeds=2"
)
NO_DOWNLOAD = "'backbones=[compact_cnn]' weights=none image.resize=40 image.crop=32"

CLOUD = (
    "tune cub200 data.root=/home/ubuntu/data --runs s3://BUCKET/runs "
    "--cluster my-cluster.yaml --down"
)

INSTEAD = {
    # campaigns: small, and with a network that needs no download
    "plan --images ~/birds": f"plan --images ~/birds {NO_DOWNLOAD}",
    "tune --images ~/birds": f"tune --images ~/birds --name first-try {NO_DOWNLOAD} {SMALL}",
    "resume first-try search.trials=40 confirm.seeds=10": (
        "resume first-try search.trials=3 confirm.seeds=3"
    ),
    "tune birds.yaml --images birds --name first-try": (
        f"tune birds.yaml --images birds --name first-try {SMALL}"
    ),
    "resume first-try confirm.seeds=10": "resume first-try confirm.seeds=3",
    # campaigns that other tests run, or that take too long: their recipes are checked
    "tune quickstart": "recipes validate quickstart",
    "tune --images ~/birds 'backbones=[mobilenet_v2]' search.trials=30": (
        "recipes validate my-images-cpu 'backbones=[mobilenet_v2]' search.trials=30"
    ),
    "tune my-manifest data.manifest=birds.csv": (
        "recipes validate my-manifest data.manifest=birds.csv"
    ),
    # data sets that are not here, or a download: options are checked, and the recipe
    "data get cub200 --root data": "data get cub200 --root data --help",
    "data verify cub200 --root data": "data verify cub200 --root data --help",
    "tune cub200 data.root=data": "recipes validate cub200 data.root=data",
    # needs a cloud
    "cluster init aws": "cluster init aws --help",
    CLOUD: f"{CLOUD} --help",
    "cluster attach my-cluster.yaml": "cluster attach my-cluster.yaml --help",
    # would change the shell of whoever tests
    "--install-completion": "--help",
    # half of a command: the sentence around it has the recipe
    "tune --hours 2": "tune --hours 2 --help",
}
"""What runs instead of a command, so that nothing is downloaded and the tests take a minute."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`pcsearch ([^`]+)`")
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b")
EXIT_CODE = re.compile(r"exit code (\d+)")


@dataclass(frozen=True)
class Documented:
    """A command in a document, without `pcsearch`, and the exit code that a comment states."""

    text: str
    code: int = 0

    @classmethod
    def of_line(cls, line: str) -> Documented:
        """A line of a block; what it does follows `#` or a wide gap."""
        words, comment = re.fullmatch(r"(.*?)(\s#.*|\s{3,}.*)?", line).groups("")  # type: ignore[union-attr]
        stated = EXIT_CODE.search(comment)
        text = words.removeprefix("pcsearch ").partition(" | ")[0].strip()
        return cls(text, int(stated[1]) if stated else 0)

    def arguments(self, home: Path) -> list[str]:
        """What the command line gets."""
        words = shlex.split(INSTEAD.get(self.text, self.text))
        return [f"{home}{word[1:]}" if word.startswith("~/") else word for word in words]


def blocks(document: str) -> list[tuple[str, str]]:
    """The fenced blocks of a document: language and content."""
    return FENCE.findall((PACKAGE / document).read_text())


def in_blocks(document: str) -> list[Documented]:
    joined = [re.sub(r"\s*\\\n\s*", " ", block) for _, block in blocks(document)]
    lines = [line for block in joined for line in block.splitlines()]
    return [Documented.of_line(line) for line in lines if line.startswith("pcsearch ")]


def in_sentences(document: str) -> list[Documented]:
    """Commands within sentences and tables. Usages and names without arguments ask for help."""
    text = FENCE.sub("", (PACKAGE / document).read_text())
    found = []
    for span in INLINE.findall(text):
        words = " ".join(span.split()).replace("\\|", "|").partition(" | ")[0]
        for one in _alternatives(words):
            is_name = any(names[: len(one.split())] == tuple(one.split()) for names in commands())
            help_only = is_name or PLACEHOLDER.search(one)
            found.append(f"{one} --help" if help_only else one)
    return [Documented(one) for one in dict.fromkeys(found)]


def _alternatives(words: str) -> list[str]:
    """`data ls|get` stands for two commands."""
    choice = next((word for word in words.split() if "|" in word and word.islower()), None)
    return [words] if choice is None else [words.replace(choice, one) for one in choice.split("|")]


def run(pcsearch: CommandLine, documented: list[Documented]) -> None:
    for command in documented:
        result = pcsearch.run(*command.arguments(pcsearch.folder))
        assert result.code == command.code, f"pcsearch {command.text}: {result}"


def run_in_shell(text: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "PYTHONPATH": str(PACKAGE)}
    subprocess.run(["bash", "-c", text], cwd=folder, env=environment, check=True)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_readme(pcsearch: CommandLine) -> None:
    save_classes(pcsearch.folder / "birds", images=40)
    for kind, text in blocks("README.md"):
        if kind == "yaml":
            (pcsearch.folder / "written.yaml").write_text(text)
            run(pcsearch, [Documented("recipes validate written.yaml")])
    assert len(in_blocks("README.md")) > 10
    run(pcsearch, in_blocks("README.md"))
    run(pcsearch, in_sentences("README.md"))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_tutorial(pcsearch: CommandLine) -> None:
    folder = pcsearch.folder
    for kind, text in blocks("docs/tutorial.md"):
        if kind == "yaml":
            (folder / text.split()[1]).write_text(text)
        elif kind == "sh":
            for line in text.splitlines() if "\npcsearch " in f"\n{text}" else [text]:
                if line.startswith("pcsearch "):
                    run(pcsearch, [Documented.of_line(line)])
                else:
                    run_in_shell(line, folder)
    assert len(list(folder.glob("birds/*/*.jpg"))) == 480
    assert (folder / "runs/first-try/report.html").stat().st_size > 10_000
    assert list(folder.glob("runs/first-try/weights/*.safetensors"))
    run(pcsearch, in_sentences("docs/tutorial.md"))


@pytest.mark.slow
def test_questions(pcsearch: CommandLine) -> None:
    assert not in_blocks("docs/faq.md"), "there is no run here that they could use"
    run(pcsearch, in_sentences("docs/faq.md"))


def test_nothing_runs_instead_of_a_command_that_is_gone() -> None:
    documents = ("README.md", "docs/tutorial.md", "docs/faq.md")
    known = {one.text for name in documents for one in (*in_blocks(name), *in_sentences(name))}
    assert INSTEAD.keys() <= known


def test_python_of_readme() -> None:
    import torch

    (code,) = [text for kind, text in blocks("README.md") if kind == "python"]
    logits = torch.randn(4, 3, requires_grad=True)
    names = {"num_classes": 3, "logits": logits, "labels": torch.tensor([0, 1, 2, 0])}
    exec(code, names)
    assert logits.grad is not None


def test_make_has_the_targets_that_readme_names() -> None:
    named = re.findall(r"(?:^|`)make ([a-z]+)", (PACKAGE / "README.md").read_text(), re.MULTILINE)
    targets = re.findall(r"^([a-z]+):", (PACKAGE / "Makefile").read_text(), re.MULTILINE)
    assert {"quickstart", "test", "check", "fast"} <= set(named) <= set(targets)
