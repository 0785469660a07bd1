import logging
import traceback

import pytest
from pydantic import SecretStr

from caslie_tools.exceptions import EndpointError, EndpointRefusedError
from caslie_tools.profiles.probes import probe_served
from caslie_tools.testing import Fault, FaultyServer
from tests.backends.endpoints.calls import SHORT_SECONDS, ask
from tests.backends.endpoints.connecting import Connect
from tests.time_limits import HANG_SECONDS

SECRET = "sk-do-not-tell-4711"
HARMLESS = {Fault.OK, Fault.NO_LOGPROBS, Fault.IMAGES_DROPPED, Fault.DOUBLE_BOS}
"""Faults that fail no call."""


async def test_the_key_is_sent(connect: Connect) -> None:
    async with FaultyServer(api_key=SECRET) as server:
        assert await ask(connect(server, api_key=SecretStr(SECRET))) == "a free answer"
        assert server.requests[0].key_is_valid
        with pytest.raises(EndpointRefusedError, match="set its API key"):
            await ask(connect(server))


@pytest.mark.virtual_time
@pytest.mark.parametrize("fault", [each for each in Fault if each not in HARMLESS])
async def test_the_key_is_in_no_error_log_or_repr(
    server: FaultyServer, connect: Connect, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seconds = SHORT_SECONDS if fault in {Fault.HANG, Fault.DRIP} else HANG_SECONDS
    endpoint = connect(server, api_key=SecretStr(SECRET), timeout_seconds=seconds, max_attempts=1)
    server.default_fault = fault
    with pytest.raises(EndpointError) as caught:
        await ask(endpoint, choice=["yes", "no"])
    error = caught.value
    assert error.__cause__ is error.__context__ is None  # no error of the HTTP library, which holds the request
    shown = [repr(endpoint), repr(vars(endpoint)), str(error), repr(error)]
    shown += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    shown += [record.getMessage() for record in caplog.records]
    assert any("httpcore" in record.name for record in caplog.records)  # the logs of the HTTP library are included
    assert not [text for text in shown if SECRET in text]
    assert not [received for received in server.requests if SECRET in repr(received)]


async def test_a_server_that_repeats_the_key_does_not_bring_it_into_captions_and_names(connect: Connect) -> None:
    async with FaultyServer(
        models={"model": 8192, SECRET: 8192}, api_key=SECRET, respond=lambda body: f"The label says {SECRET}."
    ) as server:
        endpoint = connect(server, api_key=SecretStr(SECRET))
        assert await ask(endpoint) == "The label says ***."
        assert {model.id for model in await endpoint.models()} == {"model", "***"}
        report = await probe_served(endpoint, endpoint.settings.model_copy(update={"model": "other"}))
        assert report.detail == "other is not served there; served: ***, model"


async def test_blanks_around_the_key_are_ignored(connect: Connect) -> None:
    async with FaultyServer(api_key=SECRET) as server:
        assert await ask(connect(server, api_key=SecretStr(f" {SECRET} "))) == "a free answer"
