"""The verdict in one sentence."""

import pytest

from stages.report.words import THIN, clip, one_line, percent, plainly, verdict

QUALITY = {"given_right": 0.598, "purified_right": 0.76, "low": 0.74, "high": 0.78}


def test_a_proven_gain_is_said_with_its_numbers() -> None:
    said = verdict({"gate": {"open": True, "verdict": "proven"}, "quality": QUALITY}, 12310, 4020)
    assert said.sentence == (
        f"Labels were 59.8{THIN}% right (estimated), are now 76 ± 2{THIN}% right; 12,310 relabelled, 4,020 to review."
    )
    assert (said.tone, said.badge) == ("good", "Gain proven")


@pytest.mark.parametrize(
    ("state", "start", "badge"),
    [
        ("unproven", "No gain is proven", "No gain proven"),
        ("harmful", "The suggested labels would do harm", "Would do harm"),
    ],
)
def test_a_closed_gate_says_why(state: str, start: str, badge: str) -> None:
    said = verdict({"gate": {"open": False, "verdict": state, "reason": "The lower bound is -2 points."}}, 7, 0)
    assert said.sentence == f"{start}: the given labels are kept, because the lower bound is -2 points."
    assert said.badge == badge
    assert "7 suggestions differ from the given labels" in said.reason
    longer = {"gate": {"open": False, "reason": "it mends 1 and breaks 2 of 9 trusted rows; the gain is -2 points"}}
    assert verdict(longer, 0, 0).sentence.endswith("because it mends 1 and breaks 2 of 9 trusted rows.")
    assert verdict(longer, 0, 0).reason.startswith("The gain is -2 points. The machine's answers")
    assert "do not differ" in verdict({"gate": {"open": False}}, 0, 0).reason


def test_an_open_gate_without_proof_does_not_boast() -> None:
    said = verdict({"gate": {"open": True, "verdict": "unproven", "setting": "off"}, "quality": {}}, 1, 0)
    assert said.badge == "Gain not proven, gate off"
    assert said.sentence.startswith("Nobody can say how many labels are right")
    assert said.tone == "calm"


def test_numbers_and_texts_are_set_for_people() -> None:
    assert percent(None) == "unknown"
    assert percent(0.5, 0) == f"50{THIN}%"
    assert clip("abcdef", 4) == "abc…"
    assert one_line("a\n b\tc", 10) == "a b c"
    assert (plainly(1 / 3), plainly(7), plainly("x")) == ("0.333333", "7", "x")
