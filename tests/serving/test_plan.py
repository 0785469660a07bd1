import json
import shlex
from typing import Any

import pytest

from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.toml import load_profile_settings
from caslie_tools.serving.placement import MAX_SEQUENCES, place
from caslie_tools.serving.plan import plan_servers
from caslie_tools.serving.servers import GIB, derive_servers
from tests.serving.profiles import TEXT_MODEL, VISION_MODEL, profile, role


def option(command: str, name: str) -> str:
    words = shlex.split(command)
    return words[words.index(name) + 1]


class TestNotes:
    def test_an_external_service_is_not_planned_and_is_noted(self) -> None:
        plan = plan_servers(profile(predictor=role(urls=["https://models.example.com/v1"])))
        assert [server.roles for server in plan.servers] == [("captioner",), ("judge",)]
        assert plan.notes[0] == "predictor: models.example.com is an external service (https) and not part of this plan"

    def test_servers_on_the_loopback_interface_need_no_note(self) -> None:
        notes = plan_servers(profile(predictor=role(urls=["http://localhost:8002/v1"]))).notes
        assert not any("listen on" in note for note in notes)

    def test_a_server_that_other_machines_can_reach_is_noted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CASLIE_HOST", "gpu-box")
        plan = plan_servers(load_profile_settings("caslie-s-24gb"))
        assert option(plan.commands()[0], "--host") == "gpu-box"
        assert any("listen on gpu-box without encryption" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vllm": "recent"}, "vllm: 'recent' is not a version specifier"),
        ({"vllm": "<0"}, "vllm: '<0' names no version that it allows"),
        ({"predictor": role(model="acme/huge", port=8003)}, "the size of the model 'acme/huge' is unknown"),
    ],
)
def test_a_profile_that_cannot_be_planned_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan_servers(profile(**changes))


@pytest.mark.parametrize(("memory", "gpus"), [(0, 1), (-1, 1), (float("nan"), 1), (float("inf"), 1), (24, 0)])
def test_a_machine_without_gpu_memory_is_refused(memory: float, gpus: int) -> None:
    with pytest.raises(SettingsError, match="a plan needs at least one GPU"):
        plan_servers(profile(), gpu_memory=memory, gpus=gpus)


class TestPlacement:
    @pytest.mark.parametrize(
        ("name", "memory", "gpus"),
        [
            ("caslie-s-24gb", 24, 1),
            ("caslie-m", 48, 2),
            ("caslie-m", 96, 1),
            ("caslie-l", 80, 2),
            ("caslie-l", 141, 1),
            ("paper", 80, 2),
        ],
    )
    def test_a_shipped_profile_fits_on_its_intended_machine(self, name: str, memory: float, gpus: int) -> None:
        plan = plan_servers(load_profile_settings(name), gpu_memory=memory, gpus=gpus)
        assert not plan.problem
        for gpu in range(gpus):
            placed = [server for server in plan.servers if server.gpu == gpu]
            assert sum(server.gpu_memory_utilization for server in placed) <= 0.95 + 1e-9
            assert sum(server.needed_bytes for server in placed) <= 0.95 * plan.gpu_memory_gib * GIB
            for server in placed:
                assert server.gpu_memory_utilization * plan.gpu_memory_gib * GIB >= server.needed_bytes

    def test_shares_are_rounded_up(self) -> None:
        vision, text = place(derive_servers(profile()), 23.9, 1)
        assert text.gpu_memory_utilization == 0.36  # 8.446 of 23.9 GiB
        assert vision.gpu_memory_utilization == 0.48  # 8.266 + 1.125 + 2 of 23.9 GiB

    @pytest.mark.parametrize(("card", "reported"), [(24, 22.5), (80, 79.0), (22.5, 22.5), (23, 23.0), (5.0, 5.0)])
    def test_a_card_reports_less_memory_than_it_is_sold_with(self, card: float, reported: float) -> None:
        assert plan_servers(profile(), gpu_memory=card).gpu_memory_gib == reported

    def test_a_plan_that_does_not_fit_names_the_servers_and_machines_that_fit(self) -> None:
        plan = plan_servers(profile(), gpu_memory=16)
        assert [server.gpu for server in plan.servers] == [0, None]
        # The first server takes 11.39 of 15 GiB, 76%. Of the usable 95%, 19% are left: 2.85 GiB.
        assert "llama-3-2-3b-instruct-8002 needs 8.4 GiB, 5.6 GiB more than is free" in plan.problem
        assert "All servers together need 19.8 GiB" in plan.problem
        assert "They fit on 2 x 16 GB, or 1 x 24 GB." in plan.problem
        assert not plan_servers(profile(), gpu_memory=16, gpus=2).problem
        assert not plan_servers(profile(), gpu_memory=24).problem

    def test_a_plan_that_fits_on_no_common_machine_suggests_none(self) -> None:
        plan = plan_servers(profile(predictor=role(8003, "NingLab/CASLIE-M", max_concurrency=2000)))
        assert "They do not fit on 8 GPUs of any size" in plan.problem


