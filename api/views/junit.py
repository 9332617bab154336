"""A batch as JUnit XML, for whatever shows test results: a fault is an error, a failed job a failure. Pure."""

from collections import Counter
from collections.abc import Iterable
from xml.etree import ElementTree

from orchestrator.batches.report import JobLine
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import FINAL, JobState
from orchestrator.xml_text import xml_text


def junit(name: str, jobs: Iterable[JobLine]) -> bytes:
    """One suite, one case a job, by its name and number; what was cancelled or has not ended counts as skipped."""
    suite = ElementTree.Element("testsuite", name=name)
    counts: Counter[str] = Counter()
    seconds = 0.0
    for line in jobs:
        where = f"{name}.{line.slot_id}" if line.slot_id else name
        case = ElementTree.SubElement(
            suite, "testcase", classname=where, name=f"{line.name} (job {line.job_id})", time=f"{line.seconds:.3f}"
        )
        counts["tests"] += 1
        seconds += line.seconds
        element = _element(line)
        if element is not None:
            counts[element] += 1
            kind = line.failure.kind if line.failure is not None else line.state
            ElementTree.SubElement(case, element, type=kind, message=xml_text(_why(line)))
    suite.attrib |= {
        "tests": str(counts["tests"]), "failures": str(counts["failure"]), "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]), "time": f"{seconds:.3f}",
    }  # fmt: skip
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document


def _element(line: JobLine) -> str | None:
    match line.state:
        case JobState.SUCCEEDED:
            return None
        case JobState.FAILED:
            fault = line.failure is not None and line.failure.kind is FailureKind.FAULT
            return "error" if fault else "failure"
        case _:
            return "skipped"


def _why(line: JobLine) -> str:
    if line.failure is not None:
        return line.failure.reason
    return str(line.state) if line.state in FINAL else f"it has not ended: {line.state}"
