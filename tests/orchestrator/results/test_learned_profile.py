"""What a profile should say otherwise is a document that a profile takes."""

import re

import pytest
import yaml

from orchestrator.model.profile import Profile
from orchestrator.model.release_checks import Finding, Level
from orchestrator.results.learned_cards import cards_pattern
from orchestrator.results.learned_profile import cards_said, other_flags, proposal
from orchestrator.settings import SHIPPED_PROFILES

SHIPPED = Profile.model_validate(yaml.safe_load((SHIPPED_PROFILES / "txnn_1.2.1_build0307.yaml").read_text()))


def unknown(about, flag, instead=None):
    return Finding(level=Level.ERROR, about=about, detail="-", flag=flag, instead=instead)


def test_flags_are_replaced_or_left_out_with_their_value():
    found = other_flags(
        SHIPPED,
        [
            unknown("convert", "--input_model", "--input-model"), unknown("convert", "--q-model-path"),
            unknown("quantize", "-if"), unknown("serve", "--block_size"), unknown("serve", "--host"),
        ],
    )  # fmt: skip

    assert found["convert"]["argv"][-2:] == ["--input-model", "{model}"]
    assert found["convert"]["optional"] == {"gm": None}
    assert found["quantize"]["argv"][-6:] == ["-wm", "rtn", "-dtype", "{dtype}", "-s", "{out}"]
    assert "--block_size={block_size}" not in found["serve"]["argv"]
    assert found["serve"]["serve"] == {"listen": []}
    assert set(found) == {"convert", "quantize", "serve"}


@pytest.mark.parametrize(
    ("line", "cards"),
    [
        ("[2026-01-02] using chips 4..7 now", "4..7"),
        ("device list: 4,5,6,7", "4,5,6,7"),
        ("卡 4-7", "4-7"),
    ],
)
def test_a_line_about_the_cards_that_were_given_becomes_a_pattern(line, cards):
    log = f"args: -cn {cards}\nNamespace(card_num={cards!r})\nchips 14..17\n{line}\n"

    (known, pattern) = cards_said(["known"], log, [4, 5, 6, 7])["own_cards"]["said"]

    other = re.sub(r"(?<=[ 卡])[4-7,.-]+(?= |$)", "8..11", line)
    assert known == "known"
    assert re.search(pattern, line)["cards"] == cards
    assert re.search(pattern, other)["cards"] == "8..11"


def test_a_log_without_such_a_line_gives_no_pattern():
    assert cards_pattern("card 14,5,6,7\n-cn 4,5,6,7\n4..7\n", [4, 5, 6, 7]) is None
    assert cards_said([], "cards 4..7", []) == {}


def test_nothing_to_say_is_a_profile_that_only_extends():
    assert proposal(SHIPPED, "mine", [{}, {"infer": {}}]) == {"extends": SHIPPED.profile, "profile": "mine"}
