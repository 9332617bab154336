"""A judged run of a suite as JUnit XML: worse is a failure, what could not be judged is an error. Pure."""

import json
from collections import Counter
from xml.etree import ElementTree

from api.documents.suites import SuiteCellView, SuiteRunDetail
from api.views.junit import document_of
from orchestrator.model.verdicts import Verdict
from orchestrator.xml_text import xml_text

_PASSED = frozenset({Verdict.SAME, Verdict.BETTER})


def suite_junit(run: SuiteRunDetail) -> bytes:
    """One suite, one case a cell."""
    name = run.suite or f"ab-{run.id}"
    suite = ElementTree.Element("testsuite", name=name)
    counts = Counter(tests=len(run.cell_reports))
    for cell in run.cell_reports:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=xml_text(cell.cell))
        if (element := _element(cell.verdict)) is not None:
            counts[element] += 1
            said = ElementTree.SubElement(case, element, type=cell.verdict, message=xml_text(cell.why))
            said.text = xml_text(_numbers(cell))
    return document_of(suite, counts, timestamp=run.created_at.isoformat(timespec="seconds"))


def _element(verdict: Verdict) -> str | None:
    if verdict in _PASSED:
        return None
    return {Verdict.WORSE: "failure", Verdict.KNOWN: "skipped"}.get(verdict, "error")


def _numbers(cell: SuiteCellView) -> str:
    told = {"outcome": cell.outcome, "slots": cell.slots, "jobs": cell.jobs, "remedy": cell.remedy}
    return json.dumps(told, ensure_ascii=False)
