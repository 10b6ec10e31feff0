"""`clusters/kuberay.yaml`, and what a campaign in one of its pods learns from Kubernetes."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import os
import re
import shlex
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import pcsearch
from pcsearch.cluster.files.cluster_file import load_cluster_file
from pcsearch.cluster.session.autoscaler import largest_capacity
from pcsearch.errors import UserError
from pcsearch.recipe.load import load_recipe

FOLDER = Path(__file__).resolve().parents[3] / "clusters"
FILE = FOLDER / "kuberay.yaml"


def documents() -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(FILE.read_text())}


@pytest.fixture
def cluster() -> dict[str, Any]:
    found: dict[str, Any] = documents()["RayCluster"]
    return found


@pytest.fixture
def job() -> dict[str, Any]:
    found: dict[str, Any] = documents()["RayJob"]
    return found


def test_rays_autoscaler_reads_it_as_a_head_without_trials_and_gpus_from_none() -> None:
    config = load_cluster_file(FILE)
    head, gpu = config["available_node_types"].values()
    assert (head["resources"]["CPU"], head["resources"]["GPU"]) == (0, 0)
    assert gpu["resources"]["GPU"] == 1
    assert (gpu["min_workers"], gpu["max_workers"]) == (0, 8)
    assert config["idle_timeout_minutes"] == 5
    assert largest_capacity(config).max_trials(1, 1) == 8


def test_it_is_for_kuberays_api_with_token_and_autoscaler(cluster: dict[str, Any]) -> None:
    assert cluster["apiVersion"] == "ray.io/v1"
    assert cluster["kind"] == "RayCluster"
    spec = cluster["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["rayVersion"] == "2.60.0"
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "RAY_AUTH_TOKEN" not in FILE.read_text()


def test_every_pod_has_images_and_credentials_in_the_same_place(cluster: dict[str, Any]) -> None:
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    mounts = [pod["containers"][0]["volumeMounts"] for pod in pods]
    assert mounts[0] == mounts[1]
    assert {mount["mountPath"] for mount in mounts[0]} == {"/data", "/home/ray/.aws"}
    for pod in pods:
        (copy,) = pod["initContainers"]
        assert copy["args"][-2:] == ["s3://bucket-FILL-IN/data", "/data"]
        assert {volume["name"] for volume in pod["volumes"]} == {
            mount["name"] for mount in copy["volumeMounts"]
        }
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1


def test_the_job_runs_a_campaign_on_that_cluster_with_its_run_on_s3(
    job: dict[str, Any], cluster: dict[str, Any]
) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    assert job["spec"]["submissionMode"] == "K8sJobMode"
    words = job["spec"]["entrypoint"].split()
    assert words[:2] == ["pcsearch", "tune"]
    assert words[words.index("--address") + 1] == "auto"
    assert words[words.index("--runs") + 1].startswith("s3://")
    assert words[words.index("--runs") + 1] == job["spec"]["metadata"]["runs"]


def test_it_is_a_campaign_to_attach_to_as_those_that_submit_starts(
    job: dict[str, Any], tmp_path: Path
) -> None:
    from pcsearch.cluster import jobs
    from pcsearch.cluster.submit import new_campaign

    recipe = load_recipe("cub200", ["data.root=/data"])
    sent = new_campaign([recipe], tmp_path, runs="s3://b/runs", name="first")
    assert job["spec"]["metadata"].keys() == {jobs.MARK, *sent.about}
    assert job["spec"]["metadata"][jobs.MARK] == pcsearch.__version__
    own, theirs = (
        {word for word in shlex.split(command) if word.startswith("--")}
        for command in (job["spec"]["entrypoint"], sent.command)
    )
    assert own == theirs
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"]) == {"env_vars": jobs._STOP}


def test_the_image_holds_ray_and_pcsearch_at_these_versions(cluster: dict[str, Any]) -> None:
    text = (FOLDER / "Dockerfile").read_text()
    version = cluster["spec"]["rayVersion"]
    assert re.search(rf"^FROM rayproject/ray:{version}-py312-gpu$", text, re.MULTILINE)
    assert f"ray[default,tune]=={version}" in text
    assert f"dist/pcsearch-{pcsearch.__version__}-py3-none-any.whl" in text
    image = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(f"/pcsearch:{pcsearch.__version__}")


def test_the_commands_for_rays_launcher_say_what_to_do_instead() -> None:
    from pcsearch.cluster.launcher import check_is_file
    from pcsearch.cluster.tunnel import dashboard_of

    with pytest.raises(UserError, match=r"kubectl apply -f .* service/pcsearch-head-svc 8265"):
        check_is_file(str(FILE), "up")
    with pytest.raises(UserError, match="a manifest for KubeRay"), dashboard_of(str(FILE)):
        pass


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """One that holds for 127.0.0.1, and its key."""
    pytest.importorskip("cryptography", reason="needs cryptography: pip install 'pcsearch[test]'")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@pytest.fixture
def kubernetes(certificate: tuple[Path, Path], cluster: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The environment of a head's pod, with an API server that knows the cluster of the file."""
    path = "/apis/ray.io/v1/namespaces/there/rayclusters/pcsearch"
    cluster["metadata"]["namespace"] = "there"
    body = json.dumps(cluster).encode()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == path else 404)
            self.end_headers()
            self.wfile.write(body if self.path == path else b"{}")

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield os.environ | {
        "RAY_CLUSTER_NAME": "pcsearch",
        "RAY_CLUSTER_NAMESPACE": "there",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT_HTTPS": str(server.server_address[1]),
        "RAY_KUBERAY_CA_CERT_PATH": str(certificate[0]),
        "RAY_KUBERAY_CLIENT_CERT_PATH": str(certificate[0]),
        "RAY_KUBERAY_CLIENT_KEY_PATH": str(certificate[1]),
    }
    server.shutdown()
    server.server_close()


def room(environment: dict[str, str], gcs: str = "10.0.0.1:6379") -> int:
    """Trials with a GPU that the cluster of this process may come to have room for."""
    code = f"""
from pcsearch.cluster.session.autoscaler import largest_capacity, running_config
print(largest_capacity(running_config("{gcs}")).max_trials(1, 1))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return int(done.stdout)


def test_a_campaign_in_a_pod_counts_the_workers_that_may_come(kubernetes: dict[str, str]) -> None:
    assert room(kubernetes) == 8
    assert room(kubernetes, "127.0.0.1:6379") == 0  # a Ray of its own, in that pod


@pytest.mark.parametrize("change", [{"RAY_CLUSTER_NAME": "other"}, {"RAY_CLUSTER_NAME": ""}])
def test_where_kubernetes_does_not_say_only_what_runs_counts(
    kubernetes: dict[str, str], change: dict[str, str]
) -> None:
    assert room(kubernetes | change) == 0
