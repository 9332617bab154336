"""Comparisons as text, Markdown, HTML and JUnit: hostile answers stay text in each of them."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from api.documents.comparisons import ComparisonReport
from cli.pages.comparison_html import html
from cli.pages.comparison_junit import junit
from cli.pages.comparison_markdown import escaped, markdown
from cli.pages.comparisons import comparison_page
from cli.pages.plots import Effect, effects, samples
from cli.session import console

HOSTILE = "<script>alert(1)</script> \x1b]0;x\x07 | `a` ]]> &amp; \x00 \u202e [x](javascript:1) <img src=http://evil/>"


def metric(name="output_throughput", verdict="worse", **facts) -> dict:
    return {
        "metric": name, "verdict": verdict, "why": "-10.0%, p 0.001 below 0.01", "unit": "tokens/s",
        "definition": "output_throughput/process_wall", "before": (40.0, 40.2, 39.8), "after": (36.0, 36.2, 35.8),
        "difference": -4.0, "low": -4.4, "high": -3.6, "relative": -0.1, "threshold": 0.03, "p_value": 0.001,
        "corrected": 0.002, "needed": None, **facts,
    }  # fmt: skip


def change(subject="job:2") -> dict:
    return {
        "subject": subject, "count": 1, "before": 0, "after": 1, "before_excerpt": HOSTILE, "after_excerpt": "7",
        "places": [{"job_id": 2, "slot_id": "lab1.g5"}], "first_character": 0, "first_token": None, "similarity": 0.25,
        "chrf": None, "bleu": None, "length_ratio": 0.5, "final_equal": False, "bounded": ["chrf", "bleu"],
    }  # fmt: skip


def prompt(**facts) -> dict:
    variants = [
        {"answer": {"text": text, "characters": 5000}, "final": None, "exact": exact, "counts": {subject: 1}}
        for text, exact, subject in ((HOSTILE, True, "job:1"), ("7", False, "job:2"))
    ]
    return {
        "index": 2, "question": {"text": HOSTILE, "characters": len(HOSTILE)}, "changed": True, "answers": variants,
        "distinct": 2, "changes": [change()], "different": 1, "alone": {}, **facts,
    }  # fmt: skip


def side(subject="job:2", verdict="worse", **facts) -> dict:
    answers = {
        "verdict": verdict, "why": "1 of 3 answers changed", "pairs": 3, "changed": 1, "judged": 3, "lost": 1,
        "gained": 0, "alone": 0, "p_value": None,
    }  # fmt: skip
    return {
        "subject": subject, "verdict": verdict, "why": "answers: 1 of 3 answers changed",
        "differences": [{"field": HOSTILE, "before": ["sha256:" + "a" * 64], "after": [None], "allowed": True}],
        "metrics": [metric()], "answers": answers, **facts,
    }  # fmt: skip


def report(*sides: dict, **facts) -> ComparisonReport:
    compared = sides or (side(),)
    subjects = [
        {
            "subject": name, "jobs": 2, "used": (1,), "left_out": {"doubtful": 1}, "answers": 3,
            "setting": {"kind": "infer", HOSTILE: HOSTILE},
        }
        for name in ("job:1", *(each["subject"] for each in compared))
    ]  # fmt: skip
    return ComparisonReport.model_validate(
        {
            "verdict": compared[0]["verdict"], "why": HOSTILE, "subjects": subjects, "comparisons": compared,
            "prompts": 3, "changed_prompts": 4, "signatures": {"bleu": "tok:zh"}, "items": [prompt()], "next": None,
            **facts,
        }
    )  # fmt: skip


class Page(HTMLParser):
    """The elements of a page, and whether they are closed in their order."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.open += [] if tag in self.VOID else [tag]

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_says_the_verdict_the_reason_the_numbers_and_the_card_group():
    screen = console()
    with screen.capture() as shown:
        screen.print(comparison_page(report()))
    text = shown.get()

    assert "job:2 against job:1" in text
    assert "1 doubtful" in text
    assert "-10.0%" in text
    assert "-11.0% … -9.0%" in text
    assert "job 2 on lab1.g5" in text
    assert "3 of 4 changed prompts are not listed" in text
    assert "\x1b]0" not in text


