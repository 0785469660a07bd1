"""Helps tests of concurrent code."""

import asyncio


async def settle() -> None:
    """Lets every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)
