"""How often verdicts are wrong: `python -m benchmarks verdicts [--suites 1000] [--seed 81] …` (`--help`).

Simulated measurements, judged by the rules that judge suites (`orchestrator.results`), without SQL and cards. The same
seed and numbers print the same figures.

(a) Suites in which nothing has changed: how often a cell is called worse or better, and what is left of it after the
second measurement. Once with the gate's effect, and once with an effect so small that only alpha protects.
(b) A change of one metric of a cell, everywhere: the smallest budget that finds it in 95 % of the cells. The effect of
the gate is half the change: of changes that are exactly as large as the effect, half are measured as smaller.
(c) Two equal sides under a linear drift, in the order A B B A and in the order A A B B.
(d) One corrupted token in one answer of one of eight card groups.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from statistics import median
from typing import Any

import numpy as np

from orchestrator.model.ab import ABBA
from orchestrator.model.suite_cells import Cell, cells_of
from orchestrator.model.suites import CellOutcome, SuiteDocument
from orchestrator.model.verdicts import Direction, Verdict
from orchestrator.results.blocks import in_blocks, judge_blocks
from orchestrator.results.cells import CellMeasured, Confirm, Judged, MoreRuns, next_step, problem_of, rules_of
from orchestrator.results.majority import SlotAnswers, agreement
from orchestrator.results.sides import AnswerOf, Side, compare
from orchestrator.results.verdicts import MetricGate

METRICS = ("output_throughput", "ttft_seconds_p50", "request_seconds_p50", "tpot_seconds_p50")
GROUPS = tuple(f"lab1.g{number}" for number in range(8))
ENOUGH = 0.95
"""Of planted changes, so many are to be found."""
MOST_BUDGET = 160
TOKENS = 40
"""Of an answer."""
AABB = ("a", "a", "b", "b")
SETTING = {"kind": "infer"}
TINY = 0.001
"""An effect that decides nothing beside the noise."""
AGAIN = f"{'confirmed':>10}{'unclear':>10}{'refuted':>10}"
DECIDED = frozenset({CellOutcome.MODEL_OR_TOOLCHAIN, CellOutcome.CARD})

Noise = Callable[[np.random.Generator, int], Any]
"""Relative deviations of so many runs."""


def normal(spread: float, dice: np.random.Generator, count: int) -> Any:
    """Normal noise of that standard deviation."""
    return dice.normal(0, spread, count)


def heavy(scale: float, dice: np.random.Generator, count: int) -> Any:
    """Student's t with 2 degrees of freedom, which has no finite variance; no rate falls below a tenth."""
    return np.maximum(scale * dice.standard_t(2, count), -0.9)


NOISES: Mapping[str, Noise] = {
    "normal, 1 %": partial(normal, 0.01),
    "normal, 3 %": partial(normal, 0.03),
    "heavy tails, 2 %": partial(heavy, 0.02),
}


def suite(cells: int, metrics: int, *, repeats: int, budget: int, effect: float, alpha: float) -> SuiteDocument:
    """A suite of so many cells, in which answers are not judged."""
    file = {"digest": f"sha256:{'a' * 64}"}
    return SuiteDocument.model_validate(
        {
            "name": "simulated",
            "matrix": {"models": [f"m{number}" for number in range(cells)], "prompts": {"basic": {"prompts": file}}},
            "template": {"kcore": file},
            "repeats": repeats,
            "budget": budget,
            "gates": {name: {"effect": effect, "alpha": alpha} for name in METRICS[:metrics]},
            "answers": "report",
        }
    )


@dataclass(frozen=True)
class Lab:
    """Where a cell is measured."""

    dice: np.random.Generator
    noise: Noise

    def runs(self, document: SuiteDocument, cell: Cell, count: int, change: float = 0.0) -> Side:
        """So many runs of a cell, of which the first metric is worse by `change` (a share of it)."""
        samples = {}
        for place, name in enumerate(document.gates):
            values = 100 * (1 + self.noise(self.dice, count))
            samples[name] = tuple((values * (1 - change) if place == 0 else values).tolist())
        return Side(cell.key, (SETTING,) * count, samples, {name: ("unit", name) for name in samples})