def test_a_difference_deep_in_a_long_answer_is_quoted_and_what_is_bounded_said():
    deep = {**change(), "first_character": 9000, "bounded": ["similarity", "chrf", "bleu"], "before_excerpt": "abc"}
    document = report(items=[prompt(changes=[deep])])
    screen = console()
    with screen.capture() as shown:
        screen.print(comparison_page(document))

    assert "'abc' became '7'" in shown.get()
    assert escaped("'abc' became '7'") in markdown(document)
    assert "similarity at least 0.25, chrF not computed (too long)" in shown.get()


def test_the_html_page_is_whole_loads_nothing_and_runs_nothing():
    text = html(report())
    page = Page(text)

    assert not {"script", "link", "img", "iframe", "object", "a", "form"} & set(page.tags)
    assert [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")] == []
    assert "default-src 'none'" in text
    assert page.tags.count("svg") == 2
    assert "url(" not in text
    assert "&lt;script&gt;" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", text)


def test_markdown_shows_hostile_answers_as_text_in_cells_of_a_table():
    text = markdown(report())

    rows = [re.sub(r"\\.", "", line) for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows if "---" not in row} == {4, 5, 6, 10}
    assert not re.search(r"(?<!\\)[<`\[]", text)
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", text)


@pytest.mark.parametrize("text", ["# a", "| b", "<b>", "- c", "1. d", "a\nb", "[x](y)", "![x](y)", "a\\|b", "~~x~~"])
def test_no_character_of_markup_is_left_without_a_backslash(text):
    bare = re.sub(r"\\.", "", escaped(text))

    assert not re.search(r"[#|<>`\[\]!~*_\\\n]", bare)


def test_junit_has_a_case_for_the_side_each_metric_and_each_changed_prompt():
    shown = metric("prompt_tokens", "same", why="shown, not judged")
    document = report(side(metrics=[metric(), metric("ttft_seconds_p50", "same"), shown]), side("job:3", "same"))

    first, second = ElementTree.fromstring(junit(document))

    assert [(case.get("name", "").partition(":")[0], [child.tag for child in case]) for case in first] == [
        ("comparison", ["failure"]), ("metric output_throughput", ["failure"]),
        ("metric ttft_seconds_p50", ["system-out"]), ("metric prompt_tokens", ["skipped"]), ("prompt 3", ["failure"]),
    ]  # fmt: skip
    assert (first.get("tests"), first.get("failures"), first.get("errors"), first.get("skipped")) == (
        "5",
        "3",
        "0",
        "1",
    )
    assert [child.tag for child in second[0]] == ["system-out"]
    assert [case.get("name") for case in second] == ["comparison", "metric output_throughput"]


def test_each_series_of_a_subject_is_told_from_the_others():
    series = {"max_tokens": 10, HOSTILE: None}
    other = side(series={"max_tokens": 20, HOSTILE: None})
    document = report(side(series=series), other, items=[prompt(series=series)])
    screen = console()
    with screen.capture() as shown:
        screen.print(comparison_page(document))

    first, second = ElementTree.fromstring(junit(document))
    assert "job:2 (max_tokens 10" in shown.get()
    assert "job:2 (max_tokens 20" in html(document)
    assert escaped("job:2 (max_tokens 20") in markdown(document)
    assert [len(suite.findall("testcase")) for suite in (first, second)] == [3, 2]


@pytest.mark.parametrize("verdict", ["unknown", "missing", "not_comparable", "infrastructure"])
def test_in_junit_what_could_not_be_judged_is_an_error_and_never_a_pass(verdict):
    (suite,) = ElementTree.fromstring(junit(report(side(verdict=verdict, metrics=[], answers=None), items=[])))

    assert suite.get("errors") == "1"
    assert [child.tag for child in suite[0]] == ["error"]


def test_in_junit_changed_answers_that_are_only_reported_have_not_failed():
    (suite,) = ElementTree.fromstring(junit(report(side(verdict="same", metrics=[]))))

    assert suite.get("failures") == "0"
    assert "first differing character 0" in "".join(suite[1].itertext())


def test_plots_draw_what_has_no_interval_no_spread_and_no_reach():
    flat = samples([1.0], [1.0], "<s>")
    lone = effects([Effect("<b>", 0.0, None, None, None, "same"), Effect("wild", 1e9, -1e9, 1e9, 0.03, 'x" y="')])

    for drawn in (flat, lone):
        ElementTree.fromstring(drawn)
    assert "&lt;b&gt;" in lone
