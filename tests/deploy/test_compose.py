"""The compose file, the image and `.env.example` agree with each other and with the code.

All of it is found by reading: no Docker is needed.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft201909Validator

from api.app import create_app as create_api
from orchestrator.broker import create_app
from orchestrator.catalog.profile_files import load_profile
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
WORKERS = {name: service for name, service in OURS.items() if "workers" in service["command"]}
DOCKERFILE = (ROOT / "Dockerfile").read_text()

SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD")
INTERPOLATED = re.compile(r"\$\{(?P<name>[A-Z_]+)(?P<rest>[^}]*)\}")
ASKED = re.compile(r"http://127\.0\.0\.1:(?P<port>\d+)(?P<path>/[a-z0-9/]+)")
PINNED = re.compile(r"[a-z0-9/-]+:\d+\.\d+(\.\d+)?(-[a-z0-9-]+)?")

ours = pytest.mark.parametrize("service", OURS.values(), ids=OURS)
everyone = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def filled_in(value: str) -> str:
    """A value as Compose hands it on, with every secret called `secret`."""
    return INTERPOLATED.sub("secret", value)


def settings_of(service: dict) -> dict[str, str]:
    return {name: value for name, value in service["environment"].items() if name.startswith("TX81_")}


def test_the_file_is_valid_compose():
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())

    found = [f"{error.json_path}: {error.message}" for error in Draft201909Validator(schema).iter_errors(COMPOSE)]

    assert found == []


def test_every_slot_of_the_host_has_one_worker_named_after_it():
    slots = {name: SlotName.parse(service["command"][-1]) for name, service in WORKERS.items()}

    assert all(name == str(slot) for name, slot in slots.items())
    assert [str(slot) for slot in slots.values() if slot.kind is SlotKind.CARD_GROUP] == [f"g{n}" for n in range(8)]
    assert [str(slot) for slot in slots.values() if slot.kind is SlotKind.CPU] == ["cpu0"]


@ours
def test_our_processes_share_one_image_and_the_same_settings(service):
    api = SERVICES["api"]

    assert (service["image"], service["build"]) == (api["image"], api["build"])
    of_flower = {name for name in settings_of(SERVICES["flower"]) if name.startswith("TX81_FLOWER_")}
    of_flower_alone = of_flower - settings_of(api).keys()
    own = of_flower_alone | {"TX81_TOOL_USER"}
    shared = {name: value for name, value in settings_of(service).items() if name not in own}
    assert shared == settings_of(api)


@pytest.mark.parametrize("service", WORKERS.values(), ids=WORKERS)
def test_a_worker_may_become_the_user_of_tools_and_is_not_root(service):
    uid, gid = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE).groups()
    *setpriv, end = service["entrypoint"]

    assert end == "--"
    assert "useradd --uid 10002 --user-group" in DOCKERFILE
    assert service["environment"]["TX81_TOOL_USER"] == "tx81-tools"
    assert {f"--reuid={uid}", f"--regid={gid}", "--clear-groups"} <= set(setpriv)
    for option in ("--inh-caps=", "--ambient-caps="):
        given = next(each.removeprefix(option).split(",") for each in setpriv if each.startswith(option))
        assert given == ["-all", *(f"+{name.lower()}" for name in service["cap_add"])]


if os.geteuid() == 0:  # as CI runs; nobody else can start what Docker starts as root

    def test_a_worker_has_the_capabilities_that_its_tools_are_separated_with():
        look = "from workers.processes.confinement import tool_user; print(tool_user('nobody'))"
        command = [*WORKERS["g0"]["entrypoint"], sys.executable, "-c", look]

        seen = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

        assert seen.returncode == 0, seen.stderr
        assert seen.stdout.startswith("ToolUser(")


@ours
def test_our_processes_cannot_change_the_image_or_gain_rights(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged", False)


@pytest.mark.parametrize("service", WORKERS.values(), ids=WORKERS)
def test_workers_see_store_work_locks_and_cards_on_the_same_volume(service):
    sources = {entry.split(":")[1]: entry.split(":")[0] for entry in service["volumes"]}
    places = [service["environment"][f"TX81_{what}_DIR"] for what in ("STORE", "WORK", "LOCK", "DEVICES")]

    assert sources == {"/srv/tx81": "rex1"}
    assert all(Path(place).is_relative_to("/srv/tx81") for place in places)
    assert service["init"] is True


@pytest.mark.parametrize("service", WORKERS.values(), ids=WORKERS)
def test_a_worker_that_stops_has_time_to_end_its_tools_and_to_report(service):
    settings = Settings()
    patience = create_app(settings.broker_url).conf.worker_soft_shutdown_timeout
    profiles = [load_profile(settings, file.stem) for folder in settings.profile_dirs for file in folder.glob("*.yaml")]
    ladders = [
        sum(step.grace_seconds for step in profile.ladder_of(kind))
        for profile in profiles
        for kind in profile.kinds.values()
    ]

    grace = int(service["stop_grace_period"].removesuffix("s"))

    assert grace >= patience + max(ladders) + settings.lease.total_seconds()


@everyone
def test_what_a_service_waits_for_exists_and_can_happen(service):
    for name, wait in service.get("depends_on", {}).items():
        needed = SERVICES[name]
        match wait["condition"]:
            case "service_healthy":
                assert "healthcheck" in needed
            case "service_completed_successfully":
                assert needed["restart"] == "no"
            case other:
                pytest.fail(f"{other} does not say that {name} is ready")


@everyone
def test_a_service_runs_again_after_a_crash_unless_it_is_a_job(service):
    awaited = {
        name
        for waiting in SERVICES.values()
        for name, wait in waiting.get("depends_on", {}).items()
        if wait["condition"] == "service_completed_successfully"
    }
    jobs = [SERVICES[name] for name in awaited]

    assert service["restart"] == ("no" if service in jobs else "unless-stopped")


@everyone
def test_nothing_is_published_beyond_this_machine(service):
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service.get("network_mode") != "host"


@everyone
def test_images_are_pinned(service):
    assert PINNED.fullmatch(service["image"])


@everyone
def test_no_secret_is_written_down(service):
    secretive = re.compile(r"PASSWORD|SECRET|AUTH$|TOKEN$|KEY$")

    told = {
        name: value for name, value in service.get("environment", {}).items() if secretive.search(name) or "@" in value
    }

    assert [name for name, value in told.items() if not INTERPOLATED.search(value)] == []


def test_compose_refuses_to_start_without_the_secrets_and_no_default_stands_in():
    wanted = [found.groupdict() for found in INTERPOLATED.finditer((ROOT / "docker-compose.yml").read_text())]

    assert {found["name"] for found in wanted} == set(SECRETS)
    assert all(found["rest"].startswith(":?") for found in wanted)


def test_the_example_environment_names_every_secret_and_gives_none():
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    assert {name: given.pop(name) for name in SECRETS} == dict.fromkeys(SECRETS, "")
    assert given == {"COMPOSE_PROJECT_NAME": "tx81"}


def test_the_settings_know_every_variable_and_take_every_value(monkeypatch):
    variables = settings_of(SERVICES["api"]) | settings_of(SERVICES["flower"])
    for name, value in variables.items():
        monkeypatch.setenv(name, filled_in(value))

    settings = Settings()

    assert {name.removeprefix("TX81_").lower() for name in variables} <= set(Settings.model_fields)
    assert settings.database == "postgresql://tx81:secret@postgres:5432/tx81"
    assert settings.broker_url == "redis://:secret@redis:6379/0"
    assert settings.flower_password.get_secret_value() == "secret"
    assert f"127.0.0.1:{settings.api_port}:{settings.api_port}" in SERVICES["api"]["ports"]
    assert f"127.0.0.1:{settings.flower_port}:{settings.flower_port}" in SERVICES["flower"]["ports"]
    assert any(settings.devices_dir.is_relative_to(root) for root in settings.allowed_roots)


@pytest.mark.parametrize("name", ["api", "flower"])
def test_a_health_check_asks_the_port_that_is_published(name):
    published = {port.rpartition(":")[2] for port in SERVICES[name]["ports"]}

    assert {found["port"] for found in ASKED.finditer(SERVICES[name]["healthcheck"]["test"][-1])} == published


def test_the_health_check_of_the_api_asks_for_a_page_that_it_has(sqlite_url, tmp_path):
    asked = ASKED.search(SERVICES["api"]["healthcheck"]["test"][-1])
    app = create_api(Settings(database_url=sqlite_url, state_dir=tmp_path))

    assert asked is not None
    assert asked["path"] in app.openapi()["paths"]


@ours
def test_what_a_service_runs_is_in_the_checkout(service):
    match service["command"]:
        case ["python", "-m", module, *_]:
            package = importlib.util.find_spec(module)
            assert package is not None
            assert package.origin is not None
            assert Path(package.origin).is_relative_to(ROOT)
            assert Path(package.origin).with_name("__main__.py").is_file()
        case other:
            pytest.fail(f"not a way to start one of our processes: {other}")


def test_the_image_holds_every_package_and_the_build_may_read_what_it_copies():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {source for line in DOCKERFILE.splitlines() if line.startswith("COPY ") for source in line.split()[1:-1]}
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert set(packages["packages"]) <= copied
    assert copied == admitted
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_takes_hashed_packages_on_a_pinned_base_and_gives_up_root():
    steps = [line for line in DOCKERFILE.splitlines() if re.match(r"[A-Z]+ ", line)]
    bases = [step.split()[1] for step in steps if step.startswith("FROM ")]
    installs = [step for step in steps if step.startswith("RUN pip install")]

    assert all(PINNED.fullmatch(base) for base in bases)
    assert all("--require-hashes" in step or "--no-deps" in step for step in installs)
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", steps[-1])
