"""Many sides against the first."""

from dataclasses import replace

import pytest

from orchestrator.errors import BadRequest
from orchestrator.model.verdicts import Verdict
from orchestrator.results import reports
from orchestrator.results.series import SeriesSides
from orchestrator.results.sides import AnswerOf, Rules, Side

RATES = (100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 100.1)
SETTING = {"kind": "infer", "model": "sha256:m", "slots": ["lab1.g0"], "host": "lab1"}


def report(sides: list[Side], rules: Rules) -> reports.SidesReport:
    return reports.report([SeriesSides({}, sides)], rules)


def prompts(found: reports.SidesReport, sides: list[Side], shown: reports.Shown, **page):
    return reports.prompts(found, [SeriesSides(found.comparisons[0].series, sides)], shown, **page)


def a_side(label: str, **texts: str | list[str]) -> Side:
    """A run on a slot of its own that answered each question as given."""
    answers = [
        AnswerOf(question, repeat, text, None, f"lab1.{label}", 1)
        for question, said in texts.items()
        for repeat, text in enumerate([said] if isinstance(said, str) else said)
    ]
    return Side(label, ({**SETTING},), answers=tuple(answers))


def measured(label: str, **samples: tuple[float, ...]) -> Side:
    definitions = {name: ("u", name) for name in samples}
    return Side(label, tuple({**SETTING} for _ in RATES), samples=samples, definitions=definitions)


def test_every_side_is_compared_with_the_first_and_the_gravest_verdict_stands_for_all():
    sides = [a_side("a", q="4"), a_side("b", q="4"), a_side("c", q="5"), a_side("d", q="6")]

    found = report(sides, Rules())

    assert [(each.label, each.found.verdict) for each in found.comparisons] == [
        ("b", Verdict.SAME), ("c", Verdict.WORSE), ("d", Verdict.WORSE),
    ]  # fmt: skip
    assert found.verdict is Verdict.WORSE
    assert found.why == "c: answers: 1 of 1 answers changed; 1 more worse"


def test_only_changed_prompts_are_listed_with_distinct_answers_and_how_often_each_side_gave_them():
    before = a_side("a", same="1", steady=["4", "4"], shaky=["x", "y"])
    after = a_side("b", same="1", steady=["4", "5"], shaky=["x", "y"])
    sides = [before, after]

    (prompt,), following = prompts(report(sides, Rules()), sides, "changed", limit=10)

    assert following is None
    assert (prompt.question, prompt.index, prompt.changed) == ("steady", 1, True)
    assert [(each.text, dict(each.counts)) for each in prompt.answers] == [("4", {"a": 2, "b": 1}), ("5", {"b": 1})]
    (change,) = prompt.changes
    assert (change.label, change.before, change.after, change.count) == ("b", "4", "5", 1)
    assert change.places == ((1, "lab1.b"),)
    assert change.text.first_character == 0


def test_all_prompts_or_none_are_listed_on_demand():
    sides = [a_side("a", one="1", two="2"), a_side("b", one="1", two="3")]
    found = report(sides, Rules())

    assert [each.question for each in prompts(found, sides, "all", limit=10)[0]] == ["one", "two"]
    assert prompts(found, sides, "none", limit=10) == ([], None)


def test_pages_hold_every_changed_prompt_once():
    texts = {f"q{i}": "old" for i in range(5)}
    sides = [a_side("a", **texts), a_side("b", **dict.fromkeys(texts, "new"))]
    found, seen, after = report(sides, Rules()), [], None

    while True:
        page, after = prompts(found, sides, "changed", limit=2, after=after)
        seen += [each.question for each in page]
        if after is None:
            break

    assert seen == list(texts)


def test_a_page_of_long_answers_ends_early(monkeypatch):
    monkeypatch.setattr(reports, "PAGE_TEXT", 100)
    texts = {f"q{i}": "x" * 200 for i in range(60)}
    sides = [a_side("a", **texts), a_side("b", **dict.fromkeys(texts, "y" * 200))]

    page, following = prompts(report(sides, Rules()), sides, "changed", limit=500)

    assert 0 < len(page) < 60
    assert following == page[-1].index


def test_a_page_computes_only_so_much_and_says_what_is_bounded(monkeypatch):
    monkeypatch.setattr(reports, "PAGE_SCORED", 10)
    monkeypatch.setattr(reports, "PAGE_ALIGNED", 20)
    sides = [a_side("a", a="1" * 5, b="2" * 5, c="3" * 5), a_side("b", a="x" * 5, b="y" * 5, c="z" * 5)]

    page, _ = prompts(report(sides, Rules()), sides, "changed", limit=10)

    assert [each.changes[0].text.bounded for each in page] == [
        (), ("chrf", "bleu"), ("similarity", "chrf", "bleu"),
    ]  # fmt: skip


