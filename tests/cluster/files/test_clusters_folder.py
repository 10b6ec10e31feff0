"""The launcher's files of `clusters/`: as they are, and checked once they are filled in."""

from __future__ import annotations

import importlib.util
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

import pcsearch
from pcsearch.cluster.files.check import check_cluster_file
from pcsearch.recipe.load import load_recipe
from tests.cluster.files.test_cluster_yaml import assert_installs_anew

FOLDER = Path(__file__).resolve().parents[3] / "clusters"
FILES = ["gcp.yaml", "on-premise.yaml"]
NO_CLIENT = (
    []
    if importlib.util.find_spec("googleapiclient")
    else ["google-api-python-client is not installed, but `ray up` needs it"]
)
ROOM = (
    "the machines' CPUs and GPUs are not in the file, so this check cannot tell whether a trial "
    "fits"
)
FIREWALL = "Google Cloud's firewall rules are not in the file, so they were not checked"


def filled(file: str) -> dict[str, Any]:
    text = (FOLDER / file).read_text().replace("FILL-IN", "x").replace("2.60.0", version("ray"))
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def test_all_files_name_one_version_of_ray() -> None:
    files = [FOLDER.parent / "cluster.yaml", *(file for file in FOLDER.iterdir())]
    named = {found for file in files for found in re.findall(r"\b2\.\d\d\.\d\b", file.read_text())}
    assert named - {"2.22.0"} == {"2.60.0"}  # the other is the AWS CLI's


@pytest.fixture
def google(home: Path) -> Path:
    """Credentials of Google Cloud as gcloud leaves them."""
    file = home / ".config/gcloud/application_default_credentials.json"
    file.parent.mkdir(parents=True)
    made_up = {"client_id": "x", "client_secret": "x", "refresh_token": "x"}
    file.write_text(json.dumps({"type": "authorized_user"} | made_up))
    return file


@pytest.mark.parametrize(
    ("file", "prices", "wanted"),
    [
        ("gcp.yaml", {"head": 0.1, "gpu-spot": 0.4}, [*NO_CLIENT, FIREWALL]),
        ("on-premise.yaml", {}, [ROOM]),
    ],
)
@pytest.mark.usefixtures("google")
def test_it_passes_once_it_is_filled_in(
    file: str, prices: dict[str, float], wanted: list[str], home: Path
) -> None:
    recipe = load_recipe("cub200", ["data.root=/shared/data"])
    found = list(check_cluster_file(filled(file), folder=home, recipes=[recipe], prices=prices))
    assert [f.text for f in found if f.level != "fine"] == wanted


@pytest.mark.parametrize("file", FILES)
def test_it_installs_this_version_and_opens_nothing(file: str) -> None:
    config = filled(file)
    wheel = f"pcsearch-{pcsearch.__version__}-py3-none-any.whl"
    assert config["file_mounts"][f"~/{wheel}"] == f"dist/{wheel}"
    assert_installs_anew(config["setup_commands"], wheel)
    assert "0.0.0.0" not in (FOLDER / file).read_text()
    for role in ("head", "worker"):
        (start,) = [line for line in config[f"{role}_start_ray_commands"] if "ray start" in line]
        assert "RAY_AUTH_MODE=token" in start
        assert ("--dashboard-host=127.0.0.1" in start) == (role == "head")


@pytest.mark.parametrize("file", FILES)
def test_images_elsewhere_than_in_the_shared_folder(file: str, home: Path) -> None:
    found = check_cluster_file(
        filled(file), folder=home, recipes=[load_recipe("cub200", ["data.root=/data"])]
    )
    (text,) = [f.text for f in found if "data.root" in f.text]
    assert "cub200 reads data.root /data, which is not in a folder that every node has: " in text
    assert text.endswith(" every node has: /shared")


def test_a_folder_that_set_up_commands_assert_is_taken_for_shared(home: Path) -> None:
    config = filled("on-premise.yaml")
    found = list(check_cluster_file(config, folder=home))
    assert any(f.text == "only nodes that mount /shared are used" for f in found)
    assert all(f.remedy for f in found if f.level != "fine")
    config["setup_commands"].remove("mountpoint -q /shared")
    (told,) = [f for f in check_cluster_file(config, folder=home) if "share a folder" in f.text]
    assert told.level == "warning"
    assert "mountpoint -q" in told.remedy


def test_machines_that_the_world_can_reach(home: Path) -> None:
    """Ray listens on every interface of theirs."""
    config = filled("on-premise.yaml")

    def told() -> list[str]:
        return [
            f.text
            for f in check_cluster_file(config, folder=home)
            if "the world can reach" in f.text
        ]

    config["provider"].update(head_ip="192.168.1.4", worker_ips=["10.0.0.5", "node-3"])
    assert told() == []
    config["provider"]["worker_ips"] += ["8.8.4.4", "2001:4860:4860::8888"]
    (text,) = told()
    assert "the world can reach 8.8.4.4, 2001:4860:4860::8888 (" in text
    config["provider"].update(head_ip="8.8.8.8", worker_ips=None)
    assert "the world can reach 8.8.8.8 (" in told()[0]


def test_google_credentials_are_missed_and_read(google: Path, home: Path) -> None:
    pytest.importorskip("google.auth", reason="comes with ray[default]")
    google.write_text("{}")
    found = [
        f.text for f in check_cluster_file(filled("gcp.yaml"), folder=home) if f.level == "problem"
    ]
    assert any("Google Cloud credentials cannot be read" in text for text in found)
    google.unlink()
    found = [
        f.text for f in check_cluster_file(filled("gcp.yaml"), folder=home) if f.level == "problem"
    ]
    assert found == [*NO_CLIENT, "there are no Google Cloud credentials on this machine"]


def test_skypilot_takes_its_file() -> None:
    """SkyPilot is not installed for the tests: its dependencies are as many as ours."""
    sky = pytest.importorskip("sky")
    task = sky.Task.from_yaml_config(yaml.safe_load((FOLDER / "sky.yaml").read_text()))
    assert task.envs.keys() >= {"RECIPE", "RUNS", "RUN"}
