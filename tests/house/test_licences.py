"""Every package that is installed with the product is listed with its licence."""

import re
from pathlib import Path

from tests.house.licences import PAGE, Package, listed, needed, tables

LOCK = Path(__file__).parents[2] / "requirements.lock"


def test_every_package_is_listed_with_the_licence_that_it_states():
    packages = needed()

    assert len(packages) > 40
    assert [package.name for package in packages if not package.licence] == []
    assert set(packages) - set(listed(PAGE.read_text())) == set()


def test_no_package_is_listed_that_is_not_locked():
    locked = set(re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(), re.MULTILINE))

    assert {package.name for package in listed(PAGE.read_text())} - locked == set()


def test_copyleft_packages_stand_apart_and_are_explained():
    about, _, rest = PAGE.read_text().partition("## Copyleft")
    copyleft, _, others = rest.partition("## Others")

    assert {package.name for package in listed(copyleft)} == {p.name for p in needed() if p.is_copyleft}
    assert [package.name for package in listed(others) if package.is_copyleft] == []
    for package in listed(copyleft):
        assert re.search(rf"\b{package.name}\b.*\(", about), package.name


def test_a_new_copyleft_dependency_is_not_on_the_page_by_itself():
    new = Package("some-parser", "GNU General Public License v3 (GPLv3)")

    assert new.is_copyleft
    assert new not in listed(PAGE.read_text())
    assert listed(tables([new]).partition("## Others")[0]) == [new]
