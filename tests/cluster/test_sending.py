"""What is sent to a cluster, and what is refused because it means nothing there."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pcsearch.cli.app import app
from pcsearch.cluster.submit import check_fits, further_campaign, new_campaign
from pcsearch.code_consent import VARIABLE
from pcsearch.errors import UserError
from pcsearch.recipe.load import load_recipe, load_recipes

S3 = "s3://my-bucket/runs"


def test_recipes_travel_whole_and_run_on_the_head(tmp_path: Path) -> None:
    recipes = load_recipes(["quickstart", "search.trials=3"])
    package = new_campaign([*recipes, *recipes], tmp_path, runs=S3, name=None)
    words = shlex.split(package.command)
    assert words[:4] == ["pcsearch", "tune", "recipe-1.yaml", "recipe-2.yaml"]
    assert words[4:] == ["--runs", S3, "--address", "auto", "--events"]
    assert [file.name for file in sorted(tmp_path.iterdir())] == words[2:4]
    assert load_recipe(tmp_path / "recipe-1.yaml") == recipes[0]
    assert package.about == {"recipes": "quickstart, quickstart", "runs": S3, "name": ""}


def test_a_name_with_spaces_stays_one_word(tmp_path: Path) -> None:
    recipes = load_recipes(["quickstart"])
    package = new_campaign(recipes, tmp_path, runs="/shared/my runs", name="first try; ls")
    words = shlex.split(package.command)
    assert words[words.index("--runs") + 1] == "/shared/my runs"
    assert words[words.index("--name") + 1] == "first try; ls"


def test_networks_of_ones_own_are_sent_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, sent = tmp_path / "here", tmp_path / "sent"
    for folder in (here / "nets" / "deep" / "__pycache__", sent):
        folder.mkdir(parents=True)
    (here / "one.py").write_text("def small(num_classes): ...")
    (here / "nets" / "deep" / "wide.py").write_text("def net(num_classes): ...")
    (here / "secrets.py").write_text("KEY = 1")
    monkeypatch.chdir(here)
    recipes = load_recipes(["quickstart", "backbones=[one:small, nets.deep.wide:net, resnet18]"])
    monkeypatch.setenv(VARIABLE, "one")
    with pytest.raises(UserError, match=r"is not allowed here.*--allow-code nets"):
        new_campaign(recipes, sent, runs=S3, name=None)
    monkeypatch.setenv(VARIABLE, "one,nets")
    package = new_campaign(recipes, sent, runs=S3, name=None)
    assert package.command.endswith(" --events --allow-code one --allow-code nets")
    files = {str(path.relative_to(sent)) for path in sent.rglob("*") if path.is_file()}
    assert files == {"recipe-1.yaml", "one.py", "nets/deep/wide.py"}


@pytest.mark.parametrize(
    ("recipe", "runs", "message"),
    [
        (["cub200"], S3, "cub200: data.root is data, relative to a folder of this machine"),
        (["cub200", "data.root=/data", "weights=w.pth"], S3, "weights is w.pth"),
        (["quickstart", "search.prior=[first, s3://a/b, runs/c]"], S3, "search.prior holds runs/c"),
        (["quickstart"], "runs", "--runs is runs, a folder of this machine"),
        (["quickstart"], "~/runs", "--runs is ~/runs, a folder of this machine"),
        (["quickstart"], None, "give a place for the runs"),
    ],
)
def test_paths_of_this_machine_are_refused(
    recipe: list[str], runs: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as told:
        new_campaign(load_recipes(recipe), tmp_path, runs=runs, name=None)
    assert message in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_paths_that_any_machine_knows_are_fine(tmp_path: Path) -> None:
    recipes = load_recipes(["cub200", "data.root=~/data", "weights=/w/r.pth"])
    new_campaign(recipes, tmp_path, runs="/shared/runs", name=None)
    text = (tmp_path / "recipe-1.yaml").read_text()
    assert "root: ~/data" in text  # the home folder there, whatever it is here
    assert "/w/r.pth" in text
    assert str(Path.home()) not in text


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    recipes = load_recipes(["cub200", "weights=w.pth"])
    with pytest.raises(UserError) as told:
        new_campaign(recipes * 2, tmp_path, runs="runs", name="one")
    assert len(str(told.value).splitlines()) == 4


def test_a_run_is_gone_on_with_where_it_is(tmp_path: Path) -> None:
    by_address = further_campaign(f"{S3}/first", ["search.trials=9"], tmp_path, runs=None)
    assert by_address.command == (
        f"pcsearch resume {S3}/first search.trials=9 --address auto --events"
    )
    by_name = further_campaign("first", [], tmp_path, runs=S3)
    assert by_name.command == f"pcsearch resume first --runs {S3} --address auto --events"
    assert by_name.label == by_address.label == "first"
    (tmp_path / "one.py").write_text("def small(num_classes): ...")
    (tmp_path / "sent").mkdir()
    module = tmp_path / "one.py"
    own = further_campaign("first", [], tmp_path / "sent", runs=S3, modules=[module])
    assert own.command.endswith(" --events --allow-code one")
    assert [file.name for file in (tmp_path / "sent").iterdir()] == ["one.py"]
    for run, runs in (("first", None), ("runs/first", None), ("first", "runs")):
        with pytest.raises(UserError, match="give the run's s3:// address"):
            further_campaign(run, [], tmp_path, runs=runs)


FILE = Path(__file__).resolve().parents[2] / "cluster.yaml"


def test_a_trial_that_fits_on_no_node_is_told_before_anything_is_asked() -> None:
    check_fits(FILE, load_recipes(["cub200"]), S3)
    with pytest.raises(UserError, match=r"cluster\.yaml: a trial of cub200 needs 64 CPUs"):
        check_fits(FILE, load_recipes(["cub200", "resources.cpus_per_trial=64"]), S3)


def test_storage_and_token_that_fail_on_the_nodes_are_told_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=r"runs at /home/ubuntu/runs .*--runs s3://BUCKET/runs"):
        check_fits(FILE, [], "/home/ubuntu/runs")
    file = tmp_path / "cluster.yaml"
    text = FILE.read_text()
    file.write_text(text.replace("  ~/.ray/auth_token: ~/.ray/auth_token\n", ""))
    with pytest.raises(UserError) as told:
        check_fits(file, load_recipes(["cub200"]), "/runs")
    lines = str(told.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert "the nodes do not get the token" in lines[1]


def test_submit_checks_the_file_before_it_looks_for_the_head(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the head was looked for")

    monkeypatch.setattr("pcsearch.cluster.tunnel.dashboard_of", never)
    new = ["cub200", "data.root=/home/ubuntu/data", "--runs", "/runs"]
    for arguments in (new, ["--resume", "/runs/first"]):
        result = CliRunner().invoke(app, ["cluster", "submit", str(FILE), *arguments])
        assert isinstance(result.exception, UserError), result.output
        assert "no shared folder is mounted" in str(result.exception)


def test_a_head_alone_keeps_runs_where_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "cluster_name: one\n"
        "max_workers: 0\n"
        "provider: {type: local, head_ip: 127.0.0.1, worker_ips: []}\n"
        "file_mounts: {~/.ray/auth_token: /elsewhere/token}\n"
        "head_start_ray_commands:\n"
        "  - PATH=/x:$PATH RAY_AUTH_MODE=token python -m ray.scripts.scripts start --head\n"
        "worker_start_ray_commands: []\n"
    )
    check_fits(file, load_recipes(["quickstart"]), "/tmp/runs")
