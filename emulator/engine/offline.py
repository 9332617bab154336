"""`offline_auto_test.py`: runs every question on one to eight card groups and stores the answers.

The log `TX8_offline_func_batchsize_<bs>_quest_<stem>_<time>.log` goes to the working directory, the answers to
`response_batchsize_<bs>_quest_<stem>_<time>.jsonl` in `-s`. With `-tf True` (the default) every batch goes through all
questions; with `-tf False` the questions are distributed among the batches. That is our interpretation: the
guide does not explain it.
"""

import os
import signal
import threading
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from emulator.cards.group import CardGroup
from emulator.engine.deployed import require_engine
from emulator.engine.kcore import Generation, Kcore, Session, Weights, generate
from emulator.engine.loading import load
from emulator.models.chat import Chat
from emulator.runs.answers import (
    DeviceLog,
    Responses,
    RunLog,
    described,
    quest,
    read_golden,
    read_questions,
    similarity,
    timestamp,
)
from emulator.runs.selection import batch_sizes, card_groups, groups_for, require_cards, spelled
from emulator.tool import Parser, Refused, between, complain, require_conda, run
from emulator.tree import GROUP, MAX_SEQUENCE, Tree, this_tree

_TOOL = "offline_auto_test.py"
_PATIENCE = 0.5
"""Seconds after SIGINT in which a batch that is not hung is certain to have ended its token."""
_SLOW_RELEASE = 6.0
"""Seconds after SIGINT until the cards are closed, in the variant `slow-kill`: more than a short kill ladder waits."""


def main(argv: Sequence[str]) -> int:
    """Run the offline test as the guide's chapter on offline inference does."""
    tree, options = this_tree(), _parser().parse_args(argv)
    require_conda("tx8_txnn")
    require_engine(tree)
    runs = _card_choice(options.card_num, options.batch_size, bs_wins=tree.is_variant("bs-wins"))
    work = _prepare(tree, options)
    require_cards([group for groups in runs for group in groups], work.kcore.chips)
    for groups in runs:
        _run(work, groups, options)
    return 0


def _parser() -> Parser:
    parser = Parser(_TOOL)
    parser.flag("-mp", "--model-path", required=True)
    parser.flag("-cd", "--case-dir", required=True, help="folder of kcore.bin")
    parser.flag("-pp", "--prompt-path", required=True, help="questions, one a line")
    parser.flag("-s", "--save-dir", required=True, help="folder for the responses")
    parser.flag("-gp", "--golden-path", help="expected answers, JSON lines")
    parser.flag("-lp", "--txda-log-path", help="folder for the txda log; on the screen by default")
    parser.flag("-cn", "--card-num", help="0, or groups like 0..3,8..11 (default 0,1,2,3)")
    parser.flag("-bs", "--batch-size", help="number of card groups, or a list like [1,5,6]")
    parser.flag("-rn", "--repeat-num", type=between(1, 1_000_000), default=1)
    # The guide's example text says --max-token, its table --max-tokens.
    parser.flag("-mt", "--max-tokens", "--max-token", type=between(1, MAX_SEQUENCE), default=1024)
    parser.flag("-tf", "--traversal-flag", choices=("True", "False", "true", "false"), default="True")
    return parser


def _card_choice(card_num: str | None, batch_size: str | None, *, bs_wins: bool) -> list[list[list[int]]]:
    """The card groups of each run, by the guide's rule that `-bs` wins over `-cn`."""
    listed = card_groups("0,1,2,3" if card_num is None else card_num)
    if batch_size is None:
        chosen = [listed]
    else:
        chosen = [groups_for(size, listed if card_num else [], bs_wins=bs_wins) for size in batch_sizes(batch_size)]
    for groups in chosen:
        if card_num and groups != listed:
            taken = ",".join(spelled(group) for group in groups)
            complain(f"warning: --batch-size {len(groups)} overrides --card-num {card_num}: taking cards {taken}")
    return chosen


@dataclass(frozen=True)
class _Work:
    """What is to be asked, and with what; the same for every batch."""

    tree: Tree
    kcore: Kcore
    weights: Weights
    chat: Chat
    questions: list[str]
    prompts: list[list[int]]
    golden: dict[str, str]
    max_tokens: int
    rounds: int
    traverse: bool


def _prepare(tree: Tree, options: Namespace) -> _Work:
    """Read and check everything that can be wrong before a card is touched."""
    loaded = load("-mp", Path(options.model_path), Path(options.case_dir))
    kcore, chat, questions = loaded.kcore, loaded.chat, read_questions(Path(options.prompt_path))
    prompts = [chat.prompt(question) for question in questions]
    for number, prompt in enumerate(prompts, 1):
        if len(prompt) >= kcore.dims.max_sequence:
            raise Refused(f"question {number} has {len(prompt)} tokens; the kcore holds {kcore.dims.max_sequence}")
    return _Work(
        tree=tree,
        kcore=kcore,
        weights=loaded.weights,
        chat=chat,
        questions=questions,
        prompts=prompts,
        golden=read_golden(Path(options.golden_path)) if options.golden_path else {},
        max_tokens=options.max_tokens,
        rounds=options.repeat_num,
        traverse=options.traversal_flag.lower() == "true",
    )


