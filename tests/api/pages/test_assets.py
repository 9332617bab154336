"""What pages load comes from here, unchanged, and is kept by browsers."""

import hashlib
import json
import re
from pathlib import Path

import pytest

import api.pages
from api.pages.files import files

ASSETS = Path(api.pages.__file__).parent / "assets"
AXE = Path(__file__).parent / "axe"


@pytest.mark.parametrize("folder", [ASSETS, AXE], ids=["pages", "tests"])
def test_every_vendored_file_is_the_one_that_the_manifest_names(folder):
    packages = json.loads((folder / "manifest.json").read_text())
    vendored = {name: entry for package in packages for name, entry in package["files"].items()}
    licences = {package["licence_file"] for package in packages}

    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}

    assert present == {*vendored, *licences}
    for name, entry in vendored.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"], name


@pytest.mark.parametrize("folder", [ASSETS, AXE], ids=["pages", "tests"])
def test_every_vendored_package_is_pinned_and_has_its_licence(folder):
    for package in json.loads((folder / "manifest.json").read_text()):
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
        assert package["integrity"].startswith("sha512-")
        assert len((folder / package["licence_file"]).read_text()) > 400


def test_no_style_sheet_loads_anything_from_elsewhere():
    for name, file in files().items():
        if name.endswith(".css"):
            loaded = re.findall(r"url\(\s*[\"']?([^\"')]{1,30})|@import\s+([^;]{1,60})", file.content.decode())

            assert [first + second for first, second in loaded if not first.startswith("data:image/")] == []


def test_a_file_is_kept_for_ever_at_the_address_of_its_content(browser):
    file = files()["htmx.min.js"]

    answer = browser.get(file.path)

    assert answer.status_code == 200
    assert answer.content == file.content
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]


def test_no_file_is_served_under_the_digest_of_another_version(browser):
    assert browser.get("/assets/0123456789abcdef/htmx.min.js").status_code == 404
    assert browser.get("/assets/0123456789abcdef/..%2f..%2fapp.py").status_code == 404


def test_the_routes_of_the_api_are_shown_to_who_is_signed_in(signed_in, browser):
    page = signed_in("viewer").get("/docs")

    assert page.status_code == 200
    assert files()["swagger-ui-bundle.js"].path in page.text
    assert "unsafe" not in page.headers["content-security-policy"]
    assert browser.get("/docs", follow_redirects=False).headers["location"] == "/sign-in?next=%2Fdocs"
