"""The page at the end of a run: before and after, the gain with its interval, the gate, pictures, places."""

from collections.abc import Iterator

from flows.cli.results import published_fact, summary_facts, test_fact
from flows.outcome import CleanResult
from flows.quantities import duration, percent
from flows.service.corrected import corrected_sheet
from flows.service.naming import artifact_name
from flows.service.showing import Shown, data_uri, show_picture, table
from pipeline.artifacts import Artifact, Ref
from pipeline.store import Store

FIGURES = {
    "quality.png": "Labels right on trusted rows, given and suggested",
    "noise.png": "Which classes are mistaken for which",
    "changes.png": "The largest groups of changed labels",
}


def show_summary(result: CleanResult, store: Store) -> str:
    """Show the summary of a run and the pictures of its report; return it in one line."""
    report = artifact_of(result, store, "reports")
    for name, says in FIGURES.items():
        if any(entry.path == name for entry in report.manifest.files):
            key = artifact_name(result.dataset, name.removesuffix(".png"))
            show_picture(key, report.path(name).read_bytes(), f"{says}: {result.dataset}")
    Shown(artifact_name(result.dataset, "summary"), f"What came of cleaning {result.dataset}").show(
        "\n\n".join(page(result, store, report))
    )
    facts = summary_facts(result.summary)
    return " · ".join(part for part in (f"gate {facts['gate']}", facts["actions"]) if part)


def page(result: CleanResult, store: Store, report: Artifact) -> Iterator[str]:
    """Write the summary, paragraph by paragraph."""
    yield f"# {result.dataset}"
    yield str(report.metrics.get("sentence", ""))
    facts = {name: fact for name, fact in summary_facts(result.summary).items() if fact}
    if result.test:
        facts["the model"] = test_fact(result.test)
    if result.published:
        facts["published"] = published_fact(result)
    yield "\n".join(f"- **{name}**: {fact}" for name, fact in facts.items())
    audit = result.summary.get("audit") or {}
    if audit.get("rows"):
        yield "## Before and after, on trusted rows that the judged fit never saw"
        shares = {name: percent(audit[f"{name}_right"]) for name in ("given", "suggested")}
        yield table(["labels", "right"], list(shares.items()))
    sheet = corrected_sheet(store, Ref(kind="labels", key=result.artifacts["labels"]["key"]))
    if sheet:
        yield f"## The most telling corrections\n\n![twelve corrected images]({data_uri(sheet)})"
    if result.warnings:
        yield "## Warnings\n\n" + "\n".join(f"- {warning}" for warning in result.warnings)
    yield "## Where it lies"
    yield "\n".join(f"- {what}: {where}" for what, where in places(result, store))
    yield f"run `{result.run}` · {duration(result.seconds)}{', all of it cached' if result.cached else ''}"


def places(result: CleanResult, store: Store) -> Iterator[tuple[str, str]]:
    """Say where everything lies, for people and for programs."""
    if result.published:
        yield "published table", f"`{store.url}/published/{result.dataset}/{result.published['file']}`"
    yield "label table", f"`{result.label_table}`"
    yield "report", f"`{result.report}`"
    if result.model:
        yield "model", f"`{result.model}`"
    for kind, made in result.artifacts.items():
        yield kind, f"`{kind}/{made['key']}`{' (cached)' if made['cached'] else ''}"


def artifact_of(result: CleanResult, store: Store, kind: str) -> Artifact:
    """Bring one of the artifacts of a run."""
    return store.get(Ref(kind=kind, key=result.artifacts[kind]["key"]))
