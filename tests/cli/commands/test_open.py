import json

import httpx2


def test_the_printed_link_signs_a_browser_in_once(tx81, at_site):
    ran = tx81("open", "--link")

    address, _, code = ran.out.strip().partition("#")
    assert ran.code == 0
    assert address.endswith("/sign-in")
    first, second = (httpx2.post(address, data={"code": code}, follow_redirects=False) for _ in range(2))
    assert (first.status_code, second.status_code) == (303, 401)


def test_without_a_screen_the_link_is_printed(tx81, at_site, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)

    assert "/sign-in#" in tx81("open").out
    assert "/sign-in#" in json.loads(tx81("open", "--output", "json").out)["link"]
