"""Every page in both languages, with nothing left in the other one."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import api.pages
from api.pages import languages
from api.pages.languages import CATALOGUES, LANGUAGES, chosen
from api.pages.words import WORDS
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import AttemptState, JobState

METHODS = [("templates/**.html", "jinja2"), ("**.py", "python")]
OPTIONS = {"templates/**.html": {"newstyle_gettext": "true"}}


def in_the_source() -> set[str]:
    found = extract_from_dir(Path(api.pages.__file__).parent, METHODS, OPTIONS)
    return {message if isinstance(message, str) else message[0] for _, _, message, _, _ in found}


@pytest.fixture(params=[language for language in LANGUAGES if language != "en"])
def catalogue(request):
    with (CATALOGUES / f"{request.param}.po").open("rb") as stream:
        return read_po(stream, locale=request.param, abort_invalid=True)


def texts(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string)


def test_every_text_is_translated_and_none_is_left_over(catalogue):
    entries = {entry.id if isinstance(entry.id, str) else entry.id[0]: entry for entry in catalogue if entry.id}

    assert sorted(in_the_source() ^ set(entries)) == []  # to bring it up to date: make messages
    assert [name for name, entry in entries.items() if entry.fuzzy or not all(texts(entry))] == []
    assert not catalogue.obsolete


def test_a_translation_has_the_places_of_its_text(catalogue):
    for entry in catalogue:
        plural = entry.id if isinstance(entry.id, str) else entry.id[-1]
        for text in texts(entry) if entry.id else ():
            assert sorted(re.findall(r"%\(\w+\)s", text)) == sorted(re.findall(r"%\(\w+\)s", plural)), entry.id


def test_every_state_and_failure_has_a_word():
    states = {*JobState, *AttemptState, *FailureKind}

    assert {str(state) for state in states} - WORDS.keys() == set()


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        (None, None, "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh_CN"),
        (None, "zh-Hans", "zh_CN"),
        (None, "en;q=0.5,zh;q=0.9", "zh_CN"),
        (None, "fr-FR,fr;q=0.9", "en"),
        (None, "en-GB,zh;q=0.5", "en"),
        ("en", "zh-CN", "en"),
        ("zh_CN", "en", "zh_CN"),
        ("../../etc", "zh", "zh_CN"),
        (None, "zh;q=x,;;,=" * 1000, "en"),
    ],
)
def test_the_language_is_the_viewers_choice_then_the_browsers(cookie, accepted, language):
    assert chosen(cookie, accepted) == language


def test_a_page_is_in_the_language_that_it_names(signed_in):
    browser = signed_in("viewer")

    english = browser.get("/", headers={"Accept-Language": "en"}).text
    chinese = browser.get("/", headers={"Accept-Language": "zh-CN"}).text

    assert '<html lang="en"' in english
    assert "No job waits for a slot." in english
    assert '<html lang="zh-CN"' in chinese
    assert "没有作业在等待槽位。" in chinese
    assert "No job waits" not in chinese


def test_times_are_in_the_viewers_zone():
    at = datetime(2026, 12, 1, 13, 50, tzinfo=UTC)

    assert "21:50" in languages.moment(at, "zh_CN", languages.zone("Asia/Shanghai"))
    for unknown in (None, "", "../etc/passwd", "Mars/Olympus", "x" * 5000):
        assert "13:50" in languages.moment(at, "zh_CN", languages.zone(unknown))


def test_numbers_have_the_separators_of_the_language_and_no_false_zero():
    assert languages.number(1234567, "en") == "1,234,567"
    assert languages.number(2259.424, "en") == "2,259"
    assert languages.number(0.000412345, "zh_CN") == "0.0004123"
