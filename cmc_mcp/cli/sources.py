"""Sources: bring them in, list them, and read them back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmc_mcp.cli.app import DAILY, TIME, command
from cmc_mcp.cli.session import INTERRUPTED, NO, Session, pairs, session_of

if TYPE_CHECKING:
    from cmc_mcp.cli.importing import FoundFiles, Importer, Totals
    from cmc_mcp.cli.show import Out
    from cmc_mcp.model.calls import Progress

_NAMED = 20


@command("import", DAILY, "cmc import ./docs conversation.jsonl --tag project=harbor")
def import_(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, folders, JSONL files.")],
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", "-t", metavar="NAME=VALUE", help="A tag for every file; may be repeated."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", "-x", metavar="GLOB", help="Leave out files and folders that match."),
    ] = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Also import names that begin with a dot (never .git).")
    ] = False,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="Put this in front of every origin, such as 'docs/'.")
    ] = "",
) -> None:
    """Remember files, whole folders, and JSONL files line by line.

    A line of JSONL holds the arguments of remember, or session, speaker, occurred_at and text. A file's origin is its
    path in the folder given. A second import skips unchanged files and makes new versions of changed ones; Ctrl-C
    keeps whole batches, and the same command goes on from there. Lines that were forgotten or corrected since are
    remembered again, and the summary counts them.
    """
    from cmc_mcp.cli.importing import Importer, count_lines, find

    state = session_of(context)
    tags = pairs(tag, "tag")
    found = find(paths, exclude=exclude or (), hidden=hidden, prefix=prefix)
    total = len(found.documents) + sum(count_lines(path, origin) for path, origin in found.lines)
    with state.memory("write") as memory:
        importer = Importer(memory, tags)
        importer.totals.skipped += found.skipped
        try:
            with state.progress("import", total, patience_s=0) as progress:
                _import(importer, found, progress, total)
        except KeyboardInterrupt:
            totals = importer.totals
            done = totals.items + totals.unchanged
            _report(state, totals, found)
            sys.stderr.write(
                f"cmc: {done:,} of {total:,} are kept, in whole batches; the same command goes on from there\n"
            )
            raise typer.Exit(INTERRUPTED) from None
    _report(state, importer.totals, found)
    given = {str(name) for path in paths for name in (path, path.resolve())}
    if any(skipped.name in given for skipped in importer.totals.skipped):
        raise typer.Exit(NO)  # something that was asked for by name could not be had


def _import(importer: Importer, found: FoundFiles, progress: Progress, total: int) -> None:
    from cmc_mcp.cli.importing import read_lines

    reported = 0

    def report() -> None:
        nonlocal reported
        totals = importer.totals
        done = totals.items + totals.unchanged + len(totals.skipped) - len(found.skipped)
        if done != reported:
            reported = done
            progress(done, total)

    for path, origin in found.documents:
        importer.document(path, origin)
        report()
    for path, origin in found.lines:
        for arguments in read_lines(path, origin):
            importer.add(arguments)
            report()
    importer.flush()
    report()


def _report(state: Session, totals: Totals, found: FoundFiles) -> None:
    if state.json:
        value = {
            "items": totals.items,
            "added": totals.added,
            "already_known": totals.known,
            "unchanged": totals.unchanged,
            "restored": totals.restored,
            "retired": totals.retired,
            "quarantined": totals.quarantined,
            "pending": totals.pending,
            "hidden": found.hidden,
            "skipped": [{"name": s.name, "reason": s.reason} for s in totals.skipped],
        }
        if totals.first and totals.last:
            value["snapshot"] = {"before": totals.first, "after": totals.last}
        state.print_json(value)  # type: ignore[arg-type]  # plain values, as the lines above show
        return
    _show(state.out, totals, found)


def _show(out: Out, totals: Totals, found: FoundFiles) -> None:
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.model.shown import flat

    counts = (
        (totals.added, "memories added"),
        (totals.known, "already known"),
        (totals.unchanged, "files unchanged"),
        (totals.restored, "restored that had been forgotten or corrected"),
        (totals.retired, "dropped by new versions"),
        (totals.quarantined, "kept in quarantine"),
    )
    out.line(Styled("✓ ", "green"), ", ".join(f"{n:,} {said}" for n, said in counts if n) or "nothing to import")
    if totals.last:
        out.line("  snapshot ", Styled(totals.last, "cyan"), Styled(f"  before {totals.first}", "dim"))
    for skipped in totals.skipped[:_NAMED]:
        out.line(Styled("! left out: ", "yellow"), flat(f"{skipped.name} {skipped.reason}"))
    if len(totals.skipped) > _NAMED:
        out.line(f"  … and {len(totals.skipped) - _NAMED} more (--json lists them all)")
    if found.hidden:
        out.line(Styled(f"  {found.hidden} hidden files and folders were left out (--hidden takes them)", "dim"))
    if totals.pending:
        out.line(Styled(f"! {totals.pending} without a vector yet; `cmc embed` makes them", "yellow"))


@command("sources", TIME, "cmc sources")
def sources(context: typer.Context) -> None:
    """List the documents and conversations, in order of first recording."""
    from cmc_mcp.model.shown import flat

    state = session_of(context)
    with state.memory() as memory:
        found = memory.sources()
    if state.json:
        state.print_json([*found])
        return
    for origin in found:
        state.out.line(flat(origin))


@command("read-source", TIME, "cmc read-source docs/runbook.md --as-of 'before the refactor' > runbook.md")
def read_source(
    context: typer.Context,
    origin: Annotated[str, typer.Argument(help="The origin of the source, as `cmc sources` lists it.")],
    as_of: Annotated[
        str | None,
        typer.Option(metavar="STATE", help="Read the source as of then: a snapshot, label, transaction or time."),
    ] = None,
) -> None:
    """Write a source to standard output, byte for byte as it was stored."""
    state = session_of(context)
    with state.memory() as memory:
        data = memory.read_source(origin, as_of)
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
