import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from caslie_tools._concurrency import ConcurrencyLimit, SingleFlight, requested_by, run_sync
from caslie_tools.exceptions import InputError
from tests.doubles import FunctionRunnable
from tests.event_loop import settle
from tests.time_limits import HANG_SECONDS

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


class TestRunSync:
    async def who(self) -> str:
        return WHO.get()

    def test_it_runs_without_a_loop_and_sees_the_context(self) -> None:
        WHO.set("shopper")
        assert run_sync(self.who()) == "shopper"

    async def test_it_runs_inside_a_loop_and_sees_the_context(self) -> None:
        WHO.set("shopper")
        assert run_sync(self.who()) == "shopper"

    async def test_it_sees_the_context_of_a_call_within_a_call(self) -> None:
        async def within() -> str:
            WHO.set("judge")
            return run_sync(self.who())

        assert run_sync(within()) == "judge"

    @pytest.mark.parametrize("depth", [1, 2, 3])
    def test_calls_within_calls_do_not_wait_for_each_other(self, depth: int) -> None:
        async def call(left: int) -> int:
            return 1 + run_sync(call(left - 1)) if left else 0

        assert run_sync(call(depth)) == depth

    async def test_so_do_calls_from_a_thread_of_a_call(self) -> None:
        async def call(left: int) -> int:
            return 1 + await asyncio.to_thread(run_sync, call(left - 1)) if left else 0

        assert run_sync(call(3)) == 3

    def test_a_bound_holds_over_all_threads_that_call_synchronously(self) -> None:
        bound, inside, peak = ConcurrencyLimit(2), 0, 0

        async def work() -> None:
            nonlocal inside, peak
            async with bound():
                inside += 1
                peak = max(peak, inside)
                await settle()
                inside -= 1

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: run_sync(work()), range(24)))
        assert peak <= 2

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_reaches_the_caller_and_the_next_call_goes_on(self, error: type[BaseException]) -> None:
        async def interrupted() -> None:
            raise error

        with pytest.raises(error):
            run_sync(interrupted())
        assert run_sync(self.who()) == WHO.get()

    @pytest.mark.parametrize("inside", [True, False])
    def test_an_error_comes_out_as_it_is(self, inside: bool) -> None:
        async def fail() -> None:
            raise KeyError("mug")

        async def within() -> None:
            run_sync(fail())

        with pytest.raises(KeyError, match="mug"):
            run_sync(within() if inside else fail())

    def test_all_calls_share_one_loop_so_that_bounds_hold_and_clients_live_on(self) -> None:
        async def loop() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        async def from_within() -> asyncio.AbstractEventLoop:
            return await asyncio.to_thread(lambda: run_sync(loop()))

        with ThreadPoolExecutor(4) as threads:
            loops = set(threads.map(lambda _: run_sync(loop()), range(8)))
        assert {run_sync(loop()), run_sync(from_within()), asyncio.run(from_within())} == loops
        assert len(loops) == 1

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_inside_does_not_end_it_for_the_others(self, error: type[BaseException]) -> None:
        async def interrupt() -> None:
            raise error

        with pytest.raises(error):
            run_sync(interrupt())
        assert run_sync(self.who())

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    def test_a_forked_child_has_a_loop_of_its_own(self) -> None:
        code = """
import asyncio, os
from caslie_tools._concurrency import run_sync
run_sync(asyncio.sleep(0))
child = os.fork()
if not child:
    run_sync(asyncio.sleep(0))
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_SECONDS, check=True
        )
        assert done.stdout == "7\n"


class TestAsyncRunnable:
    def test_sync_and_batch_are_derived(self) -> None:
        double = FunctionRunnable[int, int](lambda number: 2 * number, name="double")
        assert double.invoke(2) == 4
        assert double.batch([1, 2, 3]) == [2, 4, 6]

    def test_a_batch_shares_one_loop_so_that_its_bound_holds(self) -> None:
        bound = ConcurrencyLimit(2)
        loops = set()

        async def work(number: int) -> int:
            loops.add(asyncio.get_running_loop())
            async with bound():
                await settle()
            return number

        worker = FunctionRunnable[int, int](work, name="worker")
        assert worker.batch(list(range(12))) == list(range(12))
        assert len(loops) == 1

    def test_a_batch_can_return_its_exceptions(self) -> None:
        inverse = FunctionRunnable[int, float](lambda number: 1 / number, name="inverse")
        answers: list[Any] = list(inverse.batch([2, 0], return_exceptions=True))
        good, bad = answers
        assert good == 0.5
        assert isinstance(bad, ZeroDivisionError)

    def test_a_batch_obeys_the_bound_of_its_config(self) -> None:
        async def work(number: int) -> int:
            await settle()
            return number

        worker = FunctionRunnable[int, int](work, name="worker")
        worker.batch(list(range(6)), {"max_concurrency": 3})
        assert worker.peak == 3


class TestBound:
    async def test_no_more_than_the_limit_are_inside(self) -> None:
        bound, inside, peak = ConcurrencyLimit(3), 0, 0

        async def work() -> None:
            nonlocal inside, peak
            async with bound():
                inside += 1
                peak = max(peak, inside)
                await settle()
                inside -= 1

        await asyncio.gather(*(work() for _ in range(10)))
        assert peak == 3

    async def test_a_cancelled_waiter_gives_its_place_to_the_next(self) -> None:
        bound, free, entered = ConcurrencyLimit(1), asyncio.Event(), []

        async def work(name: str) -> None:
            async with bound():
                entered.append(name)
                await free.wait()

        first, second, third = (asyncio.create_task(work(name)) for name in ("first", "second", "third"))
        await settle()
        second.cancel()
        free.set()
        await asyncio.gather(first, third)
        assert entered == ["first", "third"]

    async def test_requesters_take_turns(self) -> None:
        bound, free, entered = ConcurrencyLimit(1), asyncio.Event(), []

        async def work(name: str) -> None:
            async with bound():
                entered.append(name)
                await free.wait()

        def start(requester: str, count: int) -> list[asyncio.Task[None]]:
            with requested_by(requester):
                return [asyncio.create_task(work(f"{requester} {number}")) for number in range(count)]

        tasks = start("catalogue", 4)
        await settle()
        tasks += start("question", 2)
        await settle()
        free.set()
        await asyncio.gather(*tasks)
        assert entered == ["catalogue 0", "catalogue 1", "question 0", "catalogue 2", "question 1", "catalogue 3"]

    async def test_places_that_are_given_up_at_any_moment_are_not_lost(self) -> None:
        bound = ConcurrencyLimit(2)

        async def work(number: int) -> None:
            with requested_by(number % 3):
                async with bound():
                    await asyncio.sleep(0)

        tasks = [asyncio.create_task(work(number)) for number in range(60)]
        for number in range(0, 60, 2):
            await asyncio.sleep(0)
            tasks[number].cancel()
            tasks[(number * 7) % 60].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(HANG_SECONDS), bound(), bound():
            pass

    def test_one_bound_serves_loops_one_after_the_other_and_at_once(self) -> None:
        bound, meeting = ConcurrencyLimit(1), threading.Barrier(2, timeout=HANG_SECONDS)

        async def contend() -> int:
            async def work() -> None:
                async with bound():
                    await settle()

            async with bound():
                meeting.wait()  # both loops are inside: one does not block the other
                others = [asyncio.create_task(work()) for _ in range(2)]
                await settle()
            await asyncio.gather(*others)
            return 1

        with ThreadPoolExecutor(2) as threads:
            assert sum(threads.map(lambda _: asyncio.run(contend()), range(2))) == 2
        meeting = threading.Barrier(1)
        assert asyncio.run(contend()) == 1

    def test_a_loop_that_is_over_is_let_go(self) -> None:
        bound = ConcurrencyLimit(1)

        async def contend() -> "weakref.ref[asyncio.AbstractEventLoop]":
            async def work() -> None:
                async with bound():
                    await settle()

            await asyncio.gather(work(), work(), work())
            return weakref.ref(asyncio.get_running_loop())

        loop = asyncio.run(contend())
        gc.collect()
        assert loop() is None

    def test_a_limit_below_one_is_refused(self) -> None:
        with pytest.raises(InputError, match="must be at least 1; it is 0"):
            ConcurrencyLimit(0)


class Flights:
    """Counts what a single flight starts; every start waits to be released."""

    def __init__(self) -> None:
        self.share = SingleFlight[str]()
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.release = asyncio.Event()
        self.error: Exception | None = None

    def make(self, key: str) -> Callable[[], Coroutine[Any, Any, str]]:
        async def work() -> str:
            self.started.append(key)
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.append(key)
                raise
            if self.error is not None:
                raise self.error
            return key.upper()

        return work

    def call(self, key: str) -> "asyncio.Task[str]":
        return asyncio.create_task(self.share(key, self.make(key)))


class TestSingleFlight:
    async def test_equal_calls_share_one_run_and_others_do_not(self) -> None:
        flights = Flights()
        calls = [flights.call(key) for key in ("a", "a", "b", "a")]
        await settle()
        flights.release.set()
        assert await asyncio.gather(*calls) == ["A", "A", "B", "A"]
        assert flights.started == ["a", "b"]

    async def test_a_later_call_runs_again(self) -> None:
        flights = Flights()
        flights.release.set()
        assert await flights.call("a") == await flights.call("a") == "A"
        assert flights.started == ["a", "a"]

    async def test_an_error_reaches_every_caller_and_is_forgotten(self) -> None:
        flights = Flights()
        flights.error = OSError("down")
        calls = [flights.call("a") for _ in range(3)]
        await settle()
        flights.release.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [OSError] * 3
        assert flights.started == ["a"]
        flights.error = None
        assert await flights.call("a") == "A"

    async def test_one_caller_that_leaves_does_not_stop_the_others(self) -> None:
        flights = Flights()
        first, second = flights.call("a"), flights.call("a")
        await settle()
        first.cancel()  # the very one that started it
        await settle()
        assert first.cancelled()
        flights.release.set()
        assert await second == "A"
        assert flights.cancelled == []

    async def test_when_all_callers_leave_the_run_is_cancelled(self) -> None:
        flights = Flights()
        calls = [flights.call("a") for _ in range(2)]
        await settle()
        for call in calls:
            call.cancel()
        await settle()
        assert flights.cancelled == ["a"]
        flights.release.set()
        assert await flights.call("a") == "A"  # and the next one starts afresh

    def test_calls_on_two_loops_do_not_meet(self) -> None:
        share, meeting = SingleFlight[int](), threading.Barrier(2, timeout=HANG_SECONDS)

        async def make() -> int:
            meeting.wait()
            return 1

        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(lambda _: asyncio.run(share("a", make)), range(2))) == [1, 1]