def test_an_answer_without_a_counterpart_makes_its_prompt_changed():
    sides = [a_side("a", both="1", mine="2"), a_side("b", both="1", yours="3")]
    found = report(sides, Rules())

    page, _ = prompts(found, sides, "changed", limit=10)

    assert found.verdict is Verdict.MISSING
    assert [(each.question, dict(each.alone), each.changes) for each in page] == [
        ("mine", {"b": 1}, ()), ("yours", {"b": 1}, ()),
    ]  # fmt: skip


def test_a_side_that_is_not_comparable_lists_no_prompts():
    other = replace(a_side("c", q="5"), settings=({**SETTING, "model": "sha256:n"},))
    sides = [a_side("a", q="4"), a_side("b", q="4"), other]

    found = report(sides, Rules())

    assert [each.found.verdict for each in found.comparisons] == [Verdict.SAME, Verdict.NOT_COMPARABLE]
    assert found.changed == ()


def test_many_distinct_answers_are_counted_and_the_most_frequent_listed():
    sides = [a_side("a", q=["4"] * 60), a_side("b", q=[str(i) for i in range(60)])]

    (prompt,), _ = prompts(report(sides, Rules()), sides, "changed", limit=10)

    assert (prompt.distinct, len(prompt.answers)) == (60, reports.MOST_DISTINCT)
    assert (prompt.different, len(prompt.changes)) == (59, reports.MOST_PAIRS)
    assert prompt.answers[0].text == "4"


def test_p_values_are_corrected_for_the_number_of_metrics_and_the_corrected_one_decides():
    moved = tuple(value + 10 for value in RATES)
    names = ("ttft_seconds_p50", "ttft_seconds_max", "tpot_seconds_p50", "request_seconds_p50")
    still = dict.fromkeys(names, RATES)
    before = measured("a", output_throughput=RATES, **still)
    after = measured("b", output_throughput=moved, **still)

    def judged(*only: str):
        found = report([before, after], Rules(only=frozenset(only)))
        return {each.metric: each for each in found.comparisons[0].found.metrics}

    alone, together = judged("output_throughput"), judged()
    assert alone["output_throughput"].corrected is None
    rate = together["output_throughput"]
    assert rate.p_value == alone["output_throughput"].p_value
    assert rate.corrected == pytest.approx(5 * rate.p_value)
    assert rate.verdict is Verdict.BETTER


def test_a_difference_that_is_chance_among_many_metrics_is_unknown():
    moved = (110.0, 111.0, 109.0, 110.5, 109.5)
    names = [f"ttft_seconds_p{i}" for i in range(10)]
    still = dict.fromkeys(names, RATES[:5])
    before = measured("a", output_throughput=RATES[:5], **still)
    after = measured("b", output_throughput=moved, **still)

    def verdict(*only: str) -> Verdict:
        found = report([before, after], Rules(only=frozenset(only))).comparisons[0].found.metrics
        return next(each.verdict for each in found if each.metric == "output_throughput")

    assert verdict("output_throughput") is Verdict.BETTER
    assert verdict() is Verdict.UNKNOWN


def test_another_toolchain_may_make_another_kernel_image():
    before, after = (
        replace(a_side(name, q="4"), settings=({**SETTING, "toolchain": name, "kcore": name},)) for name in "ab"
    )

    assert report([before, after], Rules(across=frozenset({"toolchain"}))).verdict is Verdict.SAME
    assert report([before, after], Rules(across=frozenset({"kcore"}))).verdict is Verdict.NOT_COMPARABLE


def test_slot_as_a_place_that_may_not_differ_names_all_of_them():
    before, after = (replace(a_side(name, q="4"), settings=({**SETTING, "slots": [name]},)) for name in "ab")

    assert report([before, after], Rules()).verdict is Verdict.SAME
    assert report([before, after], Rules(strict=frozenset({"slot"}))).verdict is Verdict.NOT_COMPARABLE


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (Rules(across=frozenset({"toolchian"})), "across"),
        (Rules(strict=frozenset({"model"})), "strict"),
        (Rules(only=frozenset({"prompt_tokens"})), "metric"),
    ],
)
def test_a_name_that_can_mean_nothing_is_refused(rules, field):
    with pytest.raises(BadRequest) as refused:
        report([a_side("a", q="4"), a_side("b", q="4")], rules)

    assert refused.value.field == field


def test_no_metric_is_judged_on_demand():
    before, after = measured("a", output_throughput=RATES), measured("b", output_throughput=RATES)

    assert report([before, after], Rules(only=frozenset({"none"}))).verdict is Verdict.MISSING
    assert report([before, after], Rules()).verdict is Verdict.SAME
