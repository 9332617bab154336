"""A server that is started once for many requests."""

import shutil

import pytest

from emulator.installation.install import install
from emulator.tree import Tree
from tests.emulator.desk import BF16, Desk


@pytest.fixture(scope="module")
def shared_server(built, tmp_path_factory):
    """One server for all the requests that it refuses."""
    work = tmp_path_factory.mktemp("shared")
    own = Desk(install(Tree(work / "tree"), with_driver=True), work)
    shutil.copytree(built.node(BF16), own.node(BF16))
    server = own.start_server()
    try:
        yield server.ready()
    finally:
        server.gone()