def joined(one: Side, other: Side) -> Side:
    """The runs of both."""
    samples = {name: (*values, *other.samples[name]) for name, values in one.samples.items()}
    return replace(one, settings=one.settings + other.settings, samples=samples)


@dataclass(frozen=True)
class CellEnd:
    """How it went with a cell."""

    first: Verdict
    """Before anything was confirmed."""
    runs: int
    """Runs until then."""
    judged: Judged


def measure(document: SuiteDocument, cell: Cell, lab: Lab, *, baseline_runs: int, change: float = 0.0) -> CellEnd:
    """Measure a cell against a baseline of so many runs (0: as the budget), as `orchestrator.suites.judging` does."""
    rules = rules_of(document, {})
    baseline = lab.runs(document, cell, baseline_runs or document.most_runs)
    side, count = lab.runs(document, cell, document.repeats, change), document.repeats
    while True:
        found = compare(baseline, side, rules)
        step = next_step(document, CellMeasured(found, count))
        if not isinstance(step, MoreRuns):
            break
        side, count = joined(side, lab.runs(document, cell, step.count, change)), count + step.count
    if isinstance(step, Judged):
        return CellEnd(found.verdict, count, step)
    same, other = (compare(baseline, lab.runs(document, cell, step.count, change), rules) for _ in range(2))
    final = next_step(document, CellMeasured(found, count, same, other, confirming=True))
    assert isinstance(final, Judged)
    return CellEnd(found.verdict, count, final)


def nothing_changed(options: argparse.Namespace) -> Iterator[str]:
    """(a): false alarms of suites that are measured against themselves; SystemExit if their gates can never speak."""
    yield (
        f"(a) {options.suites} suites of {options.cells} cells, {options.metrics} metrics each, nothing changed; "
        f"{options.repeats} to {options.budget} runs; stated: alpha {options.alpha:.1%} of a cell"
    )
    yield f"{'':26}| at first, of all cells  | after the second measurement    | suites that"
    yield f"{'noise':18}{'effect':>8}|{'worse or better':>16}{'worse':>8} |{AGAIN}   | alarm"
    for number, (name, noise) in enumerate(NOISES.items()):
        for effect in (options.effect, TINY):
            lab = Lab(np.random.default_rng((options.seed, 1, number)), noise)
            document = suite(
                options.cells, options.metrics, repeats=options.repeats, budget=options.budget, effect=effect,
                alpha=options.alpha,
            )  # fmt: skip
            if (problem := problem_of(document)) is not None:
                raise SystemExit(f"{problem[0]}: {problem[1]}")
            judged = partial(measure, document, lab=lab, baseline_runs=options.baseline)
            suites = [[judged(cell) for cell in cells_of(document)] for _ in range(options.suites)]
            ends = list(chain.from_iterable(suites))
            firsts = Counter(end.first for end in ends)
            called = (firsts[Verdict.WORSE] + firsts[Verdict.BETTER], firsts[Verdict.WORSE])
            shares = "".join(f"{count / len(ends):{width}.2%}" for count, width in zip(called, (16, 8), strict=True))
            alarmed = sum(map(_alarms, suites)) / len(suites)
            yield f"{name:18}{effect:8.1%}|{shares} |{_outcomes(ends, 2)}   |{alarmed:6.2%}"


def _outcomes(ends: Sequence[CellEnd], digits: int) -> str:
    """The shares of cells that were confirmed, unclear, and refuted when they were measured again."""
    found = Counter(end.judged.outcome for end in ends)
    counts = sum(found[each] for each in DECIDED), found[CellOutcome.UNDECIDED], found[CellOutcome.NOT_CONFIRMED]
    return "".join(f"{count / len(ends):10.{digits}%}" for count in counts)


