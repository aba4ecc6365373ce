"""The files that start clusters say what Ray, bash and the checkout understand, and leave no door open."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
LAUNCHER_FILES = ["cluster.yaml", "configs/cluster/gcp.yaml", "configs/cluster/on_premises.yaml"]
KUBERNETES = "configs/cluster/kubernetes.yaml"
TOKEN = "~/.ray/auth_token"
PLACEHOLDER = re.compile(r"FILL-IN-[A-Z0-9-]*[A-Z0-9]")


def read(path: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / path).read_text())


def ray_job() -> dict[str, Any]:
    claim, job = yaml.safe_load_all((ROOT / KUBERNETES).read_text())
    assert claim["kind"] == "PersistentVolumeClaim"
    return job


def pinned(package: str) -> str:
    (version,) = re.findall(rf"^{package}==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return version


def commands(config: dict[str, Any]) -> list[str]:
    return [command for name, told in config.items() if name.endswith("_commands") for command in told]


def pods(job: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    cluster = job["spec"]["rayClusterSpec"]
    workers = [(group["groupName"], group["template"]["spec"]) for group in cluster["workerGroupSpecs"]]
    return [("head", cluster["headGroupSpec"]["template"]["spec"]), *workers]


@pytest.mark.parametrize("path", LAUNCHER_FILES)
def test_a_cluster_file_is_what_ray_accepts(path: str) -> None:
    config = prepare_config(read(path))
    validate_config(config)
    assert config["head_node_type"] in config["available_node_types"]


@pytest.mark.parametrize("path", LAUNCHER_FILES)
def test_a_misspelt_option_would_be_noticed(path: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match="mx_workers"):
        validate_config(prepare_config({**read(path), "mx_workers": 3}))


@pytest.mark.parametrize("path", LAUNCHER_FILES)
def test_every_command_of_a_cluster_file_is_what_bash_understands(path: str) -> None:
    found = commands(read(path))
    assert len(found) >= 8
    for command in found:
        subprocess.run(["bash", "-n", "-c", command], check=True)


@pytest.mark.parametrize("path", LAUNCHER_FILES)
def test_a_cluster_file_mounts_what_is_installed_and_the_token_and_nothing_that_is_not_there(path: str) -> None:
    # Not the whole checkout: Ray reads all that is mounted before each `ray up`, .venv and results too.
    mounts = read(path)["file_mounts"]
    assert mounts.pop(TOKEN) == TOKEN
    assert "ray get-auth-token --generate" in (ROOT / path).read_text(), "which makes the file that is mounted"
    assert mounts == {f"~/muzero-ray/{name}": name for name in mounts.values()}
    assert set(mounts.values()) == set(copied()) - {"train.py"}, "as in the images"
    assert all((ROOT / name).exists() for name in mounts.values())


@pytest.mark.parametrize("path", LAUNCHER_FILES)
def test_every_node_of_a_cluster_file_installs_the_mounted_checkout_at_exact_versions(path: str) -> None:
    config = prepare_config(read(path))
    for node in ("head", "worker"):
        found = config[f"{node}_setup_commands"]
        (install,) = [command for command in found if "pip install" in command]
        assert "--constraint ~/muzero-ray/constraints.txt" in install
        assert "--editable ~/muzero-ray" in install
        assert "~/venv/bin/python -m muzero_ray.app.warm_up" in found
    assert (pinned("torch"), pinned("ray")) == ("2.13.0", "2.60.0")


@pytest.mark.parametrize("path", LAUNCHER_FILES)
def test_every_node_of_a_cluster_file_asks_for_the_token_and_shows_its_dashboard_to_itself_alone(path: str) -> None:
    config = read(path)
    (head,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    (worker,) = [command for command in config["worker_start_ray_commands"] if "ray start" in command]
    assert "--head " in head
    assert "--address=$RAY_HEAD_IP:6379" in worker
    assert "--dashboard-host=127.0.0.1" in head
    for command in (head, worker):
        assert re.search(r"export .*RAY_AUTH_MODE=token.*; ray start", command)
    # What `ray submit` and `ray exec` run there must know it too.
    assert any("RAY_AUTH_MODE=token" in command and "~/.bashrc" in command for command in config["setup_commands"])


@pytest.mark.parametrize("path", LAUNCHER_FILES[:2])
def test_workers_in_a_cloud_come_when_they_are_needed_and_go_again(path: str) -> None:
    config = prepare_config(read(path))
    head, workers = config["available_node_types"]["head"], config["available_node_types"]["self_play"]
    assert (head["min_workers"], head["max_workers"]) == (0, 0)
    assert (workers["min_workers"], workers["max_workers"]) == (0, config["max_workers"])
    assert config["idle_timeout_minutes"] > 0


def test_all_workers_of_our_own_are_waited_for_by_the_autoscaler_that_starts_them_all() -> None:
    config = prepare_config(read("configs/cluster/on_premises.yaml"))
    assert config["available_node_types"][config["head_node_type"]]["min_workers"] == 2
    (start,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert "RAY_enable_autoscaler_v2=0" in start


@pytest.mark.parametrize("path", [*LAUNCHER_FILES, KUBERNETES])
def test_what_is_to_be_filled_in_is_explained_at_the_top_of_the_file_and_in_the_guide(path: str) -> None:
    text = (ROOT / path).read_text()
    header = re.match(r"(#.*\n|\n)+", text)[0]
    used = set(PLACEHOLDER.findall(text[len(header) :]))
    assert used, "each of these files needs something of the user"
    assert set(re.findall(rf"^#   ({PLACEHOLDER.pattern})\b", header, re.MULTILINE)) == used
    guide = (ROOT / "docs/clusters.md").read_text()
    assert {name for name in used if name not in guide} == set()
    assert re.search(r"TODO|XXX|CHANGEME|<[a-z-]+>", text) is None


def test_the_job_on_kubernetes_is_a_ray_job_with_one_head_and_workers_that_come_and_go() -> None:
    job = ray_job()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) == {
        *("entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "rayClusterSpec")
    }
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP", "not to be reached from outside"
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_pods_on_kubernetes_have_their_limits_no_root_and_no_volume_that_is_not_there() -> None:
    for name, pod in pods(ray_job()):
        assert pod["securityContext"]["runAsNonRoot"], name
        (container,) = pod["containers"]
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert "nvidia.com/gpu" in pods(ray_job())[0][1]["containers"][0]["resources"]["limits"]


def test_the_job_on_kubernetes_trains_by_the_script_of_the_image_into_a_volume() -> None:
    entrypoint = ray_job()["spec"]["entrypoint"]
    subprocess.run(["bash", "-n", "-c", entrypoint], check=True)
    assert entrypoint.startswith("python /app/train.py ")
    assert "--results /results" in entrypoint
    assert "/results" in [mount["mountPath"] for mount in pods(ray_job())[0][1]["containers"][0]["volumeMounts"]]


# Docker


def instructions() -> list[tuple[str, str]]:
    """Instruction and rest of every line of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "docker/Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for line in lines if line for word, _, rest in [line.partition(" ")]]


