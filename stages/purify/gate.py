"""The gate: labels change only where trusted rows that the fit did not see say that this helps."""

import math
from dataclasses import dataclass
from typing import Literal, assert_never

from stages.purify.audit import Gain
from stages.purify.config import Gating

Verdict = Literal["proven", "unproven", "harmful"]
SURE = 1.64


@dataclass(frozen=True)
class Gate:
    """Whether labels may change, and why."""

    setting: Gating
    verdict: Verdict
    open: bool
    reason: str


def judge(gain: Gain, setting: Gating) -> Gate:
    """Decide by the one rule of every method."""
    verdict = verdict_of(gain)
    match setting:
        case "strict":
            is_open = verdict == "proven"
        case "mild":
            is_open = verdict == "proven" or (gain.z > 0 and gain.wins >= gain.losses)
        case "off":
            is_open = True
        case _:
            assert_never(setting)
    return Gate(setting, verdict, is_open, _reason(gain, setting, verdict))


def verdict_of(gain: Gain) -> Verdict:
    """Name what the audit shows: at 95 % on one side, in labels or in log-loss."""
    if gain.lower_bound > 0 or (gain.z > SURE and gain.wins >= gain.losses):
        return "proven"
    if gain.upper_bound < 0 or (gain.z < -SURE and gain.losses > gain.wins):
        return "harmful"
    return "unproven"


def _reason(gain: Gain, setting: Gating, verdict: Verdict) -> str:
    if gain.rows == 0:
        seen = "no trusted row with a given label could judge the suggestions"
    else:
        seen = f"suggestions mend {gain.wins} and break {gain.losses} of {gain.rows} trusted rows; "
        seen += _evidence(gain, verdict)
    return f"{seen} (the gate is off)" if setting == "off" else seen


def _evidence(gain: Gain, verdict: Verdict) -> str:
    """Name the figure that decided, or both where neither did."""
    at_least = f"with 95 % certainty the gain is at least {100 * gain.lower_bound:+.1f} points"
    likely = f"the true labels became {'more' if gain.z >= 0 else 'less'} likely by {abs(gain.z):.2f} standard errors"
    match verdict:
        case "proven":
            return at_least if gain.lower_bound > 0 else f"{likely} ({SURE} are proof)"
        case "harmful":
            at_most = f"with 95 % certainty the gain is at most {100 * gain.upper_bound:+.1f} points"
            return at_most if gain.upper_bound < 0 else f"{likely} ({SURE} are proof)"
        case "unproven":
            but = ", but more break than mend" if gain.z > SURE else f" (proof starts at {SURE})"
            return f"{at_least}; {likely}{but}; {_limits(gain)}"
        case _:
            assert_never(verdict)


def _limits(gain: Gain) -> str:
    """Say what so many trusted rows can prove, and how many a gain like this one would take."""
    least = (gain.upper_bound - gain.lower_bound) / 2
    words = f"{gain.rows} trusted rows can prove a gain of {100 * least:.1f} points or more, not a smaller one"
    if gain.gain <= 0:
        return words
    rows = math.ceil(gain.rows * (least / gain.gain) ** 2)
    return f"{words}; one of {100 * gain.gain:.1f} points, as seen here, takes about {max(rows, gain.rows + 1):,}"
