"""Which addresses the platform may connect to: pure, by the registries of special addresses.

Not ``ipaddress.is_global``: what it answers for 6to4, Teredo, NAT64 and 192.0.0.0/24 changed
between patch releases of Python. Sources: the IANA special-purpose registries (RFC 6890).
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network, unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers (CGNAT); metadata of some clouds
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; metadata of one cloud
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Everything public of version 6 lies in here, and these parts of it are not.
PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: may carry any address of version 4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether this is an address of the open internet.

    An address of version 6 that is one of version 4 in disguise (mapped, NAT64) is judged by that
    one; 6to4 and Teredo are refused altogether, and so is every address with a zone.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    if address in MAPPED or address in NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in PUBLIC_6 and not any(address in network for network in NOT_PUBLIC_6)


@dataclass(frozen=True)
class Allowed:
    """What may be reached although it is not public: hosts by their name, networks by CIDR."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Allowed":
        """From ``TURNKEEPER_EGRESS_ALLOW``: names and CIDRs, separated by commas.

        Raises:
            ValueError: naming the part that is neither.
        """
        hosts, networks = set(), []
        for part in (part.strip().lower() for part in text.split(",") if part.strip()):
            try:
                networks.append(ipaddress.ip_network(part.strip("[]")))
                continue
            except ValueError:
                pass
            if "/" in part or ":" in part or not part.replace("-", "").replace(".", "").isalnum():
                raise ValueError(f"{part!r} is neither a host name nor a network as 10.0.0.0/8")
            hosts.add(part.rstrip("."))
        return cls(frozenset(hosts), tuple(networks))

    def lets(self, host: str, address: Address) -> bool:
        """Whether the setting lets this through; a zone is let through by a network only."""
        return host.lower().rstrip(".") in self.hosts or any(
            address.version == network.version and address in network for network in self.networks
        )


def refused(
    host: str, addresses: Iterable[Address], allowed: Allowed = Allowed()
) -> Address | None:
    """The first of a host's addresses that may not be connected to; one bad one refuses all."""
    for address in addresses:
        if not is_public(address) and not allowed.lets(host, address):
            return address
    return None
