"""From a checked request to its answer: the prompt as tokens, a lane, the text as it is generated."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from emulator.engine.kcore import Generation
from emulator.engine.loading import Loaded
from emulator.runs.selection import spelled
from emulator.server.asking import Ask, BadRequest, NoSuchModel
from emulator.server.lanes import ClientGone, Lane, Lanes
from emulator.server.transcript import Transcript
from emulator.tool import Failed, Refused

_ABORTED = "abort"
"""The finish reason of an answer that the server's end cut short; vLLM's word for it."""


@dataclass(frozen=True)
class Exchange:
    """A request that can be answered."""

    ask: Ask
    prompt: list[int]
    room: int
    """Tokens the answer may have."""


@dataclass(frozen=True)
class Answer:
    """What was said, and how it ended."""

    text: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int


class Answering:
    """One model on the lanes of one server."""

    def __init__(self, loaded: Loaded, lanes: Lanes, *, name: str, longest: int) -> None:
        self.name = name
        """The model's name to clients: what `--model` was."""
        self.longest = longest
        """Tokens of prompt and answer together."""
        self.lanes = lanes
        self.stop = threading.Event()
        self.ended = threading.Event()
        """Set when a card has failed: the server cannot go on."""
        self.trouble: Failed | None = None
        self._chat = loaded.chat
        self._vocabulary = loaded.kcore.dims.vocab_size
        self._wording = loaded.chat.wording

    def prepare(self, ask: Ask) -> Exchange:
        """Word the prompt and see that the answer fits; nothing is taken yet."""
        if ask.model != self.name:
            raise NoSuchModel(f"The model `{ask.model}` does not exist; served here is `{self.name}`.")
        prompt = self._prompt(ask)
        room = self.longest - len(prompt)
        wanted = ask.max_tokens or max(room, 1)
        if wanted > room:
            raise BadRequest(
                f"This model's maximum context length is {self.longest} tokens. However, you requested "
                f"{len(prompt) + wanted} tokens ({len(prompt)} in the prompt, {wanted} in the answer). "
                f"Please reduce the length of the prompt or max_tokens."
            )
        return Exchange(ask, prompt, wanted)

    def _prompt(self, ask: Ask) -> list[int]:
        tokens = self._tokens(ask)
        # A card that is given a strange token fails, and the server with it.
        strange = next((token for token in tokens if not 0 <= token < self._vocabulary), None)
        if strange is not None:
            raise BadRequest(f"prompt: {strange} is no token; the vocabulary has {self._vocabulary}")
        if not tokens:
            raise BadRequest("the prompt is empty")
        return tokens

    def _tokens(self, ask: Ask) -> list[int]:
        if isinstance(ask.prompt, list):
            return ask.prompt
        # As vLLM does: a chat template writes its begin mark itself, a bare text gets the tokenizer's.
        return self._chat.tokens(self._text(ask)) if ask.prompt is None else self._chat.begun(ask.prompt)

    def _text(self, ask: Ask) -> str:
        if self._wording is None:
            raise BadRequest("the model has no chat template (tokenizer_config.json); use /v1/completions")
        try:
            return self._wording.text(ask.messages)
        except Refused as error:
            raise BadRequest(str(error)) from None

    def answer(
        self, lane: Lane, exchange: Exchange, tell: Callable[[str], None], is_gone: Callable[[], bool]
    ) -> Answer:
        """Decode on the lane, telling the text piece by piece; a failing card ends the whole server."""
        ask, prompt = exchange.ask, exchange.prompt
        transcript = Transcript(self._chat.text, ask.stops)

        def each(token: int) -> bool:
            if is_gone():
                raise ClientGone
            _tell(tell, transcript.add(token))
            return transcript.ended

        ends = () if ask.ignore_end else self._chat.ends
        try:
            made = lane.answer(prompt, room=exchange.room, ends=ends, stop=self.stop, each=each)
        except Failed as error:
            self.trouble = self.trouble or error
            self.ended.set()
            raise
        _tell(tell, transcript.finish())
        answer = Answer(transcript.text, _reason(made, transcript), len(prompt), len(made.tokens))
        lane.log.line(_entry(lane, ask, answer, made))
        return answer


def _tell(tell: Callable[[str], None], piece: str) -> None:
    if piece:
        tell(piece)


def _entry(lane: Lane, ask: Ask, answer: Answer, made: Generation) -> str:
    asked = ask.messages[-1]["content"] if ask.messages else ask.prompt
    lines = [
        f"bid {lane.number} cards {spelled(lane.cards.cards)}",
        f"question: {asked}",
        f"answer: {answer.text}",
        f"prompt {answer.prompt_tokens} tokens, output {answer.output_tokens} tokens ({answer.finish_reason})",
        f"{made.seconds:.6f} s, first token after {made.ttft_seconds:.6f} s",
    ]
    return "\n".join(lines)


def _reason(made: Generation, transcript: Transcript) -> str:
    if transcript.ended:
        return "stop"
    return _ABORTED if made.finish_reason == "interrupted" else made.finish_reason
