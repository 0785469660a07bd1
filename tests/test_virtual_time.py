import asyncio
import time

import pytest

pytestmark = pytest.mark.virtual_time


async def test_a_long_wait_takes_no_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1_000_000):
            await asyncio.Event().wait()
    assert asyncio.get_running_loop().time() == pytest.approx(1_000_000)


async def test_timers_end_in_their_order() -> None:
    ended: list[int] = []

    async def wait(seconds: int) -> None:
        await asyncio.sleep(seconds)
        ended.append(seconds)

    await asyncio.gather(*map(wait, (3, 1, 2)))
    assert ended == [1, 2, 3]


async def test_work_takes_no_time_of_the_clock() -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    blocked = asyncio.to_thread(time.sleep, 0.1)  # longer than the loop waits for data
    async with asyncio.timeout(0.001), await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        await blocked
        for _ in range(20):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"ping\n")
            assert await reader.readline() == b"ping\n"
            writer.close()
            await writer.wait_closed()
    assert asyncio.get_running_loop().time() == 0


async def test_a_short_sleep_ends_when_nothing_else_can_continue() -> None:
    steps = 0

    async def work() -> None:
        nonlocal steps
        for _ in range(1000):
            await asyncio.sleep(0)
            steps += 1

    task = asyncio.create_task(work())
    await asyncio.sleep(0.001)
    assert (task.done(), steps) == (True, 1000)
