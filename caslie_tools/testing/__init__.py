"""Helpers for the tests of code that uses this package: small real servers instead of mocks."""

from caslie_tools.testing.faulty_server import Fault, FaultyServer, ReceivedRequest

__all__ = ["Fault", "FaultyServer", "ReceivedRequest"]
