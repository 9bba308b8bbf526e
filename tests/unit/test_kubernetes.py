"""What is in deploy/kubernetes: a cluster takes it, and it agrees with the image, the settings and the metrics."""

import copy
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cosyserve.http.routes import health
from cosyserve.http.server import END_S
from cosyserve.settings.loading import load_settings
from cosyserve.watch.metrics import Metrics
from tests.serving import ROOT
from tests.unit.test_operations import DOCKERFILE, FINAL, image_environment, values
from tests.unit.watch.test_metrics import STATE, labels_of

FOLDER = ROOT / "deploy/kubernetes"
BASE, KIND = FOLDER / "base", FOLDER / "overlays/kind"
VERSIONS = ("1.30", "1.37")
FILES = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")

Resource = dict[str, Any]


def resources(text: str) -> list[Resource]:
    return [resource for resource in yaml.safe_load_all(text) if resource is not None]


def composed(folder: Path) -> list[Resource]:
    """What kustomize makes of it."""
    command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    return resources(subprocess.run([*command, folder], capture_output=True, text=True, check=True).stdout)


needs_kustomize = pytest.mark.skipif(
    not (shutil.which("kustomize") or shutil.which("kubectl")), reason="neither kustomize nor kubectl is installed"
)


def only(found: Iterable[Any]) -> Resource:
    """The one that there is."""
    resource: Resource
    (resource,) = found
    return resource


def of_kind(found: list[Resource], kind: str) -> Resource:
    return only(resource for resource in found if resource["kind"] == kind)


@pytest.fixture(scope="module")
def base() -> list[Resource]:
    return [resource for file in FILES for resource in resources(file.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def pod(base: list[Resource]) -> Resource:
    spec: Resource = of_kind(base, "Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def container(pod: Resource) -> Resource:
    return only(pod["containers"])


def check(found: list[Resource]) -> None:
    """Raises ValidationError where a cluster would not take it, or would not know what a field means."""
    for resource in found:
        for version in VERSIONS:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_cluster_takes_the_base(file: Path) -> None:
    found = resources(file.read_text(encoding="utf-8"))
    assert found
    check(found)


def test_the_base_has_all_of_its_files() -> None:
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    assert sorted(listed["resources"]) == [file.name for file in FILES]


@needs_kustomize
@pytest.mark.parametrize("folder", [BASE, KIND], ids=["base", "kind"])
def test_a_cluster_takes_what_is_composed(folder: Path) -> None:
    found = composed(folder)
    check(found)
    kinds = {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ConfigMap", "Namespace"}
    assert kinds <= {resource["kind"] for resource in found}
    config = of_kind(found, "ConfigMap")["metadata"]["name"]
    volumes = of_kind(found, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert next(volume["configMap"]["name"] for volume in volumes if volume["name"] == "config") == config


def places(resource: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each name of a field; what stands below labels, annotations and quantities is anybody's."""
    if isinstance(resource, dict):
        for name, value in resource.items():
            yield (*path, name)
            if name not in {"labels", "matchLabels", "annotations", "selector", "requests", "limits"}:
                yield from places(value, (*path, name))
    elif isinstance(resource, list):
        for index, value in enumerate(resource):
            yield from places(value, (*path, index))


def mistyped(resource: Resource, path: tuple[Any, ...]) -> Resource:
    typo = copy.deepcopy(resource)
    *way, name = path
    place: Any = typo
    for step in way:
        place = place[step]
    place[f"{name}s"] = place.pop(name)
    return typo


def test_a_typo_is_seen_wherever_it_is(base: list[Resource]) -> None:
    tried = 0
    for resource in base:
        # One in three: each reads a schema anew. Those that say which schema it is are another matter.
        told = {name: value for name, value in resource.items() if name not in {"apiVersion", "kind"}}
        for path in list(places(told))[::3]:
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(mistyped(resource, path), VERSIONS[-1], strict=True)
            tried += 1
    assert tried > 50


@pytest.mark.parametrize("folder", [BASE, KIND], ids=["base", "kind"])
def test_the_configuration_is_one(folder: Path, pod: Resource, container: Resource) -> None:
    settings = load_settings(folder / "config.toml")
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= wait + settings.server.shutdown_grace_s + END_S
    keys = next(mount for mount in container["volumeMounts"] if mount["name"] == "keys")
    assert settings.server.api_keys_file == Path(keys["mountPath"]) / "keys"


def test_a_new_version_has_time_to_load(base: list[Resource]) -> None:
    longest = load_settings(BASE / "config.toml").workers.start_timeout_s
    assert of_kind(base, "Deployment")["spec"]["progressDeadlineSeconds"] > longest


def test_the_probes_are_routes(container: Resource) -> None:
    paths = {route.path for route in health.routes}
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {probe["path"] for probe in probes.values()} <= paths
    assert probes["readiness"]["path"] == "/health"
    assert probes["liveness"]["path"] == "/health/live", "what has no ready worker says why, and is not started again"
    (port,) = container["ports"]
    assert all(probe["port"] == port["name"] for probe in probes.values())
    assert [str(port["containerPort"])] == values(FINAL, "EXPOSE")


def test_it_runs_as_the_image_does_and_writes_where_something_is_mounted(pod: Resource, container: Resource) -> None:
    (user,) = values(FINAL, "USER")
    security = pod["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}", DOCKERFILE
    assert security["runAsNonRoot"]
    assert security["fsGroup"] == security["runAsGroup"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["enableServiceLinks"] is False

    environment = image_environment()
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    for written in (environment["HOME"], str(Path(environment["COSYSERVE_VOICES__DIR"]).parent), "/tmp"):
        assert not mounts[written].get("readOnly"), written
    assert mounts[str(Path(environment["COSYSERVE_MODEL__DIR"]).parent)]["readOnly"]
    (workdir,) = values(FINAL, "WORKDIR")
    assert mounts[workdir]["readOnly"]
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in pod["volumes"]}


def test_the_autoscaler_asks_for_a_number_that_there_is(base: list[Resource]) -> None:
    (asked,) = of_kind(base, "HorizontalPodAutoscaler")["spec"]["metrics"]
    name = asked["pods"]["metric"]["name"]
    assert name in labels_of(Metrics(lambda: STATE))
    streams = load_settings(BASE / "config.toml").model.streams
    assert 0 < int(asked["pods"]["target"]["averageValue"]) < streams
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    (rules,) = (
        block["rules"]
        for block in map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
        if "rules" in block
    )
    assert rules["custom"][0]["seriesQuery"].startswith(name)
    assert name in rules["custom"][0]["metricsQuery"]


def test_what_is_selected_is_what_the_pods_are_called(base: list[Resource]) -> None:
    deployment = of_kind(base, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [service["spec"]["selector"] for service in base if service["kind"] == "Service"]
    others = (deployment["selector"], of_kind(base, "PodDisruptionBudget")["spec"]["selector"])
    assert [*selectors, *(other["matchLabels"] for other in others)] == [labels] * 4
    assert of_kind(base, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "cosyserve"


@needs_kustomize
def test_the_demo_needs_no_gpu_and_no_volume() -> None:
    found = composed(KIND)
    pod = of_kind(found, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert not any(resource["kind"] == "PersistentVolumeClaim" for resource in found)
    assert not any("persistentVolumeClaim" in volume for volume in pod["volumes"])
    assert container["image"] == "cosyserve:demo"
    assert of_kind(found, "Secret")["metadata"]["name"] == "cosyserve-keys"
