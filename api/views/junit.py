"""A batch as JUnit XML, for whatever shows test results: a fault is an error, a failed job a failure. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from xml.etree import ElementTree

from orchestrator.batches.report import BatchReport, Fault, JobLine
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import FINAL, JobState
from orchestrator.results.majority import Agreement, disagreement
from orchestrator.xml_text import xml_text


def junit(found: BatchReport, jobs: Iterable[JobLine], *, require_agreement: bool = False) -> bytes:
    """One suite, one case a job, by its name and number; what was cancelled or has not ended counts as skipped.

    Infrastructure faults are listed with their job; if it was tried again, as `flakyFailure` where it succeeded and as
    `rerunFailure` where it did not. Properties of the
    suite say what the report says of card groups. With `require_agreement` there is one case more: whether all slots
    give the same answers."""
    name = found.facts.batch.name
    suite = ElementTree.Element("testsuite", name=name)
    counts: Counter[str] = Counter()
    seconds, faults = 0.0, list[Fault]()
    for line in jobs:
        counts["tests"] += 1
        seconds += line.seconds
        faults += line.faults
        counts[_case(suite, name, line)] += 1
    if require_agreement:
        counts["tests"] += 1
        counts[_agreement_case(suite, name, found.agreement)] += 1
    suite.insert(0, _properties(_about(found, faults)))
    return document_of(suite, counts, time=f"{seconds:.3f}")


def document_of(suite: ElementTree.Element, counts: Counter[str], **more: str) -> bytes:
    """A document with one suite; `counts` are its `tests`, and its elements `failure`, `error` and `skipped`."""
    suite.attrib |= {
        "tests": str(counts["tests"]), "failures": str(counts["failure"]), "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]), **more,
    }  # fmt: skip
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document


def _case(suite: ElementTree.Element, name: str, line: JobLine) -> str:
    """Add the case of a job; returns what it counts as."""
    where = f"{name}.{line.slot_id}" if line.slot_id else name
    case = ElementTree.SubElement(
        suite, "testcase", classname=where, name=f"{line.name} (job {line.job_id})", time=f"{line.seconds:.3f}"
    )
    if line.faults:
        case.append(_properties([("infrastructure_faults", str(len(line.faults)))]))
    element = _element(line)
    if element is not None:
        kind = line.failure.kind if line.failure is not None else line.state
        ElementTree.SubElement(case, element, type=kind, message=xml_text(_why(line)))
    _add_reruns(case, element, line)
    if line.faults:
        ElementTree.SubElement(case, "system-out").text = xml_text("\n".join(map(_told, line.faults)))
    return element or "passed"


def _add_reruns(case: ElementTree.Element, element: str | None, line: JobLine) -> None:
    """The attempts after which the job was tried again, in the words of Maven Surefire, which CI tools know."""
    tried = {None: "flakyFailure", "failure": "rerunFailure", "error": "rerunFailure"}.get(element)
    if tried is None:
        return
    for fault in line.reruns:
        rerun = ElementTree.SubElement(case, tried, type=FailureKind.FAULT, message=xml_text(_told(fault)))
        ElementTree.SubElement(rerun, "stackTrace").text = xml_text(_told(fault))


def _agreement_case(suite: ElementTree.Element, name: str, found: Agreement) -> str:
    case = ElementTree.SubElement(suite, "testcase", classname=name, name="all slots give the same answers")
    why = disagreement(found)
    if why is None:
        return "passed"
    ElementTree.SubElement(case, "failure", type="disagreement", message=xml_text(why))
    return "failure"


def _about(found: BatchReport, faults: Sequence[Fault]) -> Iterator[tuple[str, str]]:
    """What the report says of card groups and their answers, as properties."""
    yield "infrastructure_faults", str(len(faults))
    if found.agreement.prompts:
        yield "distinct_answers", str(found.agreement.distinct)
    for odd in found.odd_groups:
        yield f"odd_group.{odd.slot_id}", f"{odd.what}: {odd.verdict}: {odd.why}"
    for fault in faults:
        if fault.quarantined:
            yield f"quarantined.{','.join(fault.slot_ids)}", f"job {fault.job_id}: {fault.reason}"


def _properties(values: Iterable[tuple[str, str]]) -> ElementTree.Element:
    properties = ElementTree.Element("properties")
    for name, value in values:
        ElementTree.SubElement(properties, "property", name=xml_text(name), value=xml_text(value))
    return properties


def _told(fault: Fault) -> str:
    quarantined = " (slot quarantined)" if fault.quarantined else ""
    return f"attempt {fault.attempt} on {', '.join(fault.slot_ids)}: {fault.reason}{quarantined}"


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
