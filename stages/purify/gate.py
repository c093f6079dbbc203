"""The gate: labels change only where trusted rows that the fit did not see say that this helps."""

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
    return Gate(setting, verdict, is_open, _reason(gain, setting))


def verdict_of(gain: Gain) -> Verdict:
    """Name what the audit shows: at 95 % on one side, in labels or in log-loss."""
    if gain.lower_bound > 0 or (gain.z > SURE and gain.wins >= gain.losses):
        return "proven"
    if gain.upper_bound < 0 or (gain.z < -SURE and gain.losses > gain.wins):
        return "harmful"
    return "unproven"


def _reason(gain: Gain, setting: Gating) -> str:
    if gain.rows == 0:
        seen = "no trusted row with a given label could judge the suggestions"
    else:
        seen = (
            f"suggestions mend {gain.wins} and break {gain.losses} of {gain.rows} trusted rows; with 95 % certainty "
            f"the gain is at least {100 * gain.lower_bound:+.1f} points; the true labels became "
            f"{'more' if gain.z >= 0 else 'less'} likely by {abs(gain.z):.1f} standard errors"
        )
    return f"{seen} (the gate is off)" if setting == "off" else seen
