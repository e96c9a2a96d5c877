"""The manifests of export/cluster: what they start is there, and knows the flags it is given."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bct_keras.distribution import workers
from bct_keras.engines import ENGINES, Ray, parse_part
from bct_keras.specs import build

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "export/cluster"


def document(file: str, kind: str) -> dict[str, Any]:
    found = yaml.safe_load_all((CLUSTER / file).read_text())
    (wanted,) = [each for each in found if each["kind"] == kind]
    return wanted


def given(arguments: list[str]) -> dict[str, str]:
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


def known_flags(*commands: str) -> set[str]:
    sources = [ROOT / "bct_keras/command/__init__.py"]
    sources += [ROOT / "bct_keras" / name / "__main__.py" for name in commands]
    text = "".join(source.read_text() for source in sources)
    return set(re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', text)) | {"flagfile"}


def assert_there(flagfile: str) -> None:
    """And those that it names, which are looked for where the command is started."""
    for line in (ROOT / flagfile).read_text().splitlines():
        if line.startswith("--flagfile="):
            assert_there(line.removeprefix("--flagfile="))


def training() -> dict[str, Any]:
    (job,) = document("training.yaml", "JobSet")["spec"]["replicatedJobs"]
    return job


def test_workers_of_a_training_are_started_again_together():
    jobset = document("training.yaml", "JobSet")
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 10
    job = training()["template"]["spec"]
    assert job["completionMode"] == "Indexed"  # which numbers the pods
    assert job["backoffLimit"] == 0
    assert training()["replicas"] == 1


def test_a_training_has_flags_that_it_knows_and_files_that_all_workers_see():
    claim = document("training.yaml", "PersistentVolumeClaim")
    pod = training()["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    flags = given(container["args"])
    assert flags.keys() <= known_flags("train", "export")
    (mount,) = container["volumeMounts"]
    for flag in ("data", "old", "workdir"):
        assert flags[flag].startswith(f"{mount['mountPath']}/")
    assert_there(flags["flagfile"])
    (volume,) = pod["volumes"]
    assert volume["name"] == mount["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_workers_of_a_jobset_find_each_other(monkeypatch):
    spec = importlib.util.spec_from_file_location("script", CLUSTER / "with_tf_config.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    (container,) = training()["template"]["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    jobset = document("training.yaml", "JobSet")
    assert environment["JOBSET"] == jobset["metadata"]["name"]
    assert environment["JOB"] == training()["name"]
    count = training()["template"]["spec"]["completions"]
    assert environment["WORKERS"] == str(count)
    assert count == training()["template"]["spec"]["parallelism"]
    config = script.tf_config(environment | {"JOB_COMPLETION_INDEX": "1"})
    addresses = json.loads(config)["cluster"]["worker"]
    assert addresses[0] == "encoder-training-worker-0-0.encoder-training:2222"
    assert container["ports"][0]["containerPort"] == script.PORT
    monkeypatch.setenv("TF_CONFIG", config)
    assert (workers.worker_index(), workers.worker_count()) == (1, count)


def test_an_array_job_does_every_part_once():
    job = document("array.yaml", "Job")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    command = container["command"][-1].removeprefix("bct_keras.")
    flags = given(container["args"])
    assert flags.keys() <= known_flags(command)
    assert job["completionMode"] == "Indexed"
    parts = [
        parse_part(flags["part"].replace("$(JOB_COMPLETION_INDEX)", str(index)))
        for index in range(job["completions"])
    ]
    assert {part.number for part in parts if part} == set(range(job["completions"]))
    assert {part.count for part in parts if part} == {job["completions"]}


def test_a_ray_job_names_an_engine_and_flags_that_are_known():
    job = document("ray.yaml", "RayJob")["spec"]
    # As the shell reads it to which Ray gives it.
    printed = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {job['entrypoint']}"],
        capture_output=True,
        text=True,
        check=True,
    )
    words = printed.stdout.splitlines()
    assert words[:3] == ["python", "-m", "bct_keras.embed"]
    flags = given(words[3:])
    assert flags.keys() <= known_flags("embed")
    engine = build(ENGINES, flags["engine"])
    assert isinstance(engine, Ray)
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert engine.num_gpus == int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert engine.num_cpus == int(container["resources"]["requests"]["cpu"])


@pytest.mark.parametrize("file", ["array.yaml", "ray.yaml", "training.yaml"])
def test_the_image_has_what_the_manifests_start(file):
    image = (CLUSTER / "Dockerfile").read_text()
    (place,) = re.findall(r"^WORKDIR (.*)$", image, re.MULTILINE)
    assert f"COPY configs {place}/configs" in image
    assert f"COPY export/cluster/with_tf_config.py {place}/export/cluster/" in image
    assert "[cloud,gpu,ray]" in image
    assert "registry.example.com/bct-keras:latest" in (CLUSTER / file).read_text()
