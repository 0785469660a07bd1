import json
from pathlib import Path

import pytest
import yaml

from caslie_tools.profiles.toml import load_profile_settings, shipped_profiles
from caslie_tools.serving.compose import render_compose_file
from caslie_tools.serving.plan import Plan, plan_servers
from tests.serving.fake_servers import SECRET
from tests.serving.profiles import TEXT_MODEL, profile, role, write_model


@pytest.fixture(params=sorted({*shipped_profiles()} - {"local-hf"}))
def plan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("CASLIE_API_KEY", SECRET)
    return plan_servers(load_profile_settings(request.param), gpu_memory=80, gpus=2)


def test_each_server_is_a_service_on_its_gpu(plan: Plan) -> None:
    file = yaml.safe_load(render_compose_file(plan))
    assert list(file["services"]) == [server.name for server in plan.servers]
    for server in plan.servers:
        service = file["services"][server.name]
        assert service["image"] == f"vllm/vllm-openai:v{plan.vllm}"
        assert service["ports"] == [f"127.0.0.1:{server.port}:8000"]
        assert service["command"][0] == server.model
        assert f"{server.gpu_memory_utilization:.2f}" in service["command"]
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["device_ids"] == [str(server.gpu)]
        assert "/health" in service["healthcheck"]["test"][-1]


def test_servers_on_the_same_gpu_start_one_after_the_other(plan: Plan) -> None:
    services = yaml.safe_load(render_compose_file(plan))["services"]
    for gpu in range(2):
        names = [server.name for server in plan.servers if server.gpu == gpu]
        for before, name in zip([None, *names], names, strict=False):
            expected = {before: {"condition": "service_healthy"}} if before else None
            assert services[name].get("depends_on") == expected


def test_no_output_of_a_plan_contains_the_api_key(plan: Plan) -> None:
    text = render_compose_file(plan)
    assert SECRET not in text + json.dumps(plan.to_json()) + " ".join(plan.commands())
    assert "${CASLIE_API_KEY:?" in text


def test_servers_are_published_on_the_loopback_interface_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASLIE_HOST", "gpu-box")
    text = render_compose_file(plan_servers(load_profile_settings("caslie-s-24gb")))
    assert "127.0.0.1:8001:8000" in text
    assert "gpu-box" not in text


def test_a_dollar_sign_in_a_name_is_escaped() -> None:
    text = render_compose_file(plan_servers(profile(judges=[role(model="${HOME}: x", weights=TEXT_MODEL)])))
    services = yaml.safe_load(text)["services"].values()
    (service,) = (service for service in services if TEXT_MODEL in service["command"])
    assert "$${HOME}: x" in service["command"]


def test_a_model_folder_is_mounted(tmp_path: Path) -> None:
    write_model(tmp_path)
    plan = plan_servers(profile(predictor=role(8003, "mine", weights=str(tmp_path))))
    service = yaml.safe_load(render_compose_file(plan))["services"]["mine-8003"]
    assert f"{tmp_path}:/models/served:ro" in service["volumes"]
    assert service["command"][:3] == ["/models/served", "--served-model-name", "mine"]
