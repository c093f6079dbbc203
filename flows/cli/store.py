"""`puriflow store`: look into a store, prove it, tidy it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.tree import Tree

from flows.cli.options import AsJson, StoreUrl, existing
from flows.cli.output import emit, say

if TYPE_CHECKING:
    from pipeline.store.lineage import Node

app = typer.Typer(name="store", help="Look into a store, prove it, tidy it.")

Kind = Annotated[str, typer.Option("--kind", help="Only artifacts of this kind, such as labels")]


@app.command("ls", epilog="Example:  puriflow store ls --kind labels")
def ls(store: StoreUrl = "", kind: Kind = "", as_json: AsJson = False) -> None:
    """List artifacts by kind, the newest first, with size and age."""
    from flows.cli.results import render_rows
    from flows.quantities import counted, duration, size

    place = existing(store)
    found = sorted(place.artifacts(kind or None), key=lambda a: a.manifest.created, reverse=True)
    found.sort(key=lambda a: a.manifest.kind)
    record = [
        {"kind": a.manifest.kind, "key": a.key, "bytes": a.manifest.size(), "created": a.manifest.created,
         "method": a.manifest.method}
        for a in found
    ]  # fmt: skip
    total = sum(a.manifest.size() for a in found)
    now = datetime.now(UTC)

    def render(console: Console) -> None:
        rows = [
            [a.manifest.kind, a.key, a.manifest.method, size(a.manifest.size()), duration(age(a.manifest.created, now))]
            for a in found
        ]
        render_rows(console, ["kind", "key", "method", "size", "age"], rows, right=("size", "age"))
        say(console, f"{counted(len(found), 'artifact')}, {size(total)} in {place.url}")

    emit({"store": place.url, "artifacts": record, "bytes": total}, as_json, render)


@app.command(epilog="Example:  puriflow store lineage labels/3f9a21")
def lineage(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="KIND/KEY, or a key's first characters")],
    store: StoreUrl = "",
    as_json: AsJson = False,
) -> None:
    """Show what an artifact was made of, and what was made of it."""
    from flows.cli.target import artifact_at
    from pipeline.store.lineage import downstream
    from pipeline.store.lineage import lineage as of

    place = existing(store)
    ref = artifact_at(place, artifact).ref
    node, later = of(place, ref), [str(r) for r in downstream(place, ref)]

    def render(console: Console) -> None:
        tree = Tree(title_of(node))
        grow(tree, node)
        console.print(tree, markup=False)
        say(console, "made of it: " + (", ".join(later) or "nothing"))

    emit({"made_of": described(node), "made_of_it": later}, as_json, render)


@app.command(epilog="Example:  puriflow store verify")
def verify(
    store: StoreUrl = "",
    kind: Kind = "",
    discard: Annotated[bool, typer.Option("--discard", help="Move damaged artifacts to the trash")] = False,
    as_json: AsJson = False,
) -> int:
    """Read every file again and compare it with its checksum.

    Exit code 2 where something is wrong. What --discard moves to the trash is made again by the next run.
    """
    from flows.quantities import counted, size
    from pipeline.store.verify import discard as throw_away
    from pipeline.store.verify import verify as verdicts

    place = existing(store)
    found = list(verdicts(place, kind or None))
    bad = [v for v in found if v.faults]
    gone = throw_away(place, [(v.ref.kind, v.ref.key) for v in bad if v.damaged]) if discard else []

    def render(console: Console) -> None:
        for verdict in bad:
            for fault in verdict.faults:
                say(console, f"{verdict.ref}: {fault}", "red")
        read = size(sum(v.bytes for v in found))
        say(console, f"{counted(len(found), 'artifact')} read ({read}), {len(bad)} of them faulty")
        if gone:
            say(console, f"{counted(len(gone), 'artifact')} moved to the trash; the next run makes them again")
        elif any(v.damaged for v in bad):
            say(console, "move what is damaged to the trash with --discard; the next run makes it again")

    faults = [{"artifact": str(v.ref), "faults": list(v.faults)} for v in bad]
    record = {
        "store": place.url,
        "artifacts": len(found),
        "faulty": faults,
        "discarded": ["/".join(name) for name in gone],
    }
    emit(record, as_json, render)
    return 2 if bad else 0


@app.command(epilog="Example:  puriflow store gc --yes")
def gc(
    store: StoreUrl = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only say what would go")] = False,
    as_json: AsJson = False,
) -> None:
    """Tidy up: say what would go, and with --yes move it to the trash.

    Kept is whatever the last ten versions and the runs of the last seven days need. Old trash is deleted.
    """
    from flows.cli.results import render_rows
    from flows.quantities import counted, size
    from pipeline.store.gc import collect

    place = existing(store)
    report = collect(place, dry_run=not yes)

    def render(console: Console) -> None:
        rows = [[w.path, size(w.bytes), "to trash" if w.to_trash else "deleted", w.why] for w in report.waste]
        if rows:
            render_rows(console, ["path", "size", "", "why"], rows, right=("size",))
        verb = "would go" if report.dry_run else "gone"
        say(console, f"{counted(len(rows), 'thing')} {verb} ({size(report.bytes)}); {report.kept} artifacts stay")
        if rows and report.dry_run:
            say(console, "nothing was changed; do it with --yes")

    waste = [{"path": w.path, "bytes": w.bytes, "to_trash": w.to_trash, "why": w.why} for w in report.waste]
    emit({"store": place.url, "dry_run": report.dry_run, "kept": report.kept, "waste": waste}, as_json, render)


def age(created: str, now: datetime) -> float:
    """Count the seconds since an artifact was made."""
    return max((now - datetime.fromisoformat(created)).total_seconds(), 0.0) if created else 0.0


def title_of(node: "Node") -> str:
    """Name one artifact of a lineage."""
    if node.manifest is None:
        return f"{node.ref} (gone)"
    made = " ".join(part for part in (node.manifest.stage, node.manifest.method) if part)
    return f"{node.ref}  {made}, {node.manifest.created[:19]}"


def grow(tree: Tree, node: "Node") -> None:
    """Draw the inputs of an artifact below it."""
    for name, below in node.inputs.items():
        grow(tree.add(f"{name}: {title_of(below)}"), below)


def described(node: "Node") -> dict[str, Any]:
    """Describe a lineage for `--json`."""
    inputs = {name: described(below) for name, below in node.inputs.items()}
    return {"artifact": str(node.ref), "gone": node.manifest is None, "inputs": inputs}
