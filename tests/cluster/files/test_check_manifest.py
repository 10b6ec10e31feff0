"""`pcsearch cluster check` of a manifest for KubeRay: each mistake is found, and found alone."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pcsearch.cluster.files.check import check_cluster_file
from pcsearch.cluster.files.cluster_file import load_cluster_file
from pcsearch.errors import UserError
from pcsearch.recipe.load import load_recipe

FILE = Path(__file__).resolve().parents[3] / "clusters/kuberay.yaml"
RAY = version("ray")
Documents = list[dict[str, Any]]


def shipped() -> Documents:
    text = FILE.read_text().replace("FILL-IN", "x").replace("2.60.0", RAY)
    return list(yaml.safe_load_all(text))


def findings(documents: Documents, folder: Path, **options: Any) -> list[Any]:
    file = folder / "manifest.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return list(check_cluster_file(load_cluster_file(file), folder=folder, **options))


def test_the_shipped_manifest_passes_once_it_is_filled_in(tmp_path: Path) -> None:
    recipe = load_recipe("cub200", ["data.root=/data"])
    prices = {"headgroup": 0.1, "gpu": 0.4}
    found = findings(shipped(), tmp_path, recipes=[recipe], prices=prices)
    assert [f.text for f in found if f.level != "fine"] == []
    assert any("1 on a gpu; 8 at once at most" in f.text for f in found)
    assert any("0.10 an hour idle and 3.30 an hour at most" in f.text for f in found)
    assert any("runs are kept at s3://bucket-x/runs" in f.text for f in found)


def spec(documents: Documents) -> dict[str, Any]:
    found: dict[str, Any] = documents[0]["spec"]
    return found


def head(documents: Documents) -> dict[str, Any]:
    found: dict[str, Any] = spec(documents)["headGroupSpec"]
    return found


def gpu(documents: Documents) -> dict[str, Any]:
    found: dict[str, Any] = spec(documents)["workerGroupSpecs"][0]
    return found


def pod(group: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = group["template"]["spec"]
    return found


def kind(name: str, **inner: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": name, "metadata": {"name": "more"}, "spec": inner}


def ingress() -> dict[str, Any]:
    backend = {"service": {"name": "pcsearch-head-svc", "port": {"number": 8265}}}
    return kind("Ingress", rules=[{"http": {"paths": [{"path": "/", "backend": backend}]}}])


def environment(group: dict[str, Any], name: str, value: str) -> None:
    container = pod(group)["containers"][0]
    container["env"] = [*container.get("env", []), {"name": name, "value": value}]


MISTAKES: dict[str, tuple[Callable[[Documents], object], str]] = {
    "a Service for the world": (
        lambda d: head(d).update(serviceType="LoadBalancer"),
        "the head's Service is a LoadBalancer, so Ray's ports are open",
    ),
    "the head's own Service": (
        lambda d: head(d).update(headService={"spec": {"type": "NodePort"}}),
        "the head's Service is a NodePort",
    ),
    "an Ingress by KubeRay": (lambda d: head(d).update(enableIngress=True), "an Ingress leads to"),
    "an Ingress beside it": (lambda d: d.append(ingress()), "the Ingress more leads to the head"),
    "a Service beside it, by its port": (
        lambda d: d.append(kind("Service", type="NodePort", ports=[{"port": 8265}])),
        "the Service more is a NodePort",
    ),
    "a Service beside it, by its selector": (
        lambda d: d.append(kind("Service", type="LoadBalancer", selector={"ray.io/cluster": "c"})),
        "the Service more is a LoadBalancer",
    ),
    "the machines' network": (
        lambda d: pod(gpu(d)).update(hostNetwork=True),
        "gpu: its pods listen at the addresses of their machines",
    ),
    "a port of the machine": (
        lambda d: pod(head(d))["containers"][0].update(ports=[{"containerPort": 1, "hostPort": 1}]),
        "head: its pods listen at the addresses of their machines",
    ),
    "no token": (lambda d: spec(d).pop("authOptions"), "the pods get no token"),
    "token off": (lambda d: spec(d).update(authOptions={"mode": "disabled"}), "is off"),
    "token off in a pod": (
        lambda d: environment(gpu(d), "RAY_AUTH_MODE", "disabled"),
        "token authentication is off",
    ),
    "a token in the file": (
        lambda d: environment(head(d), "RAY_AUTH_TOKEN", "abc"),
        "a token is written in the file",
    ),
    "a token in a Secret of the file": (
        lambda d: d.append({"kind": "Secret", "stringData": {"auth_token": "a"}}),
        "a token is written in the file",
    ),
    "a key that is nearly one": (
        lambda d: spec(d).update(enableInTreeAutoscalin=True),
        "spec.enableInTreeAutoscalin: KubeRay 1.7 has no such key, did you mean",
    ),
    "an old API": (
        lambda d: d[0].update(apiVersion="ray.io/v1alpha1"),
        "apiVersion is ray.io/v1al",
    ),
    "a name with capitals": (
        lambda d: d[1]["metadata"].update(name="First"),
        "KubeRay refuses this name",
    ),
    "a number for a text": (
        lambda d: head(d)["rayStartParams"].update({"num-cpus": 0}),
        "head: rayStartParams.num-cpus is 0, but must be a text",
    ),
    "resources stated twice": (
        lambda d: head(d).update(resources={"CPU": "0"}),
        "both resources and rayStartParams state its resources",
    ),
    "pods that are started again": (
        lambda d: pod(gpu(d)).update(restartPolicy="Always"),
        "gpu: restartPolicy must be Never",
    ),
    "a job for another cluster": (
        lambda d: d[1]["spec"].update(clusterSelector={"ray.io/cluster": "other"}),
        "its clusterSelector names other, but the cluster of this file is pcsearch",
    ),
    "a job that is tried again": (
        lambda d: d[1]["spec"].update(backoffLimit=2),
        "clusterSelector excludes backoffLimit and SidecarMode",
    ),
    "runs in a pod's own folder": (
        lambda d: d[1]["spec"].update(entrypoint="pcsearch tune cub200 --runs /tmp/runs"),
        "the pods share no folder",
    ),
    "another Ray in the image": (
        lambda d: pod(gpu(d))["containers"][0].update(image="rayproject/ray:2.57.0-py312"),
        f"the file states several versions of Ray: 2.57.0 and {RAY}",
    ),
    "too old a Python": (
        lambda d: pod(gpu(d))["containers"][0].update(image=f"rayproject/ray:{RAY}-py310-gpu"),
        "the nodes get Python 3.10",
    ),
    "a secret key in the file": (
        lambda d: (
            pod(gpu(d))["containers"][0]
            .setdefault("env", [])
            .append({"name": "AWS_SECRET_ACCESS_KEY", "value": "abc"})
        ),
        "gpu: AWS_SECRET_ACCESS_KEY is written in the file",
    ),
    "not filled in": (
        lambda d: pod(head(d))["containers"][0].update(image="FILL-IN"),
        "spec.headGroupSpec.template.spec.containers[0].image must still be filled in",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_found_alone(mistake: str, tmp_path: Path) -> None:
    change, message = MISTAKES[mistake]
    documents = shipped()
    change(documents)
    found = [f for f in findings(documents, tmp_path) if f.level == "problem"]
    assert [message in f.text for f in found] == [True], found
    assert found[0].remedy


def test_a_trial_that_fits_on_no_pod(tmp_path: Path) -> None:
    recipe = load_recipe("cub200", ["data.root=/data", "resources.cpus_per_trial=6"])
    found = findings(shipped(), tmp_path, recipes=[recipe])
    (text,) = [f.text for f in found if f.level == "problem"]
    assert "no node has room for one (gpu 4 CPUs and 1 GPU)" in text


def test_images_that_no_volume_brings_may_be_in_the_pods_image(tmp_path: Path) -> None:
    found = findings(shipped(), tmp_path, recipes=[load_recipe("cub200", ["data.root=/images"])])
    (one,) = [f for f in found if "data.root" in f.text]
    assert one.level == "warning"
    assert "cub200 reads data.root /images, which is not in a folder that every" in one.text
    assert one.text.endswith(" every node has: /data")


def test_a_token_of_a_secret_and_a_claim_that_all_pods_share(tmp_path: Path) -> None:
    documents = shipped()[:1]
    del spec(documents)["authOptions"]
    reference = {"secretKeyRef": {"name": "t", "key": "auth_token"}}
    for group in (head(documents), gpu(documents)):
        environment(group, "RAY_AUTH_MODE", "token")
        ray = pod(group)["containers"][0]
        ray["env"].append({"name": "RAY_AUTH_TOKEN", "valueFrom": reference})
        ray["volumeMounts"] = [*ray["volumeMounts"], {"name": "all", "mountPath": "/shared"}]
        claim = {"name": "all", "persistentVolumeClaim": {"claimName": "all"}}
        pod(group)["volumes"] = [*pod(group)["volumes"], claim]
    found = findings(documents, tmp_path)
    assert [f.text for f in found if f.level == "problem"] == []
    assert any("all pods share /shared" in f.text for f in found)
    (outside,) = [f for f in findings(documents, tmp_path, runs="/tmp/r") if f.level == "problem"]
    assert "runs at /tmp/r would be in a separate folder in each pod" in outside.text
    assert "a folder below /shared" in outside.remedy
    inside = findings(documents, tmp_path, runs="/shared/runs")
    assert [f.text for f in inside if f.level == "problem"] == []
    by_default = [*documents, shipped()[1]]
    by_default[1]["spec"]["entrypoint"] = "pcsearch tune cub200 data.root=/data"
    (outside,) = [f for f in findings(by_default, tmp_path) if f.level == "problem"]
    assert outside.text.startswith("runs at runs would be in a separate folder")
    claim["persistentVolumeClaim"] = {"claimName": "another"}
    found = findings(documents, tmp_path)
    assert any("the pods share no folder" in f.text for f in found)


def test_what_costs_or_helps_less_than_it_might(tmp_path: Path) -> None:
    documents = shipped()
    spec(documents)["enableInTreeAutoscaling"] = False
    gpu(documents)["minReplicas"] = 2
    head(documents)["rayStartParams"] = {}
    pod(gpu(documents))["volumes"] = [{"name": "images", "emptyDir": {}}]
    texts = [f.text for f in findings(documents, tmp_path) if f.level == "warning"]
    assert "the number of workers does not follow the trials" in texts
    assert "min_workers: 2 of gpu run, and cost money, even without trials" in texts
    assert any(text.startswith("the head has room for trials") for text in texts)
    assert "gpu: the file gives no credentials for s3://bucket-x/runs" in texts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: RayCluster", "RayCluster without a name: headGroupSpec must be a mapping"),
        ("{kind: RayJob, spec: {clusterSelector: {}}}", "holds no Ray cluster"),
        ("kind: RayCluster\n---\n- a", "each document and its spec must be mappings"),
        ("{kind: RayCluster, spec: [1]}", "each document and its spec must be mappings"),
        ("{kind: RayCluster, spec: {workerGroupSpecs: 1}}", "workerGroupSpecs in it a list"),
        ("{kind: RayCluster, spec: {headGroupSpec: {template: {}}}}", "template.spec.containers"),
        (FILE.read_text().replace("minReplicas: 0", "minReplicas: 9"), "is more than maxReplicas"),
        (FILE.read_text().replace("maxReplicas: 8", "maxReplicas: many"), "must be whole numbers"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_cluster_file(file)


def test_two_clusters_and_a_quantity_that_is_none_are_refused(tmp_path: Path) -> None:
    two = shipped()[:1] * 2
    with pytest.raises(UserError, match="holds 2 Ray clusters"):
        findings(two, tmp_path)
    documents = shipped()
    pod(gpu(documents))["containers"][0]["resources"]["limits"]["cpu"] = "many"
    with pytest.raises(UserError, match="RayCluster pcsearch: "):
        findings(documents, tmp_path)


JUNK = (
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=5) | st.just([]) | st.just({})
)
PLACES: list[Callable[[Documents], dict[str, Any]]] = [
    spec,
    head,
    gpu,
    lambda d: pod(head(d)),
    lambda d: pod(gpu(d))["containers"][0],
    lambda d: d[1]["spec"],
    lambda d: d[0],
]


@settings(max_examples=100, deadline=None)
@given(place=st.sampled_from(PLACES), junk=JUNK, choice=st.data())
def test_junk_is_refused_or_checked_but_never_a_traceback(
    place: Callable[[Documents], dict[str, Any]],
    junk: Any,
    choice: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    documents = shipped()
    there = place(documents)
    there[choice.draw(st.sampled_from(sorted(there)))] = junk
    folder = tmp_path_factory.mktemp("junk")
    try:
        findings(documents, folder, recipes=[load_recipe("cub200")])
    except UserError:
        return