def compose() -> dict[str, Any]:
    return read("docker/compose.yaml")


def kept_for_docker() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def copied() -> Iterator[str]:
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            yield from rest.split()[:-1]


def test_images_are_built_from_files_that_are_there_and_that_docker_is_given() -> None:
    files = set(copied())
    assert files >= {"pyproject.toml", "constraints.txt", "train.py", "muzero_ray", "games", "configs"}
    assert all((ROOT / name).exists() for name in files)
    assert files == set(kept_for_docker())


def test_images_have_pinned_bases_exact_versions_no_root_and_a_health_check() -> None:
    told = instructions()
    bases = dict(rest.split("=") for word, rest in told if word == "ARG" and "=" in rest)
    assert re.fullmatch(r"3\.11\.\d+-slim-\w+", bases["PYTHON"])
    assert {rest.split(" ")[0] for word, rest in told if word == "FROM"} == {"python:${PYTHON}"}
    installs = [rest for word, rest in told if word == "RUN" and "pip install" in rest]
    assert all("--constraint constraints.txt" in rest or "--no-deps" in rest for rest in installs)
    (user,) = [index for index, (word, _) in enumerate(told) if word == "USER"]
    assert told[user][1] == "1000"
    assert [word for word, _ in told[user:]].count("HEALTHCHECK") == 1
    assert "RAY_AUTH_MODE=token" in dict(told)["ENV"]


def test_commands_of_the_image_are_what_the_shell_understands() -> None:
    for word, rest in instructions():
        if word == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True)


def test_compose_starts_three_nodes_trains_and_shows_it() -> None:
    services = compose()["services"]
    assert set(services) == {"head", "worker", "train", "prometheus", "grafana"}
    assert services["worker"]["deploy"]["replicas"] == 2
    assert "--game ${GAME:-cartpole}" in services["train"]["command"]
    for service in services.values():
        assert re.search(r":[v\d][\d.]+(-cpu)?$", service["image"]), "pinned by tag"


def test_compose_opens_ports_on_this_machine_alone() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_names_files_volumes_and_services_that_are_there() -> None:
    told = compose()
    for name, service in told["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / "docker" / source).exists() if source.startswith(".") else source in told["volumes"], name
        if "build" in service:
            assert (ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert set(service.get("depends_on", {})) <= set(told["services"])
        command = service.get("command", "")
        script = command[-1] if isinstance(command, list) else command
        subprocess.run(["bash", "-n", "-c", script], check=True)
    hosts = re.findall(r"http://(\w+):|--address=(\w+):", (ROOT / "docker/compose.yaml").read_text())
    assert {name for pair in hosts for name in pair if name} <= set(told["services"]) | {"127"}


def test_prometheus_asks_every_node_at_the_port_that_ray_is_told() -> None:
    (job,) = read("docker/prometheus.yaml")["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    services = compose()["services"]
    for name in found["names"]:
        command = services[name]["command"]
        assert f"--metrics-export-port={found['port']}" in (command if isinstance(command, str) else command[-1])
    assert set(found["names"]) == {"head", "worker"}


def test_grafana_asks_the_prometheus_of_compose_and_finds_its_dashboard_where_it_is_mounted() -> None:
    provisioning = ROOT / "docker/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/muzero_ray.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in compose()["services"]["grafana"]["volumes"])
    assert mounts["./grafana/muzero_ray.json"] == f"{provider['options']['path']}/muzero_ray.json"
