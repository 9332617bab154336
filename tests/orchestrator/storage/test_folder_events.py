"""Sleeping until a file is written to."""

import threading

import pytest

from orchestrator.storage.folder_events import FolderEvents


@pytest.fixture
def events(tmp_path):
    events = FolderEvents(tmp_path)
    yield events
    events.close()


def test_a_write_into_the_folder_wakes_its_sleeper(events, tmp_path):
    threading.Thread(target=(tmp_path / "模型.db").write_text, args=("changed",)).start()

    assert events.wait(10)


def test_what_was_written_while_nobody_slept_is_told_once(events, tmp_path):
    for number in range(3):
        (tmp_path / "a").write_text(str(number))

    assert events.wait(0)
    assert not events.wait(0)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        FolderEvents(tmp_path / "gone")