def _run(work: _Work, groups: list[list[int]], options: Namespace) -> None:
    """One run over all questions: cards opened together, one thread a group, cards closed whatever happens."""
    stamp = timestamp()
    name = f"batchsize_{len(groups)}_quest_{quest(Path(options.prompt_path))}_{stamp}"
    save = Path(options.save_dir)
    save.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context(RunLog(Path.cwd() / f"TX8_offline_func_{name}.log"))
        device = stack.enter_context(DeviceLog(Path(options.txda_log_path) if options.txda_log_path else None, stamp))
        _introduce(log, options, tp_size=work.kcore.chips)
        opened = []
        for cards in groups:
            opened.append(CardGroup(work.tree, cards))
            stack.callback(opened[-1].close)
            opened[-1].open(_TOOL)
            device.line(f"txSetDevice: cards {spelled(cards)} opened")
        as_text = work.tree.is_variant("no-jsonl")
        responses = stack.enter_context(Responses(save / f"response_{name}.jsonl", as_text=as_text))
        _Batches(work, log, responses, len(groups)).run(opened)
        log.line(responses.summary())
        device.line("txDeviceSynchronize: done")


def _introduce(log: RunLog, options: Namespace, *, tp_size: int) -> None:
    log.facts(
        "Inference info:",
        {
            "hf_dir": options.model_path,
            "case_dir": options.case_dir,
            "max_tokens": options.max_tokens,
            "tp_size": tp_size,
            "ENV:TXDA_VISIBLE_DEVICES": os.environ.get("TXDA_VISIBLE_DEVICES", "Not specified"),
            "device": "txda",
            "log_file": log.path,
        },
    )


class _Batches:
    """The batches of one run, side by side; the first that fails stops them all."""

    def __init__(self, work: _Work, log: RunLog, responses: Responses, count: int) -> None:
        self._work = work
        self._log = log
        self._responses = responses
        self._count = count
        self._stop = threading.Event()

    def run(self, groups: list[CardGroup]) -> None:
        with ThreadPoolExecutor(len(groups)) as pool:
            batches: list[Future[None]] = []
            try:
                for batch, cards in enumerate(groups):
                    batches.append(pool.submit(self._answer_all, batch, cards))
                wait(batches, return_when=FIRST_EXCEPTION)
            except KeyboardInterrupt:
                self._interrupt(batches)
                raise
            self._stop.set()
        for ended in batches:
            ended.result()

    def _interrupt(self, batches: list[Future[None]]) -> None:
        """Let the batches leave their cards. One that hangs in the device keeps the process here, as in life."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._stop.set()
        if wait(batches, timeout=_PATIENCE).not_done:
            complain("<current backtrace> #0 itxStreamSynchronize #1 txStreamSynchronize")
        elif self._work.tree.is_variant("slow-kill"):
            complain("txContextDestroy: waiting for the cards")
            wait(batches)
            threading.Event().wait(_SLOW_RELEASE)

    def _answer_all(self, batch: int, cards: CardGroup) -> None:
        work, questions = self._work, range(len(self._work.questions))
        mine = questions if work.traverse else questions[batch :: self._count]
        with Session(work.kcore, work.weights) as session:
            for number in range(1, work.rounds + 1):
                for index in mine:
                    if self._stop.is_set():
                        return
                    self._answer(session, cards, batch, number, index)

    def _answer(self, session: Session, cards: CardGroup, batch: int, number: int, index: int) -> None:
        work, prompt = self._work, self._work.prompts[index]
        room = min(work.max_tokens, work.kcore.dims.max_sequence - len(prompt))
        strike = partial(cards.strike, self._stop)
        answer = generate(session, prompt, room=room, ends=work.chat.ends, stop=self._stop, strike=strike)
        if answer.finish_reason == "interrupted":
            return
        row = self._row(cards, batch, number, index, answer)
        self._responses.add(row)
        where = f"batch {batch} cards {spelled(cards.cards)} round {number}/{work.rounds}"
        self._log.line(described(where, row, len(work.questions)))

    def _row(self, cards: CardGroup, batch: int, number: int, index: int, answer: Generation) -> dict[str, Any]:
        question, response = self._work.questions[index], self._work.chat.text(answer.tokens)
        row: dict[str, Any] = {
            "batch": batch,
            "group": cards.cards[0] // GROUP,
            "cards": cards.cards,
            "round": number,
            "question_index": index,
            "question": question,
            "response": response,
            "prompt_tokens": len(self._work.prompts[index]),
            "output_tokens": len(answer.tokens),
            "seconds": round(answer.seconds, 6),
            "ttft_seconds": round(answer.ttft_seconds, 6),
            "finish_reason": answer.finish_reason,
        }
        if question in self._work.golden:
            row["similarity"] = round(similarity(response, self._work.golden[question]), 6)
        return row


if __name__ == "__main__":
    raise SystemExit(run(main))
