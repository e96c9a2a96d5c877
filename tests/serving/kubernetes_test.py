"""Asks of export/serving/kubernetes.yaml what a cluster and its linters ask.

What the server itself is given is asked in configs_test.py. export/serving/README.md tells how the
manifests were checked against Kubernetes' own schema, which is too heavy for a test.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

SERVING = Path(__file__).parents[2] / "export" / "serving"
DOCUMENTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((SERVING / "kubernetes.yaml").read_text())
)
API_VERSIONS = {
    "Namespace": "v1",
    "Deployment": "apps/v1",
    "Service": "v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}
UNITS = {"m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}


def document(kind: str) -> dict[str, Any]:
    (found,) = [each for each in DOCUMENTS if each["kind"] == kind]
    return found


def pod_template() -> dict[str, Any]:
    return document("Deployment")["spec"]["template"]


def container() -> dict[str, Any]:
    (found,) = pod_template()["spec"]["containers"]
    return found


def amount(quantity: str) -> float:
    """Returns the number that a quantity such as 2Gi stands for."""
    for unit, factor in UNITS.items():
        if quantity.endswith(unit):
            return float(quantity.removesuffix(unit)) * factor
    return float(quantity)


def what_restricted_forbids(pod: dict[str, Any]) -> list[str]:
    """Returns what Kubernetes' Pod Security Standard `restricted` refuses in a pod."""
    found = []
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            found.append(name)
    for volume in pod["volumes"]:
        if set(volume) - {"name"} - {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}:
            found.append(f"the volume {volume['name']}")
    of_pod = pod.get("securityContext", {})
    for each in pod["containers"]:
        context = {**of_pod, **each.get("securityContext", {})}
        if context.get("privileged"):
            found.append("privileged")
        if context.get("allowPrivilegeEscalation") is not False:
            found.append("allowPrivilegeEscalation")
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            found.append("runAsNonRoot")
        if context.get("capabilities", {}).get("drop") != ["ALL"]:
            found.append("capabilities")
        if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            found.append("seccompProfile")
    return found


def test_each_document_is_of_a_known_version_and_has_a_name():
    assert [each["kind"] for each in DOCUMENTS] == list(API_VERSIONS)
    for each in DOCUMENTS:
        assert each["apiVersion"] == API_VERSIONS[each["kind"]]
        assert each["metadata"]["name"] == "encoder-serving"


def test_the_namespace_lets_only_restricted_pods_in():
    kustomization = yaml.safe_load((SERVING / "kustomization.yaml").read_text())
    metadata = document("Namespace")["metadata"]
    assert kustomization["namespace"] == metadata["name"]
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_pod_may_do_nothing_beyond_serving():
    pod = pod_template()["spec"]
    assert not what_restricted_forbids(pod)
    assert pod["automountServiceAccountToken"] is False
    # Linters ask for numbers that no account of the node has.
    assert pod["securityContext"]["runAsUser"] > 10_000
    assert pod["securityContext"]["runAsGroup"] > 10_000
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True


LOOSENED: dict[str, Callable[[dict[str, Any]], object]] = {
    "seccompProfile": lambda pod: pod["securityContext"].pop("seccompProfile"),
    "runAsNonRoot": lambda pod: pod["securityContext"].update(runAsUser=0),
    "hostNetwork": lambda pod: pod.update(hostNetwork=True),
    "the volume node": lambda pod: pod["volumes"].append({"name": "node", "hostPath": {}}),
    "allowPrivilegeEscalation": lambda pod: pod["containers"][0].pop("securityContext"),
}


@pytest.mark.parametrize("forbidden", LOOSENED)
def test_a_looser_pod_would_be_found(forbidden):
    pod = copy.deepcopy(pod_template()["spec"])
    LOOSENED[forbidden](pod)
    assert forbidden in what_restricted_forbids(pod)


def test_only_a_small_folder_of_the_pod_can_be_written_to():
    volumes = {volume["name"]: volume for volume in pod_template()["spec"]["volumes"]}
    mounts = container()["volumeMounts"]
    assert {mount["name"] for mount in mounts} == set(volumes)
    for mount in mounts:
        if not mount.get("readOnly"):
            assert amount(volumes[mount["name"]]["emptyDir"]["sizeLimit"]) <= 2**30


@pytest.mark.parametrize("resource", ["cpu", "memory", "ephemeral-storage"])
def test_the_pod_asks_for_what_it_needs_and_gets_no_more_than_its_limit(resource):
    resources = container()["resources"]
    assert 0 < amount(resources["requests"][resource]) <= amount(resources["limits"][resource])


@pytest.mark.parametrize("where", ["kubernetes", "compose"])
def test_tensorflow_has_as_many_threads_as_processors(where):
    arguments, processors = container()["args"], container()["resources"]["limits"]["cpu"]
    if where == "compose":
        (service,) = yaml.safe_load((SERVING / "compose.yaml").read_text())["services"].values()
        arguments = service["command"]
        processors = service["deploy"]["resources"]["limits"]["cpus"]
    for kind in ("intra", "inter"):
        assert f"--tensorflow_{kind}_op_parallelism={processors}" in arguments


def test_probes_ask_ports_that_are_there_and_do_not_ask_the_same():
    ports = {port["name"] for port in container()["ports"]}
    probes = {}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container()[name]
        (asked,) = [probe[kind] for kind in ("httpGet", "tcpSocket") if kind in probe]
        assert asked["port"] in ports
        assert probe["timeoutSeconds"] <= probe["periodSeconds"]
        probes[name] = asked
    # A pod that cannot answer now is not asked; it is not started anew for that.
    assert probes["readinessProbe"] != probes["livenessProbe"]
    # Before the pod goes, it waits for requests that are still on their way.
    (_, seconds) = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert int(seconds) < pod_template()["spec"]["terminationGracePeriodSeconds"]


def test_whatever_selects_pods_selects_these():
    labels = pod_template()["metadata"]["labels"]
    spec = pod_template()["spec"]
    [near] = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    [spread] = spec["topologySpreadConstraints"]
    selected = [
        document("Deployment")["spec"]["selector"]["matchLabels"],
        document("Service")["spec"]["selector"],
        document("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        document("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        near["podAffinityTerm"]["labelSelector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    ]
    assert all(each == labels for each in selected)
    assert near["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"


def test_ports_of_the_service_and_of_the_policy_are_those_of_the_container():
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    for port in document("Service")["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    for rule in document("NetworkPolicy")["spec"]["ingress"]:
        assert rule["from"]  # an empty list would let everybody in
        assert {port["port"] for port in rule["ports"]} <= set(ports)


def test_nobody_is_called_and_pods_with_a_label_alone_may_call():
    policy = document("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    clients, _ = policy["ingress"]
    (callers,) = clients["from"]
    assert callers["podSelector"]["matchLabels"] == {"encoder-client": "true"}


def test_one_pod_can_go_at_any_moment():
    scaler = document("HorizontalPodAutoscaler")["spec"]
    budget = document("PodDisruptionBudget")["spec"]
    assert 0 < budget["minAvailable"] < scaler["minReplicas"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    # Every `kubectl apply` would set back what the scaler has chosen.
    assert "replicas" not in document("Deployment")["spec"]
    assert document("Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"


def test_the_image_has_a_version():
    _, _, tag = container()["image"].partition(":")
    assert tag[:1].isdigit()
    assert container()["imagePullPolicy"] == "Always"
