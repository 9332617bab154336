"""Which addresses our processes may call for somebody who gives us a URL. Pure."""

import ipaddress

LOOPBACK, PRIVATE = "is loopback", "is private"
"""Refusals that settings can lift."""

_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)
"""Where clouds tell their machines passwords: AWS, GCP, Alibaba, Azure, Oracle. Some of them look private or public."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def refusal_of(address: str, *, loopback: bool, private: bool) -> str | None:
    """Why an address is not called; None if it may be. `loopback`, `private`: such addresses may be."""
    try:
        found = _meant(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return "is no address"
    if found in _METADATA:
        return "is where a cloud keeps its metadata"
    for bad, why in (
        (found.is_unspecified, "is unspecified"),
        (found.is_multicast, "is multicast"),
        (found.is_link_local, "is link-local"),
        (found.is_loopback and not loopback, LOOPBACK),
    ):
        if bad:
            return why
    if found.is_loopback:
        return None
    if found.is_reserved or found == ipaddress.ip_address("255.255.255.255"):
        return "is reserved"
    return PRIVATE if not found.is_global and not private else None


def _meant(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    inner = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
    if inner is None and int(address) >> 32 == 0 and int(address) > 1:  # ::a.b.c.d
        inner = ipaddress.IPv4Address(int(address))
    return inner or address
