from typing import Any

import pytest
from packaging.version import Version

from caslie_tools.exceptions import SettingsError
from caslie_tools.profiles.toml import load_profile_settings
from caslie_tools.serving.servers import GIB, derive_servers
from tests.serving.profiles import TEXT_MODEL, profile, role


class TestMemory:
    def test_it_matches_a_calculation_by_hand(self) -> None:
        vision, text = derive_servers(profile())
        # Llama-3.2-3B has 128,256 tokens x 3,072, used twice. Each of its 28 layers has queries, keys, values, an
        # output, three matrices of 8,192 and two norms. One norm follows.
        layer = 2 * 3072 * 3072 + 2 * 3072 * 1024 + 3 * 3072 * 8192 + 2 * 3072
        assert text.size.weight_bytes == 2 * (128_256 * 3072 + 28 * layer + 3072)
        # Keys and values of 28 layers with 8 heads of 128 values of 2 bytes: 112 KiB per token.
        assert text.size.cache_bytes_per_token == 114_688
        # Three judgements of 1,000 tokens and three predictions of 2,000.
        assert text.cache_tokens == 9_000
        assert text.cache_bytes == 9_000 * 114_688
        assert text.needed_bytes == 6_425_499_648 + 1_032_192_000 + 1.5 * GIB
        assert (text.sequences, text.context_length) == (6, 2000)
        assert vision.size.weight_bytes == 2 * 4_437_815_808
        assert vision.cache_bytes == 2 * 4096 * 2 * 36 * 8 * 128 * 2
        assert vision.needed_bytes == vision.size.weight_bytes + vision.cache_bytes + 2 * GIB

    def test_cross_attention_to_images_has_its_own_cache(self) -> None:
        (server,) = (server for server in derive_servers(load_profile_settings("paper")) if server.size.accepts_images)
        text = (2 * 4096 + 2 * 2048) * 2 * 32 * 8 * 128 * 2
        assert server.cache_bytes == text + 4 * (4 * 1601) * 2 * 8 * 8 * 128 * 2


class TestGrouping:
    def test_roles_with_the_same_url_share_a_server(self) -> None:
        vision, text = derive_servers(profile())
        assert (vision.roles, text.roles) == (("captioner",), ("judge", "predictor"))

    def test_each_replica_is_a_server(self) -> None:
        urls = ["http://127.0.0.1:8002/v1", "http://127.0.0.1:8003/v1"]
        servers = derive_servers(profile(predictor=role(urls=urls)))
        assert [(server.port, server.roles) for server in servers] == [
            (8001, ("captioner",)),
            (8002, ("judge", "predictor")),
            (8003, ("predictor",)),
        ]

    def test_a_model_can_be_served_under_several_names(self) -> None:
        judges = [role(model=name, weights=TEXT_MODEL) for name in ("a", "b")]
        _, text = derive_servers(profile(judges=judges))
        assert (text.model, text.served_names) == (TEXT_MODEL, ("a", "b", TEXT_MODEL))
        assert "--served-model-name a b meta-llama" in " ".join(text.arguments(Version("0.32.0")))

    def test_localhost_and_its_address_are_the_same_machine(self) -> None:
        servers = derive_servers(profile(predictor=role(urls=["http://localhost:8002/v1"])))
        assert [server.roles for server in servers] == [("captioner",), ("judge", "predictor")]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"predictor": role(8001)}, "would have to serve .* but a server loads one model"),
            ({"captioners": [role(8005)]}, "captioner: the model .* does not accept images"),
            ({"judges": [role(sees_image=True)]}, "judge: the model .* does not accept images"),
            ({"embeddings": role(8002)}, "would have to compute embeddings and generate text"),
            ({"predictor": role(8003, "NingLab/CASLIE-L", context_length=8000)}, "accepts at most 4096 tokens"),
            (
                {"predictor": role(urls=["http://gpu-box:8003/v1"])},
                "a plan covers one machine, but .* 127.0.0.1, gpu-box",
            ),
        ],
    )
    def test_roles_that_cannot_be_served_are_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            derive_servers(profile(**changes))


def test_an_ipv6_address_is_in_brackets() -> None:
    vision, _ = derive_servers(profile())
    assert vision.url == "http://127.0.0.1:8001"
    assert vision.model_copy(update={"host": "::1"}).url == "http://[::1]:8001"