def _alarms(cells: Sequence[CellEnd]) -> bool:
    return any(end.judged.verdict in (Verdict.WORSE, Verdict.INFRASTRUCTURE) for end in cells)


def planted(options: argparse.Namespace) -> Iterator[str]:
    """(b): the smallest budget that finds a change."""
    yield (
        f"(b) one of {options.metrics} metrics worse everywhere, {options.planted} cells; alpha {options.alpha:.1%}; "
        f"{options.repeats} runs at first, then twice as many; smallest budget that finds {ENOUGH:.0%}"
    )
    yield f"{'':42}| runs until then   | after the second measurement     | wrongly"
    yield f"{'noise':18}{'change':>8}{'budget':>8}{'found':>8}|{'median':>9}{'90 %':>9} |{AGAIN}    | card"
    for number, (name, noise) in enumerate(list(NOISES.items())[:2]):
        for change in (0.03, 0.05, 0.10):
            lab = Lab(np.random.default_rng((options.seed, 2, number)), noise)
            budget, ends = _least_budget(options, lab, change)
            found = sum(end.first is Verdict.WORSE for end in ends) / len(ends)
            runs = [end.runs for end in ends]
            card = sum(end.judged.outcome is CellOutcome.CARD for end in ends) / len(ends)
            yield (
                f"{name:18}{change:8.0%}{budget:8}{found:8.1%}|{median(runs):9g}{np.quantile(runs, 0.9):9g} "
                f"|{_outcomes(ends, 1)}    |{card:6.1%}"
            )


def _least_budget(options: argparse.Namespace, lab: Lab, change: float) -> tuple[int, list[CellEnd]]:
    """The smallest of the budgets that finds enough, or the largest that is tried, and what was found with it."""
    budget = options.repeats
    while True:
        document = suite(
            1, options.metrics, repeats=options.repeats, budget=budget, effect=change / 2, alpha=options.alpha
        )
        (cell,) = cells_of(document)
        if problem_of(document) is None:
            judged = partial(measure, document, cell, lab, baseline_runs=options.baseline, change=change)
            ends = [judged() for _ in range(options.planted)]
            found = sum(end.first is Verdict.WORSE for end in ends)
            if found >= ENOUGH * len(ends) or budget >= MOST_BUDGET:
                return budget, ends
        budget *= 2


def drifting(options: argparse.Namespace) -> Iterator[str]:
    """(c): two equal sides while the rate changes by the same amount from run to run."""
    yield (
        f"(c) two equal sides, {options.blocks} blocks of four runs, noise 1 %, {options.drifts} times; "
        f"alpha {options.alpha:.1%}; called worse or better"
    )
    yield f"{'drift of a run':16}{'effect':>8}{'A B B A':>10}{'A A B B':>10}"
    for number, (drift, effect) in enumerate(((0.0, TINY), (0.005, TINY), (0.02, TINY), (0.02, options.effect))):
        gate = MetricGate(Direction.HIGHER, effect, options.alpha)
        shares = []
        for order in (ABBA, AABB):
            dice = np.random.default_rng((options.seed, 3, number))
            wrong = sum(_differs(order, drift, gate, options.blocks, dice) for _ in range(options.drifts))
            shares.append(wrong / options.drifts)
        yield f"{drift:<16.1%}{effect:8.1%}{shares[0]:10.1%}{shares[1]:10.1%}"


def _differs(order: Sequence[str], drift: float, gate: MetricGate, blocks: int, dice: np.random.Generator) -> bool:
    sides = [*order] * blocks
    values = 100 * (1 + drift * np.arange(len(sides))) * (1 + dice.normal(0, 0.01, len(sides)))
    found = judge_blocks(METRICS[0], in_blocks(list(zip(sides, values.tolist(), strict=True))), gate)
    return found.verdict in (Verdict.WORSE, Verdict.BETTER)


