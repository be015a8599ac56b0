"""Where a callback may go: checked as text when the task is accepted, and as an address when it is called.

The name is resolved once and the connection goes to that very address: a name that answers differently a moment later
(DNS rebinding) changes nothing.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, NoReturn, Protocol
from urllib.parse import SplitResult, urlsplit

from agent_mesh.contracts.problems import FieldFault, InvalidRequest, Unavailable
from agent_mesh.webhooks._address import IPAddress, ipv4_of, is_public

MAX_URL_CHARACTERS = 2048
MAX_HOST_CHARACTERS = 253  # RFC 1035 section 2.3.4, less the root's dot
DEFAULT_PORTS = {"https": 443, "http": 80}

# Names that never leave a machine or a network: RFC 6761, RFC 6762 (.local), RFC 8375 (.home.arpa), ICANN's .internal,
# which metadata.google.internal belongs to.
_INWARD_NAMES = ("localhost", "localdomain", "local", "internal", "home.arpa", "onion", "invalid", "test")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")  # RFC 1123 section 2.1, with the underscore of the wild
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # https://url.spec.whatwg.org/#ends-in-a-number-checker
_FORBIDDEN_CHARACTER = re.compile(r"[\x00-\x20\x7f-\xa0\\#]")  # urlsplit drops some of them without a word


class Resolver(Protocol):
    """`socket.getaddrinfo`, or something that answers like it."""

    def __call__(self, host: str, port: int, *, type: int) -> Sequence[tuple[Any, ...]]:  # noqa: A002 - getaddrinfo's name
        """Return tuples whose last item is a socket address; raise `OSError` when the name does not resolve."""
        ...


@dataclass(frozen=True)
class CallbackTarget:
    """A callback URL that passed every check that needs no network.

    `host` is lower-case ASCII without a trailing dot, or an IP address without brackets. `path` has the query.
    `trusted` is a host that the configuration allows: it may be private and without TLS.
    """

    scheme: str
    host: str
    port: int
    path: str
    trusted: bool

    @property
    def address(self) -> IPAddress | None:
        """The address that the URL itself names, None when it names a host."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def host_header(self) -> str:
        """The Host header (RFC 9110 section 7.2): the port stands there only when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str, allowed_hosts: Collection[str] = ()) -> CallbackTarget:
    """Return the target of a callback URL; `allowed_hosts` has hosts or host:port that may be private and plain HTTP.

    Raises:
        InvalidRequest: the URL is not one that we call; the fault is in field `callbackUrl`.
    """
    parts = _split(url)
    host = _host(parts)
    port = parts.port if parts.port is not None else DEFAULT_PORTS.get(parts.scheme, 0)
    trusted = _is_allowed(host, port, allowed_hosts)
    if not trusted:
        _check_public(parts.scheme, host, port)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        _refuse("percent-encode the characters of the path and query that are not ASCII (RFC 3986)")
    return CallbackTarget(parts.scheme, host, port, path, trusted)


def resolve(target: CallbackTarget, resolver: Resolver = socket.getaddrinfo) -> IPAddress:
    """Return the one address to connect to; of several the first IPv4 one, because Cloud Run has no way out by IPv6.

    Raises:
        InvalidRequest: an address of the name is not public. Which one is not told: it would map our network.
        Unavailable: the name does not resolve at the moment.
    """
    if target.address is not None:
        return target.address
    try:
        found = [ip_address(info[-1][0]) for info in resolver(target.host, target.port, type=socket.SOCK_STREAM)]
    except (OSError, ValueError) as error:
        raise Unavailable(f"The callback host {target.host!r} does not resolve at the moment.") from error
    if not found:
        raise Unavailable(f"The callback host {target.host!r} has no address at the moment.")
    if not target.trusted and not all(is_public(address) for address in found):
        _refuse(f"host {target.host!r} has an address that is not public")
    return min(found, key=lambda address: address.version)


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_CHARACTERS:
        _refuse(f"{len(url)} characters, at most {MAX_URL_CHARACTERS} are accepted")
    if _FORBIDDEN_CHARACTER.search(url):
        _refuse("a fragment, blank, backslash or control character is not accepted")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        _refuse("not a URL")
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        _refuse("not an absolute https URL")
    if "@" in parts.netloc:
        _refuse("a user name or password in the URL is not accepted; callbacks are signed")
    if port == 0:
        _refuse("port 0 cannot be called")
    return parts


def _host(parts: SplitResult) -> str:
    """Return the host in the one form that everything after this compares, resolves and sends."""
    host = parts.hostname or ""
    if "[" in parts.netloc:
        return _ipv6(host)
    if len(host) > MAX_HOST_CHARACTERS + 1:  # before IDNA, whose cost grows with the square of the length
        _refuse(f"a host of {len(host)} characters is not a host name")
    host = _ascii(host).removesuffix(".")
    address = ipv4_of(host)
    if address is not None:
        return str(address)
    labels = host.split(".")
    if len(host) > MAX_HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        _refuse(f"{host[:MAX_HOST_CHARACTERS]!r} is not a host name")
    if _NUMBER.fullmatch(labels[-1]):
        _refuse(f"{host!r} is neither a host name nor an IPv4 address")
    return host


def _ipv6(host: str) -> str:
    try:
        address = IPv6Address(host)
    except ValueError:
        _refuse(f"{host!r} is not an IPv6 address")
    if address.scope_id is not None:
        _refuse(f"{host!r} is an address of one link only")
    return str(address)


def _ascii(host: str) -> str:
    """Return the A-labels of an internationalised name (UTS 46 over IDNA 2008), or the name as it is."""
    if host.isascii() and "xn--" not in host:
        return host
    import idna  # comes with requests; most hosts never need it

    try:
        return idna.encode(host, uts46=True).decode("ascii").lower()
    except UnicodeError:
        _refuse(f"{host!a} is not an internationalised host name (IDNA 2008)")


def _is_allowed(host: str, port: int, allowed_hosts: Collection[str]) -> bool:
    """Say whether the configuration names the host, with any port, or the host with this port."""
    bracketed = f"[{host}]" if ":" in host else host
    names = () if isinstance(allowed_hosts, str) else {name.strip().lower() for name in allowed_hosts}
    return any(name in names for name in (host, bracketed, f"{bracketed}:{port}"))


def _check_public(scheme: str, host: str, port: int) -> None:
    if scheme != "https":
        _refuse("only https is accepted")
    if port != DEFAULT_PORTS["https"]:
        _refuse(f"port {port} is not accepted, only 443")
    try:
        address = ip_address(host)
    except ValueError:
        _check_public_name(host)
        return
    if not is_public(address):
        _refuse(f"address {host} is not public")


def _check_public_name(host: str) -> None:
    if "." not in host or any(host == name or host.endswith(f".{name}") for name in _INWARD_NAMES):
        _refuse(f"host {host!r} is not a public name")


def _refuse(fault: str) -> NoReturn:
    raise InvalidRequest(
        f"The callback URL cannot be used: {fault}.", errors=[FieldFault(field="callbackUrl", message=fault)]
    )
