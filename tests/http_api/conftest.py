from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from caslie_tools import Caslie
from caslie_tools.settings import Settings
from tests.doubles import light_profile, write_catalogue
from tests.http_api.serving import serving


@pytest.fixture
def caslie(tmp_path: Path) -> Iterator[Caslie]:
    """An open store with the products of the light profile."""
    with Caslie.open(tmp_path / "store", profile=light_profile(), settings=Settings()) as caslie:
        caslie.index(write_catalogue(tmp_path))
        yield caslie


@pytest.fixture
async def client(caslie: Caslie) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server over the store."""
    async with serving(caslie) as client:
        yield client
