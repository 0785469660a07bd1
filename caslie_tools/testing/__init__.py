"""What tests of code that uses this package can use: tiny real servers instead of mocks."""

from caslie_tools.testing.faulty_server import Fault, FaultyServer, Received

__all__ = ["Fault", "FaultyServer", "Received"]
