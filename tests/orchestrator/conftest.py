"""Where requests are handed in: a release, a model, a store and a folder of files, on both databases."""

from pathlib import Path

import pytest
from builders.desk import Desk, a_desk

from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database


@pytest.fixture
def desk(database: Database, store: ArtifactStore, tmp_path: Path) -> Desk:
    return a_desk(database, store, tmp_path)
