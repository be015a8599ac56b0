"""Which IP addresses are somebody's public server, and none of ours or of the cloud's.

`is_global` of the standard library answers from IANA's special-purpose registries, as old as the Python it came with.
So what has been reserved is listed here too, and of IPv6 only what IANA has given out at all is let through.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPAddress = IPv4Address | IPv6Address

# https://www.iana.org/assignments/iana-ipv4-special-registry
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and some clouds' metadata
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: 169.254.169.254 is the metadata server
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

# All that is given out as global unicast: https://www.iana.org/assignments/ipv6-address-space. It leaves out v4-mapped
# and v4-compatible addresses, NAT64 (64:ff9b::/96), unique-local, link-local and multicast ones.
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")

# https://www.iana.org/assignments/iana-ipv6-special-registry
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, Teredo among them: an IPv4 address in disguise
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3fff::/20",  # documentation
    )
)


def is_public(address: IPAddress) -> bool:
    """Say whether anybody on the Internet reaches the same server under this address."""
    if not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _NOT_PUBLIC_V4)
    return address in _GLOBAL_UNICAST_V6 and not any(address in block for block in _NOT_PUBLIC_V6)


def ipv4_of(host: str) -> IPv4Address | None:
    """Return the address that `host` writes in any form of inet_aton(3): 127.1, 0x7f.1, 0177.0.0.1 or 2130706433."""
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
