from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

SERVING = Path(__file__).parents[2] / "export" / "serving"
FIELD = descriptor_pb2.FieldDescriptorProto

# TF Serving's own messages that tensorflow-serving-api does not carry: session_bundle_config.proto
# and monitoring_config.proto, version 2.x. (name, number, type)
WRAPPED_INT, WRAPPED_STRING = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
MESSAGES = {
    "BatchingParameters": [
        ("max_batch_size", 1, WRAPPED_INT),
        ("batch_timeout_micros", 2, WRAPPED_INT),
        ("max_enqueued_batches", 3, WRAPPED_INT),
        ("num_batch_threads", 4, WRAPPED_INT),
        ("thread_pool_name", 5, WRAPPED_STRING),
        ("allowed_batch_sizes", 6, FIELD.TYPE_INT64),
        ("pad_variable_length_inputs", 7, FIELD.TYPE_BOOL),
    ],
    "PrometheusConfig": [("enable", 1, FIELD.TYPE_BOOL), ("path", 2, FIELD.TYPE_STRING)],
    "MonitoringConfig": [("prometheus_config", 1, ".serving.PrometheusConfig")],
}


def message(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="serving")
    file.dependency.append("google/protobuf/wrappers.proto")
    for message_name, fields in MESSAGES.items():
        described = file.message_type.add(name=message_name)
        for field_name, number, kind in fields:
            label = (
                FIELD.LABEL_REPEATED
                if field_name == "allowed_batch_sizes"
                else FIELD.LABEL_OPTIONAL
            )
            field = described.field.add(name=field_name, number=number, label=label)
            field.type = FIELD.TYPE_MESSAGE if isinstance(kind, str) else kind
            if isinstance(kind, str):
                field.type_name = kind
    pool = descriptor_pool.DescriptorPool()
    from google.protobuf import wrappers_pb2

    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"serving.{name}"))()


def models_config() -> Any:
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    parsed: Any = text_format.Parse(
        (SERVING / "models.config").read_text(), config.ModelServerConfig()
    )
    return parsed.model_config_list.config


def test_two_versions_side_by_side_with_their_labels():
    (config,) = models_config()
    assert (config.name, config.base_path, config.model_platform) == (
        "encoder",
        "/models/encoder",
        "tensorflow",
    )
    versions = list(config.model_version_policy.specific.versions)
    assert len(set(versions)) == 2
    assert set(config.version_labels) == {"stable", "canary"}
    assert sorted(config.version_labels.values()) == sorted(versions)


def test_batches_are_of_allowed_sizes():
    batching = text_format.Parse(
        (SERVING / "batching.config").read_text(), message("BatchingParameters")
    )
    sizes = list(batching.allowed_batch_sizes)
    # The server refuses other orders, and a largest size that is not the limit.
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == batching.max_batch_size.value
    assert batching.max_enqueued_batches.value > 0
    assert batching.batch_timeout_micros.value < 10_000


def test_prometheus_is_where_kubernetes_looks():
    monitoring = text_format.Parse(
        (SERVING / "monitoring.config").read_text(), message("MonitoringConfig")
    )
    assert monitoring.prometheus_config.enable
    annotations = manifest("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == monitoring.prometheus_config.path


def manifest(kind: str) -> dict[str, Any]:
    documents = list(yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text()))
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def container() -> dict[str, Any]:
    (found,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def test_probes_ask_for_a_model_and_label_that_are_configured():
    (config,) = models_config()
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    for probe in ("startupProbe", "readinessProbe"):
        asked = container()[probe]["httpGet"]
        assert asked["path"] == f"/v1/models/{config.name}/labels/stable/metadata"
        assert f"--rest_api_port={ports[asked['port']]}" in container()["args"]
    assert (
        f"--port={ports[container()['livenessProbe']['tcpSocket']['port']]}" in container()["args"]
    )


@pytest.mark.parametrize("where", ["kubernetes", "compose"])
def test_every_file_that_the_server_is_given_is_mounted(where):
    if where == "compose":
        (service,) = yaml.safe_load((SERVING / "compose.yaml").read_text())["services"].values()
        arguments = service["command"]
        mounted = {volume.split(":")[1] for volume in service["volumes"]}
    else:
        arguments = container()["args"]
        names = yaml.safe_load((SERVING / "kustomization.yaml").read_text())["configMapGenerator"][
            0
        ]["files"]
        mounted = {f"/config/{name}" for name in names}
    files = {argument.split("=")[1] for argument in arguments if "_file=" in argument}
    assert files <= mounted
    assert {path.rsplit("/", 1)[1] for path in files} == {
        path.name for path in SERVING.glob("*.config")
    }


def test_what_selects_the_pods_fits_them():
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    scaler = manifest("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == manifest("Deployment")["metadata"]["name"]
    assert 1 < scaler["minReplicas"] <= scaler["maxReplicas"]
    # A share of the CPU can be told only of a container that asks for some.
    assert "cpu" in container()["resources"]["requests"]


def test_kustomization_names_what_is_there():
    kustomization = yaml.safe_load((SERVING / "kustomization.yaml").read_text())
    (generated,) = kustomization["configMapGenerator"]
    volumes = manifest("Deployment")["spec"]["template"]["spec"]["volumes"]
    assert generated["name"] in {volume.get("configMap", {}).get("name") for volume in volumes}
    for name in [*kustomization["resources"], *generated["files"]]:
        assert (SERVING / name).is_file()
