"""Secrets of the services come from files as well as from variables."""

import pytest
from pydantic import ValidationError

from orchestrator.settings import Settings


@pytest.mark.parametrize("name", ["database_url", "broker_url"])
def test_an_address_with_a_password_may_be_in_a_file(tmp_path, monkeypatch, name):
    file = tmp_path / "url"
    file.write_text("scheme://user:hunter2@host/1\n")
    monkeypatch.setenv(f"TX81_{name.upper()}_FILE", str(file))

    assert getattr(Settings(), name) == "scheme://user:hunter2@host/1"


@pytest.mark.parametrize("name", ["database_url", "broker_url"])
def test_a_file_that_is_not_there_or_stands_beside_a_variable_is_refused_by_name(tmp_path, monkeypatch, name):
    monkeypatch.setenv(f"TX81_{name.upper()}_FILE", str(tmp_path / "missing"))

    with pytest.raises(ValidationError, match=f"{name}_file: .*missing cannot be read: No such file"):
        Settings()
    monkeypatch.setenv(f"TX81_{name.upper()}", "scheme://other")
    with pytest.raises(ValidationError, match=f"{name} and {name}_file are both set"):
        Settings()
