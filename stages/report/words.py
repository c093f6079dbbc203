"""Numbers and the verdict in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

THIN = "\u202f"  # narrow no-break space
Tone = Literal["good", "calm", "warn"]


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as people read it."""
    return "unknown" if share is None else f"{100 * share:.{digits}f}{THIN}%"


def number(count: float) -> str:
    """Write a count with thousands."""
    return f"{count:,.0f}"


def clip(text: str, length: int) -> str:
    """Shorten a text, showing that it was."""
    return text if len(text) <= length else text[: length - 1] + "…"


def one_line(text: str, length: int) -> str:
    """Shorten a text to part of one line."""
    return clip(" ".join(text.split()), length)


def plainly(value: object) -> str:
    """Write a value of one of the user's columns."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Verdict:
    """What came out, in one sentence, and how it should sound."""

    tone: Tone
    badge: str
    sentence: str
    reason: str


def verdict(summary: Mapping[str, Any], changed: int, review: int) -> Verdict:
    """Say in one sentence what came out; `changed` rows carry another label, or would behind an open gate."""
    gate = summary.get("gate") or {}
    reason = str(gate.get("reason") or "").strip()
    if not gate.get("open"):
        harm = gate.get("verdict") == "harmful"
        start = "The suggested labels would do harm" if harm else "No gain is proven"
        first, _, rest = reason.partition(";")
        because = f", because {_inside(first)}" if first else ""
        badge = "Would do harm" if harm else "No gain proven"
        beside = f"{_sentence(rest)} {_would(changed)}".strip()
        return Verdict("warn", badge, f"{start}: the given labels are kept{because}.", beside)
    work = f"{number(changed)} relabelled, {number(review)} to review."
    sentence = f"{_before_after(summary.get('quality') or {})}; {work}"
    if gate.get("verdict") == "proven":
        return Verdict("good", "Gain proven", sentence, _sentence(reason))
    return Verdict("calm", f"Gain not proven, gate {gate.get('setting', 'off')}", sentence, _sentence(reason))


def _before_after(quality: Mapping[str, Any]) -> str:
    before, after = quality.get("given_right"), quality.get("purified_right")
    if before is None or after is None:
        return "Nobody can say how many labels are right, for want of trusted rows"
    return f"Labels were {percent(before)} right (estimated), are now {_with_interval(after, quality)} right"


def _with_interval(after: float, quality: Mapping[str, Any]) -> str:
    low, high = quality.get("low"), quality.get("high")
    if low is None or high is None:
        return percent(after)
    half = 50 * (high - low)
    digits = 1 if half < 1 else 0
    return f"{100 * after:.{digits}f} ± {half:.{digits}f}{THIN}%"


def _would(changed: int) -> str:
    if not changed:
        return "The machine's answers do not differ from the given labels."
    return f"{number(changed)} suggestions differ from the given labels; they are shown below and changed nothing."


def _inside(reason: str) -> str:
    """Fit a sentence of its own into another one."""
    start = reason[:1].lower() + reason[1:] if reason[1:2].islower() or reason[1:2] == " " else reason
    return start.rstrip(".")


def _sentence(words: str) -> str:
    """Make some words a sentence."""
    text = words.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""
