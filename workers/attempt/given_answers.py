"""What a run has answered: read by the profile's rules, checked to be complete, compared with the golden answers."""

from pathlib import Path

from orchestrator.model.answer_rules import AnswersRule
from orchestrator.model.specs import ClientSpec, InferSpec
from orchestrator.results.answers import CheckedAnswer, GivenAnswer, exact
from orchestrator.results.metrics import Measured, compared, measure
from workers.load.book import read_metrics
from workers.toolchain.answers import (
    Asked,
    BadAnswers,
    count_prompts,
    in_one_count,
    problems_with,
    read_answers,
    read_golden,
)
from workers.toolchain.commands import Plan
from workers.toolchain.token_counts import counted
from workers.toolchain.written import written_ns


def answered(
    plan: Plan, spec: InferSpec | ClientSpec, *, since_ns: int, seconds: float
) -> tuple[list[CheckedAnswer], list[Measured]]:
    """The answers in the files written since then, and what they measure; BadAnswers says why no rule fits."""
    given = _by_first_rule(plan, spec, since_ns)
    given, counter = counted(given, Path(plan.words["model"]) if "model" in plan.words else None)
    golden = read_golden(Path(plan.words["golden"])) if "golden" in plan.words else None
    answers = []
    for answer in given:
        reference = golden.answer_to(answer.question, answer.index) if golden is not None else None
        answers.append(CheckedAnswer(answer, reference, exact(answer.text, reference)))
    exactly = [checked.exact for checked in answers]
    if _is_loaded(spec):
        return answers, [*compared(exactly), *read_metrics(Path(plan.words["out"]))]
    return answers, measure(given, exactly, seconds, counter)


def _by_first_rule(plan: Plan, spec: InferSpec | ClientSpec, since_ns: int) -> list[GivenAnswer]:
    """As the first rule reads them that finds files, and everything in them that was asked for."""
    refusals = []
    for rule in plan.kind.answer_rules:
        try:
            return _by(rule, plan, spec, since_ns)
        except BadAnswers as bad:
            refusals.append(str(bad))
    if len(refusals) == 1:
        raise BadAnswers(refusals[0])
    told = "; ".join(f"rule {number}: {why}" for number, why in enumerate(refusals, 1))
    raise BadAnswers(f"no rule for answers fits: {told}")


def _by(rule: AnswersRule, plan: Plan, spec: InferSpec | ClientSpec, since_ns: int) -> list[GivenAnswer]:
    search = plan.path(rule.search)
    files = sorted(path for path in search.glob(rule.glob) if path.is_file() and written_ns(path) >= since_ns)
    if not files:
        raise BadAnswers(f"no answers: no new file matches {rule.glob} below {search}")
    if _is_loaded(spec):
        # A load may have unanswered requests, and counts them.
        return read_answers(files, rule)
    asked = _asked(spec, count_prompts(Path(plan.words["prompts"])))
    given = read_answers(files, rule, prompts=asked.prompts, most=asked.answers)
    if problems := problems_with(given, asked):
        raise BadAnswers("; ".join(problems))
    return in_one_count(given, asked)


def _is_loaded(spec: InferSpec | ClientSpec) -> bool:
    return isinstance(spec, ClientSpec) and spec.load is not None


def _asked(spec: InferSpec | ClientSpec, prompts: int) -> Asked:
    if isinstance(spec, ClientSpec):
        return Asked(prompts, spec.repeats, (spec.askers,), most_empty=spec.most_empty)
    return Asked(prompts, spec.repeats, spec.sizes, traverse=spec.traverse, most_empty=spec.most_empty)
