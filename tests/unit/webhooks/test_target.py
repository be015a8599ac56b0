"""Server-side request forgery: what a callback URL may name, and what its name may resolve to."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.contracts.problems import InvalidRequest, Unavailable
from agent_mesh.webhooks import CallbackTarget, is_public, parse_target, resolve


class Names:
    """A name server in memory that counts its questions."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int, *, type: int) -> Sequence[tuple[Any, ...]]:  # noqa: A002
        assert type == socket.SOCK_STREAM
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in answer]


def refusal(url: str, allowed_hosts: Sequence[str] = ()) -> str:
    with pytest.raises(InvalidRequest) as refused:
        parse_target(url, allowed_hosts)
    assert refused.value.errors is not None
    assert [fault.field for fault in refused.value.errors] == ["callbackUrl"]
    return refused.value.errors[0].message


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://hooks.example.com", "hooks.example.com", "/"),
        ("https://hooks.example.com/a/b?c=d&e", "hooks.example.com", "/a/b?c=d&e"),
        ("https://HOOKS.Example.COM.:443/%20", "hooks.example.com", "/%20"),
        ("HTTPS://a_b.example.com?x", "a_b.example.com", "/?x"),
        ("https://bücher.example/x", "xn--bcher-kva.example", "/x"),
        ("https://faß.example/x", "xn--fa-hia.example", "/x"),
        ("https://xn--bcher-kva.example/x", "xn--bcher-kva.example", "/x"),
        ("https://8.8.8.8/x", "8.8.8.8", "/x"),
        ("https://134744072/x", "8.8.8.8", "/x"),
        ("https://[2606:4700:4700::1111]/x", "2606:4700:4700::1111", "/x"),
        ("https://3com.com/", "3com.com", "/"),
        ("https://0x.example.com/", "0x.example.com", "/"),
    ],
)
def test_a_public_https_url_is_accepted(url: str, host: str, path: str) -> None:
    assert parse_target(url) == CallbackTarget("https", host, 443, path, trusted=False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "/path",
        "//hooks.example.com/",
        "https:hooks.example.com",
        "https:///path",
        "https://:443/",
        "http://hooks.example.com/",
        "http://hooks.example.com:443/",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/",
        "javascript:alert(1)",
        "https://user@hooks.example.com/",
        "https://user:pass@hooks.example.com/",
        "https://@hooks.example.com/",
        "https://hooks.example.com/#fragment",
        "https://hooks.example.com/#",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:80/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com:port/",
        "https://hooks.example.com/ä",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nX-Evil: 1",
        "https://hooks.exam\tple.com/",
        " https://hooks.example.com/",
        "https://hooks.example.com\\@evil.example.com/",
        "https://hooks..example.com/",
        "https://.example.com/",
        "https://-hooks.example.com/",
        "https://hooks%2eexample.com/",
        "https://*.example.com/",
        "https://xn--a.example.com/",
        "https://\u2488example.com/",
        "https://" + "a" * 64 + ".example.com/",
        "https://" + "a." * 130 + "com/",
        "https://" + "ä." * 900 + "com/",
        "https://hooks.example.com/" + "a" * 2048,
        "https://[::1/",
        "https://[v1.x]/",
        "https://[hooks.example.com]/",
    ],
    ids=lambda url: ascii(url)[:60],
)
def test_a_url_of_another_shape_is_refused(url: str) -> None:
    refusal(url)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.localhost",
        "intranet",
        "printer.local",
        "metadata.google.internal",
        "metadata.google.internal.",
        "METADATA.google.INTERNAL",
        "db.internal",
        "router.home.arpa",
        "x.onion",
    ],
)
def test_a_name_of_the_inside_is_refused(host: str) -> None:
    assert "not a public name" in refusal(f"https://{host}/")


LOOPBACK_IN_DISGUISE = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "\u2460\u2461\u2466.0.0.1",
]


@pytest.mark.parametrize("host", LOOPBACK_IN_DISGUISE, ids=ascii)
def test_every_spelling_of_the_loopback_address_is_seen_through(host: str) -> None:
    refusal(f"https://{host}/")


@pytest.mark.parametrize("host", ["256.1.1.1", "1.2.3.4.5", "09.1.1.1", "1.2.3.0x", "example.123", "4294967296"])
def test_what_ends_in_a_number_and_is_no_address_is_refused(host: str) -> None:
    refusal(f"https://{host}/")


