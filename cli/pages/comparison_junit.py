"""A comparison as JUnit XML: one suite a side, one case for the side, each metric and each changed prompt. Pure.

Worse is a failure; what could not be judged and faults of the infrastructure are errors, because neither has passed.
"""

from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree

from api.documents.comparisons import ComparedPromptView, ComparedSide, ComparisonReport
from cli.pages.comparison_words import change_line, counts, excerpts, in_series, prompt_title, title, unlisted
from cli.terminal import visible
from orchestrator.model.verdicts import SHOWN_ONLY, Verdict
from orchestrator.xml_text import xml_text

_ELEMENTS = {
    Verdict.WORSE: "failure",
    Verdict.UNKNOWN: "error",
    Verdict.MISSING: "error",
    Verdict.NOT_COMPARABLE: "error",
    Verdict.INFRASTRUCTURE: "error",
}

_Case = tuple[str, str | None, str, str]
"""Name, element or None if it passed, type, and message."""


def junit(report: ComparisonReport) -> str:
    """The document; it ends with a line break."""
    suites = ElementTree.Element("testsuites", name=_text(title(report)))
    for side in report.comparisons:
        cases = list(_cases(side, report))
        name = in_series(f"{side.subject} against {report.subjects[0].subject}", side.series)
        found = Counter(element for _, element, _, _ in cases)
        suite = ElementTree.SubElement(
            suites, "testsuite", name=_text(name),
            tests=str(len(cases)), failures=str(found["failure"]), errors=str(found["error"]),
            skipped=str(found["skipped"]),
        )  # fmt: skip
        for case_name, element, kind, message in cases:
            case = ElementTree.SubElement(suite, "testcase", classname=_text(side.subject), name=_text(case_name))
            if element is not None:
                ElementTree.SubElement(case, element, type=kind, message=_text(message))
            else:
                ElementTree.SubElement(case, "system-out").text = _text(message)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _cases(side: ComparedSide, report: ComparisonReport) -> Iterator[_Case]:
    left = unlisted(report)
    yield "comparison", _ELEMENTS.get(side.verdict), side.verdict, "; ".join(filter(None, (side.why, left)))
    for metric in side.metrics:
        element = "skipped" if metric.why == SHOWN_ONLY else _ELEMENTS.get(metric.verdict)
        yield f"metric {metric.metric}", element, metric.verdict, metric.why
    for prompt in report.items:
        if (case := _prompt(prompt, side)) is not None:
            yield case


def _prompt(prompt: ComparedPromptView, side: ComparedSide) -> _Case | None:
    """None if its answers did not change on this side."""
    if prompt.series != side.series:
        return None
    changes = [change for change in prompt.changes if change.subject == side.subject]
    alone = prompt.alone.get(side.subject, 0)
    if not changes and not alone:
        return None
    worse = side.answers is not None and side.answers.verdict is Verdict.WORSE
    element = "failure" if worse and changes else "error" if alone else None
    said = [f"{change.count} ×: {change_line(change)}; {excerpts(change)}"
            for change in changes]  # fmt: skip
    said += [f"without a counterpart: {counts({side.subject: alone})}"] if alone else []
    kind = Verdict.WORSE if element == "failure" else Verdict.MISSING
    return prompt_title(prompt), element, kind, "\n".join(said)


def _text(text: str) -> str:
    return xml_text(visible(text))
