"""How the result of a run is shown to a person."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows.cli.output import plain_table, say
from flows.quantities import count, duration, percent

if TYPE_CHECKING:
    from flows.outcome import CleanResult


def render_result(console: Console, result: "CleanResult") -> None:
    """Show what came out, what it is worth, and where it lies."""
    facts = summary_facts(result.summary)
    if result.test:
        facts["test accuracy"] = test_fact(result.test)
    if result.published:
        facts["published"] = published_fact(result)
    render_facts(console, facts)
    render_baselines(console, result.summary)
    for warning in result.warnings:
        say(console, f"warning: {warning}", "yellow")
    say(console, "")
    render_facts(console, {"label table": result.label_table, "report": result.report, "model": result.model or ""})
    say(console, f"{'all cached, ' if result.cached else ''}{duration(result.seconds)}", "dim")


def published_fact(result: "CleanResult") -> str:
    """Say which version readers have now, and why it is not this run's where it is an older one."""
    version = result.published or {}
    if version.get("run") == result.run:
        return f"version {version['n']}"
    if version["labels"]["key"] == result.artifacts["labels"]["key"]:
        return f"version {version['n']}, unchanged"
    return f"version {version['n']} stays: this run's table was rolled back (publish.force brings it again)"


def render_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Show names and values in two columns; what is empty is left out."""
    width = max((len(name) for name, value in facts.items() if value), default=0)
    for name, value in facts.items():
        if value:
            say(console, f"{name:{width}}  {value}")


def summary_facts(summary: Mapping[str, Any]) -> dict[str, str]:
    """Put the summary of a label table into words: actions, noise, audit, gate."""
    noise, audit, gate = (summary.get(name) or {} for name in ("noise", "audit", "gate"))
    counts = summary.get("counts") or {}
    return {
        "actions": " · ".join(f"{name} {count(number)}" for name, number in counts.items()),
        "wrong labels": f"about {between(noise, 'rate', 'low', 'high')} of the given labels" if noise else "",
        "gain": gain_fact(audit),
        "gate": gate_fact(gate),
    }


def render_baselines(console: Console, summary: Mapping[str, Any]) -> None:
    """Set the suggestions beside the plain ways to make labels, as the trusted rows judge them."""
    found, audit = summary.get("baselines") or {}, summary.get("audit") or {}
    right = {name: figures.get("right_on_trusted") for name, figures in found.items()}
    if all(share is None for share in right.values()):
        return
    rows = [[name, percent(share), percent(found[name]["changed"])] for name, share in right.items()]
    if audit.get("suggested_right") is not None and audit.get("by") != "held_out":
        rows.append(["suggested labels", percent(audit["suggested_right"]), ""])
    say(console, "")
    render_rows(console, ["baseline", "right on trusted rows", "would change"], rows, right=("right on trusted rows",))
    say(console, "")


def gate_fact(gate: Mapping[str, Any]) -> str:
    """Say what the gate decided and why."""
    if not gate:
        return ""
    effect = "open, labels were changed" if gate.get("open") else "closed, labels stay as given"
    return f"{gate.get('verdict')}: {effect}; {gate.get('reason') or 'no reason was noted'}"


def gain_fact(audit: Mapping[str, Any]) -> str:
    """Say how much better suggested labels are than given ones on trusted rows, with its interval."""
    if not audit or audit.get("gain") is None:
        return ""
    low, high = (f"{100 * audit[name]:+.1f}" for name in ("gain_low", "gain_high"))
    return (
        f"{100 * audit['gain']:+.1f} points ({low} to {high}) on {count(audit['rows'])} trusted rows "
        f"that the judged fit never saw: {percent(audit['given_right'])} → {percent(audit['suggested_right'])} right"
    )


def test_fact(test: Mapping[str, Any]) -> str:
    """Say how good the model is, on which rows, and by which labels."""
    return f"{percent(test['accuracy'])} of {count(test['rows'])} test rows, judged by {test['scored_on']} labels"


def between(record: Mapping[str, Any], value: str, low: str, high: str) -> str:
    """Write a share with its interval, where it has one."""
    if record.get(value) is None:
        return "an unknown share"
    if record.get(low) is None or record.get(high) is None:
        return percent(record[value])
    return f"{percent(record[value])} ({percent(record[low])} to {percent(record[high])})"


def render_rows(console: Console, headings: list[str], rows: list[list[str]], right: tuple[str, ...] = ()) -> None:
    """Show a table."""
    table = plain_table(*headings, right=right)
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)
