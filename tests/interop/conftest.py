"""The servers that the tests talk to."""

import pytest
from wire import serving


@pytest.fixture(scope="session")
def server():
    """With its defaults; shared, and left idle by every test."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def fragile():
    """With `--allow-fault-injection`."""
    with serving("--allow-fault-injection") as server:
        yield server


@pytest.fixture
def fresh():
    """With its defaults; the test's own, for counting from zero and for leaving handlers that run on."""
    with serving() as server:
        yield server