class TestSpareMemory:
    @pytest.mark.parametrize(("memory", "gpus"), [(22.5, 1), (45, 1), (79, 1), (30, 2), (178, 4)])
    def test_it_goes_to_more_requests_at_once_without_overfilling_a_gpu(self, memory: float, gpus: int) -> None:
        derived = derive_servers(profile())
        plan = plan_servers(profile(), gpu_memory=memory, gpus=gpus)
        for gpu in range(gpus):
            share = sum(server.gpu_memory_utilization for server in plan.servers if server.gpu == gpu)
            assert share <= 0.95 + 1e-9
        for server, least in zip(plan.servers, derived, strict=True):
            assert least.sequences <= server.sequences <= MAX_SEQUENCES
            # Each request still has room for its full length.
            assert server.cache_tokens / server.sequences >= least.cache_tokens / least.sequences
            assert server.gpu_memory_utilization * plan.gpu_memory_gib * GIB >= server.needed_bytes

    def test_servers_that_share_a_gpu_grow_in_proportion_to_what_the_profile_sends(self) -> None:
        vision, text = plan_servers(profile(), gpu_memory=79).servers
        assert abs(vision.sequences / 2 - text.sequences / 6) < 1

    def test_one_that_is_at_its_maximum_leaves_the_rest_to_the_others(self) -> None:
        small = profile(predictor=role(max_concurrency=250, context_length=100))
        vision, text = plan_servers(small, gpu_memory=79).servers
        assert text.sequences == MAX_SEQUENCES
        assert vision.sequences / 2 > text.sequences / 253

    def test_servers_get_a_gpu_each_where_there_are_enough(self) -> None:
        assert [server.gpu for server in plan_servers(profile(), gpu_memory=79, gpus=2).servers] == [0, 1]

    def test_a_note_names_the_settings_that_use_it(self) -> None:
        plan = plan_servers(profile(), gpu_memory=79, gpus=2)
        (note,) = (note for note in plan.notes if "more requests at once" in note)
        vision, text = plan.servers
        assert f"captioner {vision.sequences}, judge {text.sequences // 2}, predictor {text.sequences // 2}" in note

    def test_a_plan_that_does_not_fit_stays_as_it_is(self) -> None:
        assert [server.sequences for server in plan_servers(profile(), gpu_memory=16).servers] == [2, 6]


class TestCommands:
    def test_a_server_needs_a_key_and_fetches_no_images(self) -> None:
        vision, text = plan_servers(profile()).commands()
        key = 'VLLM_API_KEY="${CASLIE_API_KEY:?}" '
        expected = f"{key}vllm serve {VISION_MODEL} --served-model-name {VISION_MODEL} --host 127.0.0.1 --port 8001 "
        assert vision.startswith(expected)
        assert option(vision, "--max-model-len") == "4096"
        assert (
            option(vision, "--gpu-memory-utilization")
            == f"{plan_servers(profile()).servers[0].gpu_memory_utilization:.2f}"
        )
        assert json.loads(option(vision, "--limit-mm-per-prompt")) == {"image": 1, "video": 0}
        assert option(vision, "--allowed-media-domains").endswith(".invalid")
        assert "--api-key" not in vision  # the arguments of a process are public
        assert "--limit-mm-per-prompt" not in text
        assert "--allowed-media-domains" not in text

    def test_a_server_of_a_vision_predictor_accepts_all_its_images(self) -> None:
        vision = role(8001, VISION_MODEL, max_images=8, context_length=8192)
        (first, *_) = plan_servers(profile(vision_predictor=vision)).commands()
        assert json.loads(option(first, "--limit-mm-per-prompt")) == {"image": 8, "video": 0}
        assert option(first, "--max-model-len") == "8192"
        with pytest.raises(SettingsError, match=r"vision predictor: the model .* does not accept images"):
            plan_servers(profile(vision_predictor=role(8002)))

    def test_commands_for_several_gpus_select_the_gpu(self) -> None:
        commands = plan_servers(profile(), gpu_memory=16, gpus=2).commands()
        assert [command.split()[0] for command in commands] == ["CUDA_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=1"]

    def test_a_name_with_shell_syntax_is_quoted(self) -> None:
        plan = plan_servers(profile(judges=[role(model="a; rm -rf $HOME", weights=TEXT_MODEL)]))
        assert "a; rm -rf $HOME" in shlex.split(plan.commands()[1])

    def test_an_embeddings_server_uses_the_pooling_runner(self) -> None:
        embeddings = role(8003, "Qwen/Qwen3-Embedding-0.6B")
        assert option(plan_servers(profile(embeddings=embeddings)).commands()[2], "--runner") == "pooling"

    def test_an_old_version_gets_only_flags_that_it_supports_and_a_note(self) -> None:
        plan = plan_servers(load_profile_settings("paper"), gpu_memory=80, gpus=2)
        assert plan.vllm == "0.10.2"
        assert "--allowed-media-domains" not in " ".join(plan.commands())
        assert json.loads(option(plan.commands()[0], "--limit-mm-per-prompt")) == {"image": 1}
        assert any("fetches every image URL" in note for note in plan.notes)

    @pytest.mark.parametrize(
        ("constraint", "version"),
        [(">=0.12", "0.32.0"), ("==0.10.2", "0.10.2"), (">=0.12,<0.20", "0.12"), (">=0.40", "0.40"), ("", "0.32.0")],
    )
    def test_the_tested_version_is_used_if_the_profile_allows_it(self, constraint: str, version: str) -> None:
        assert plan_servers(profile(vllm=constraint)).vllm == version