def corrupted(options: argparse.Namespace) -> Iterator[str]:
    """(d): one token of one answer of one card group is another one."""
    dice = np.random.default_rng((options.seed, 4))
    found: Counter[str] = Counter()
    for _ in range(options.corruptions):
        tokens = dice.integers(0, 50_000, (options.answers, TOKENS))
        good = [" ".join(map(str, row)) for row in tokens.tolist()]
        bad, prompt = GROUPS[dice.integers(len(GROUPS))], int(dice.integers(options.answers))
        tokens[prompt, dice.integers(TOKENS)] += 1
        wrong = [*good[:prompt], " ".join(map(str, tokens[prompt].tolist())), *good[prompt + 1 :]]
        found.update(_named({group: wrong if group == bad else list(good) for group in GROUPS}, good, bad, prompt))
    yield (
        f"(d) one of {TOKENS} tokens of one of {options.answers} answers of one of {len(GROUPS)} card groups, "
        f"{options.corruptions} times"
    )
    for what in ("worse there, same elsewhere", "card group and prompt named", "outcome `card` of a suite"):
        yield f"{what:32}{found[what] / options.corruptions:8.1%}"


def _named(said: Mapping[str, Sequence[str]], good: Sequence[str], bad: str, prompt: int) -> Iterator[str]:
    """What names the card group."""
    document = suite(1, 1, repeats=1, budget=1, effect=0.03, alpha=0.01)
    document = document.model_copy(update={"gates": {}, "answers": "unchanged"})
    rules, baseline = rules_of(document, {}), _answers("baseline", good)
    against = {group: compare(baseline, _answers(group, texts), rules) for group, texts in said.items()}
    if all(found.verdict is (Verdict.WORSE if group == bad else Verdict.SAME) for group, found in against.items()):
        yield "worse there, same elsewhere"
    odd = agreement(SlotAnswers(group, dict(enumerate(texts))) for group, texts in said.items()).odd
    if [(one.slot_id, one.prompts, one.first) for one in odd] == [(bad, 1, prompt)]:
        yield "card group and prompt named"
    other = next(group for group in GROUPS if group != bad)
    first = next_step(document, CellMeasured(against[bad], 1))
    again = next_step(document, CellMeasured(against[bad], 1, against[bad], against[other], confirming=True))
    if isinstance(first, Confirm) and isinstance(again, Judged) and again.outcome is CellOutcome.CARD:
        yield "outcome `card` of a suite"


def _answers(label: str, texts: Sequence[str]) -> Side:
    answers = tuple(AnswerOf(f"question {number}", 0, text, None) for number, text in enumerate(texts))
    return Side(label, (SETTING,), answers=answers)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks verdicts")
    whole: Mapping[str, tuple[int, str]] = {
        "seed": (81, "of all dice"),
        "suites": (1000, "(a): suites of each noise and effect"),
        "cells": (2, "(a): cells of a suite"),
        "metrics": (2, "(a), (b): gated metrics of a cell, at most 4"),
        "repeats": (5, "(a), (b): runs of a cell at first"),
        "budget": (20, "(a): most runs of a cell"),
        "baseline": (0, "(a), (b): runs of the baseline; 0: as many as the budget"),
        "planted": (200, "(b): cells of each change and noise"),
        "drifts": (1000, "(c): comparisons of each drift and order"),
        "blocks": (8, "(c): blocks of a comparison"),
        "corruptions": (50, "(d): corrupted tokens"),
        "answers": (1000, "(d): answers of a card group"),
    }
    for name, (number, about) in whole.items():
        parser.add_argument(f"--{name}", type=int, default=number, help=f"{about} (default {number})")
    parser.add_argument("--alpha", type=float, default=0.01, help="of every gate (default 0.01)")
    parser.add_argument("--effect", type=float, default=0.03, help="(a), (c): of every gate (default 0.03)")
    parser.add_argument("--part", choices="abcd", help="only this part")
    options = parser.parse_args()
    parts = {"a": nothing_changed, "b": planted, "c": drifting, "d": corrupted}
    for name, part in parts.items():
        if options.part in (None, name):
            for line in part(options):
                print(line, flush=True)
            print()


if __name__ == "__main__":
    main()