PRIVATE = [
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "34.120.0.1", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001:800::200e"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_as_url_and_as_answer_of_the_name(address: str) -> None:
    refusal(f"https://[{address}]/" if ":" in address else f"https://{address}/")
    with pytest.raises(InvalidRequest) as refused:
        resolve(parse_target("https://hooks.example.com/"), Names([address]))
    assert address not in refused.value.detail


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_where_the_connection_goes(address: str) -> None:
    names = Names([address])
    assert resolve(parse_target("https://hooks.example.com/"), names) == ip_address(address)
    assert names.asked == [("hooks.example.com", 443)]


@given(st.ip_addresses(v=6))
def test_no_address_of_ipv6_that_holds_an_ipv4_one_is_public(address: Any) -> None:
    if address.ipv4_mapped or address.sixtofour or address.teredo:
        assert not is_public(address)
    if is_public(address):
        assert address.is_global
        assert address.packed[0] >> 5 == 0b001


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(InvalidRequest):
        resolve(parse_target("https://hooks.example.com/"), Names(["8.8.8.8", "10.0.0.1"]))


def test_ipv4_is_taken_before_ipv6() -> None:
    found = resolve(parse_target("https://hooks.example.com/"), Names(["2606:4700:4700::1111", "1.1.1.1", "8.8.8.8"]))
    assert str(found) == "1.1.1.1"


def test_an_address_in_the_url_asks_no_name_server() -> None:
    names = Names(["10.0.0.1"])
    assert str(resolve(parse_target("https://8.8.8.8/"), names)) == "8.8.8.8"
    assert names.asked == []


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), OSError(), UnicodeError("label")])
def test_a_name_that_does_not_resolve_may_do_so_later(error: Exception) -> None:
    def failing(host: str, port: int, *, type: int) -> Sequence[tuple[Any, ...]]:  # noqa: A002
        raise error

    with pytest.raises(Unavailable):
        resolve(parse_target("https://hooks.example.com/"), failing)
    with pytest.raises(Unavailable):
        resolve(parse_target("https://hooks.example.com/"), Names([]))


@pytest.mark.parametrize(
    ("url", "allowed", "host_header"),
    [
        ("http://localhost:8080/x", "localhost", "localhost:8080"),
        ("http://localhost:8080/x", "LOCALHOST:8080", "localhost:8080"),
        ("http://localhost/x", "localhost:80", "localhost"),
        ("https://127.1:8443/x", "127.0.0.1", "127.0.0.1:8443"),
        ("http://[::1]:8080/x", "[::1]:8080", "[::1]:8080"),
        ("http://[::1]/x", "::1", "[::1]"),
        ("https://receiver:443/x", "receiver", "receiver"),
    ],
)
def test_an_allowed_host_may_be_private_and_plain(url: str, allowed: str, host_header: str) -> None:
    target = parse_target(url, [allowed])
    assert target.trusted
    assert target.host_header == host_header


def test_the_name_of_an_allowed_host_may_resolve_to_a_private_address() -> None:
    target = parse_target("http://receiver:8080/", ["receiver:8080"])
    assert str(resolve(target, Names(["172.17.0.2"]))) == "172.17.0.2"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://localhost:8081/", ["localhost:8080"]),
        ("http://localhost.example.com/", ["localhost"]),
        ("http://evil-localhost:80/", ["localhost"]),
        ("http://localhost:0/", ["localhost"]),
        ("http://localhost/", []),
        ("http://localhost/", [""]),
        ("ftp://localhost/", ["localhost"]),
        ("http://user@localhost/", ["localhost"]),
    ],
    ids=str,
)
def test_allowing_one_host_allows_no_other(url: str, allowed: Sequence[str]) -> None:
    refusal(url, allowed)


def test_allowed_hosts_given_as_bare_text_are_not_matched_by_their_parts() -> None:
    refusal("http://x/", "xlocalhostx")


@given(
    st.one_of(st.text(), st.text().map("https://{}".format), st.from_regex(r"https://[^/]{1,40}/.*", fullmatch=True))
)
def test_no_text_raises_anything_but_the_refusal(url: str) -> None:
    try:
        target = parse_target(url)
    except InvalidRequest:
        return
    assert target.host.isascii()
    assert (target.scheme, target.port, target.trusted) == ("https", 443, False)
