"""Host names and IP addresses: resolving a name, and deciding whether an address is public."""

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a host name and a port, the preferred address first."""

# Threads of their own: a slow name server must not take the threads that decode images and read the store.
_resolvers: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="caslie-resolve")
_IPV6_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
# Cloud platforms serve their virtual machines at these addresses. The standard library does not always exclude them.
_PLATFORM: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("168.63.129.16/32"))


async def resolve_host(host: str, port: int) -> list[str]:
    """Resolves a host name with the resolver of the operating system.

    Raises:
        OSError: The host name cannot be resolved.
    """
    look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_resolvers, look_up)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet.

    Private, loopback, link-local, shared (100.64.0.0/10), multicast, reserved and cloud platform addresses are not
    public. An IPv6 address that embeds an IPv4 address (mapped, 6to4, NAT64) is public if the IPv4 address is.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if embedded is None and ip in _NAT64:
            embedded = IPv4Address(int(ip) & 0xFFFF_FFFF)
        if embedded is None:
            return ip in _IPV6_UNICAST and ip.is_global
        ip = embedded
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in net for net in _PLATFORM)
