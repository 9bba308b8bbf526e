"""What is in deploy/kubernetes/overlays/ray and deploy/ray: KubeRay, Kubernetes and Serve take it, and it agrees."""

import shlex
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import jsonschema
import kubernetes_validate
import pytest
import yaml

from cosyserve.cluster.arguments import planned
from cosyserve.cluster.names import APPLICATION, ENGINE, FRONT
from cosyserve.http.routes import health
from cosyserve.http.server import END_S
from cosyserve.settings.loading import load_settings
from tests.serving import ROOT
from tests.unit.test_kubernetes import (
    FOLDER,
    VERSIONS,
    Resource,
    check,
    composed,
    mistyped,
    needs_kustomize,
    of_kind,
    only,
    places,
    resources,
)
from tests.unit.test_operations import FINAL, image_environment, values

RAY = FOLDER / "overlays/ray"
SERVE = ROOT / "deploy/ray/serve.yaml"
SCHEMA = yaml.safe_load((Path(__file__).parent / "rayservice.schema.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def service() -> Resource:
    return only(resources((RAY / "rayservice.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def cluster(service: Resource) -> Resource:
    found: Resource = service["spec"]["rayClusterConfig"]
    return found


@pytest.fixture(scope="module")
def group(cluster: Resource) -> Resource:
    return only(cluster["workerGroupSpecs"])


@pytest.fixture(scope="module")
def application(service: Resource) -> Resource:
    return only_application(yaml.safe_load(service["spec"]["serveConfigV2"]))


def only_application(config: Resource) -> Resource:
    return only(config["applications"])


def embedded(service: Resource) -> list[Resource]:
    """What of a RayService is Kubernetes' own, each as the resource that the operator makes of it."""
    spec = service["spec"]
    cluster = spec["rayClusterConfig"]
    templates = [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    told = {"resources", "securityContext", "volumeMounts"}
    options = {name: value for name, value in cluster["autoscalerOptions"].items() if name in told}
    autoscaler = {"spec": {"containers": [{"name": "autoscaler", "image": "any", **options}]}}
    pods = [{"apiVersion": "v1", "kind": "Pod", **template} for template in (*templates, autoscaler)]
    return [*pods, {"apiVersion": "v1", "kind": "Service", **spec["serveService"]}]


def check_service(service: Resource) -> None:
    """Raises ValidationError where KubeRay or Kubernetes would not take it, or would not know what a field means."""
    jsonschema.validate(service, SCHEMA)
    check(embedded(service))


def test_the_operator_takes_it(service: Resource) -> None:
    check_service(service)


def test_a_cluster_takes_the_wall() -> None:
    check(resources((RAY / "network.yaml").read_text(encoding="utf-8")))


@needs_kustomize
def test_what_is_composed_is_taken_and_has_one_configuration() -> None:
    found = composed(RAY)
    service = of_kind(found, "RayService")
    check_service(service)
    check([resource for resource in found if resource is not service])
    kinds = [resource["kind"] for resource in found]
    assert sorted({*kinds} - {"PersistentVolumeClaim"}) == ["ConfigMap", "Namespace", "NetworkPolicy", "RayService"]
    config = of_kind(found, "ConfigMap")["metadata"]["name"]
    volumes = [volume for pod in embedded(service)[:2] for volume in pod["spec"]["volumes"]]
    assert [volume["configMap"]["name"] for volume in volumes if "configMap" in volume] == [config] * 2
    claims = {resource["metadata"]["name"] for resource in found if resource["kind"] == "PersistentVolumeClaim"}
    named = (volume.get("persistentVolumeClaim") for volume in volumes)
    assert {claim["claimName"] for claim in named if claim} == claims


def test_a_typo_of_kuberay_s_part_is_seen(service: Resource) -> None:
    # What is within is the next test's, and what ray's command takes that of the one after.
    within = {"template", "serveService", "rayStartParams", "resources", "securityContext", "volumeMounts"}
    paths = [path for path in places(service) if not within & {*path[:-1]}]
    for path in paths:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(mistyped(service, path), SCHEMA)
    assert len(paths) > 20


def test_a_typo_of_kubernetes_part_is_seen(service: Resource) -> None:
    tried = 0
    for resource in embedded(service):
        told = {name: value for name, value in resource.items() if name not in {"apiVersion", "kind"}}
        # One in five: each reads a schema anew.
        for path in list(places(told))[::5]:
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(mistyped(resource, path), VERSIONS[-1], strict=True)
            tried += 1
    assert tried > 20


def test_ray_start_has_these_flags(cluster: Resource) -> None:
    scripts = pytest.importorskip("ray.scripts.scripts", reason="Ray is not installed")
    flags = {option for parameter in scripts.start.params for option in parameter.opts}
    specs = (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    given = {name for spec in specs for name in spec["rayStartParams"]}
    assert {f"--{name}" for name in given} <= flags


@pytest.fixture(scope="module")
def serve_schema() -> ModuleType:
    """Ray Serve's own, which passes over fields that it does not know."""
    with warnings.catch_warnings():
        # Ray defines its models as pydantic 1 had it.
        warnings.simplefilter("ignore")
        found: ModuleType = pytest.importorskip("ray.serve.schema", reason="Ray is not installed")
        return found


def serve_configurations() -> dict[str, Resource]:
    (service,) = resources((RAY / "rayservice.yaml").read_text(encoding="utf-8"))
    kept = yaml.safe_load(SERVE.read_text(encoding="utf-8"))
    return {"KubeRay": yaml.safe_load(service["spec"]["serveConfigV2"]), "serve deploy": kept}


@pytest.mark.parametrize("where", ["KubeRay", "serve deploy"])
def test_serve_takes_it_and_knows_every_field(serve_schema: ModuleType, where: str) -> None:
    config = serve_configurations()[where]
    read = serve_schema.ServeDeploySchema.model_validate(config)
    assert read.model_dump(mode="json", exclude_unset=True) == config
    for deployment in only_application(config)["deployments"]:
        if scaling := deployment.get("autoscaling_config"):
            known = serve_schema.AutoscalingConfig.model_validate(scaling)
            assert known.model_dump(mode="json", include=set(scaling)) == scaling


def test_a_typo_in_serve_s_part_is_seen(serve_schema: ModuleType) -> None:
    config = serve_configurations()["KubeRay"]
    kept = {"args", "autoscaling_config"}
    for path in places(config):
        if not kept & {*path[:-1]}:
            typo = mistyped(config, path)
            try:
                read = serve_schema.ServeDeploySchema.model_validate(typo)
            except ValueError:
                continue
            assert read.model_dump(mode="json", exclude_unset=True) != typo, path


def test_no_proxy_of_serve_is_between(service: Resource) -> None:
    for config in serve_configurations().values():
        assert config["proxy_location"] == "Disabled"
        assert only_application(config)["route_prefix"] is None
    assert service["spec"]["excludeHeadPodFromServeSvc"] is True


def named(application: Resource, name: str) -> Resource:
    (found,) = (deployment for deployment in application["deployments"] if deployment["name"] == name)
    deployment: Resource = found
    return deployment


def test_the_pods_carry_what_serve_places(application: Resource, group: Resource) -> None:
    engine, front = named(application, "Engine"), named(application, "Front")
    scaling, args = engine["autoscaling_config"], application["args"]
    assert (group["minReplicas"], group["maxReplicas"]) == (scaling["min_replicas"], scaling["max_replicas"])
    assert group["replicas"] == group["minReplicas"]
    assert front["num_replicas"] <= group["minReplicas"], "a front is one of a node, and one that waits asks for a node"
    (container,) = group["template"]["spec"]["containers"]
    given = container["resources"]
    assert 0 < args["front_cpus"] < int(given["requests"]["cpu"]), "none on the head, which has no processor to give"
    assert args["gpus"] == int(given["limits"]["nvidia.com/gpu"])


@pytest.mark.parametrize("where", ["KubeRay", "serve deploy"])
def test_the_builder_takes_its_arguments(where: str) -> None:
    application = only_application(serve_configurations()[where])
    plan = planned({**application["args"], "config": str(RAY / "config.toml")})
    assert (plan.extent.front_cpus, plan.extent.gpus) == (1, 1)
    module, _, name = application["import_path"].partition(":")
    assert find_spec(module)
    assert (module, name) == ("cosyserve.cluster.app", "build")
    assert [application["name"], *(deployment["name"] for deployment in application["deployments"])] == [
        *(APPLICATION, ENGINE, FRONT)
    ]


def test_the_settings_are_one(service: Resource, application: Resource, group: Resource) -> None:
    settings = load_settings(RAY / "config.toml")
    scaling = named(application, "Engine")["autoscaling_config"]
    assert 0 < scaling["target_ongoing_requests"] < settings.model.streams
    assert service["spec"]["rayClusterDeletionDelaySeconds"] >= settings.server.shutdown_grace_s
    (container,) = group["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert settings.server.api_keys_file == Path(mounts["keys"]) / "keys"
    assert application["args"]["config"] == str(Path(mounts["config"]) / "config.toml")


def test_a_pod_that_goes_is_drained_and_its_streams_have_time_to_end(group: Resource) -> None:
    scripts = pytest.importorskip("ray.scripts.scripts", reason="Ray is not installed")
    pod = group["template"]["spec"]
    (container,) = pod["containers"]
    *_, script = container["lifecycle"]["preStop"]["exec"]["command"]
    drain, _, wait = script.partition("; sleep ")
    context = scripts.drain_node.make_context("drain-node", shlex.split(drain)[2:])
    assert context.params["reason_message"]
    assert int(wait) >= load_settings(RAY / "config.toml").server.shutdown_grace_s
    assert pod["terminationGracePeriodSeconds"] >= int(wait) + END_S


def test_clients_and_probes_reach_the_front(service: Resource, group: Resource) -> None:
    (container,) = group["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert [str(port["containerPort"])] == values(FINAL, "EXPOSE")
    probe = container["readinessProbe"]["httpGet"]
    assert probe["port"] == port["name"]
    assert probe["path"] == "/health"
    assert probe["path"] in {route.path for route in health.routes}
    assert [told["targetPort"] for told in service["spec"]["serveService"]["spec"]["ports"]] == [port["name"]]


def test_ray_s_ports_are_walled(cluster: Resource, group: Resource) -> None:
    (wall,) = resources((RAY / "network.yaml").read_text(encoding="utf-8"))
    everybody, own, operator = wall["spec"]["ingress"]
    (front,) = group["template"]["spec"]["containers"][0]["ports"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert everybody == {"ports": [{"port": front["name"]}]}
    assert {told["port"] for told in operator["ports"]} <= {port["name"] for port in head["ports"]}
    selected = wall["spec"]["podSelector"]
    assert own["from"] == [{"podSelector": selected}]
    for spec in (cluster["headGroupSpec"], group):
        assert spec["template"]["metadata"]["labels"] == selected["matchLabels"]
    assert cluster["authOptions"] == {"mode": "token"}


def test_the_pods_run_as_the_image_does_and_report_nothing(cluster: Resource, group: Resource) -> None:
    (user,) = values(FINAL, "USER")
    environment = image_environment()
    for spec in (cluster["headGroupSpec"], group):
        pod = spec["template"]["spec"]
        security = pod["securityContext"]
        assert user == f"{security['runAsUser']}:{security['runAsGroup']}"
        assert security["runAsNonRoot"]
        assert security["fsGroup"] == security["runAsGroup"]
        assert pod["enableServiceLinks"] is False
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        for written in (environment["HOME"], "/tmp"):
            assert not mounts[written].get("readOnly"), written
        assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in pod["volumes"]}


def test_an_engine_s_pod_has_weights_voices_and_plans(group: Resource) -> None:
    (container,) = group["template"]["spec"]["containers"]
    environment = image_environment()
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts[str(Path(environment["COSYSERVE_MODEL__DIR"]).parent)]["readOnly"]
    assert not mounts[str(Path(environment["COSYSERVE_VOICES__DIR"]).parent)].get("readOnly")


def test_the_version_of_ray_is_the_one_that_is_installed(cluster: Resource) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    assert cluster["rayVersion"] == ray.__version__
