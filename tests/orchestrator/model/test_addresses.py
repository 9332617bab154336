import pytest

from orchestrator.model.addresses import LOOPBACK, PRIVATE, refusal_of


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1", "::a9fe:a9fe", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "not an address",
    ],
)  # fmt: skip
def test_some_addresses_are_never_called(address):
    assert refusal_of(address, loopback=True, private=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
def test_loopback_is_called_only_if_that_is_set(address):
    assert refusal_of(address, loopback=False, private=True) == LOOPBACK
    assert refusal_of(address, loopback=True, private=False) is None


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.1", "172.16.9.9", "fd12::7", "100.64.0.1"])
def test_private_addresses_are_called_unless_that_is_forbidden(address):
    assert refusal_of(address, loopback=False, private=True) is None
    assert refusal_of(address, loopback=False, private=False) == PRIVATE


def test_public_addresses_are_called():
    assert [refusal_of(a, loopback=False, private=False) for a in ("93.184.215.14", "2606:2800:21f::1")] == [None] * 2
