"""Which addresses are public: the table, and the disguises."""

import ipaddress

import pytest

from app.core.addresses import Allowed, is_public, refused

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.255.255"),
    *("100.128.0.1", "169.253.1.1", "192.0.1.1", "223.255.255.255", "198.17.0.1", "198.20.0.1"),
    *("2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2003::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8"),
]
NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9"),  # noqa: S104 - to be refused
    *("169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.192"),
    *("192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
    *("100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:db8::1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "4000::1", "5f00::1", "::127.0.0.1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"),
    *("64:ff9b::169.254.169.254", "64:ff9b:1::1", "2606:4700::1111%eth0"),
]


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_what_is_not_public_in_whatever_form(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


def test_one_bad_address_refuses_the_host() -> None:
    good, bad = ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("10.0.0.1")
    assert refused("h", [good]) is None
    assert refused("h", [good, bad]) == bad


def test_the_setting_lets_hosts_and_networks_through() -> None:
    allowed = Allowed.parse("127.0.0.0/8, [::1], Agents.Internal. ,10.1.2.3")
    loopback, private = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("10.0.0.1")
    assert refused("any", [loopback, ipaddress.ip_address("::1")], allowed) is None
    assert refused("any", [private], allowed) == private
    assert refused("agents.internal", [private], allowed) is None
    assert refused("agents.internal.evil.example", [private], allowed) == private
    assert refused("any", [ipaddress.ip_address("10.1.2.3")], allowed) is None


@pytest.mark.parametrize("text", ["10.0.0.1/8", "http://x", "a b", "*.internal", "10.0.0.0/99"])
def test_a_setting_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a host name nor a network"):
        Allowed.parse(text)
