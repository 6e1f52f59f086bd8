"""What keeps a memory: import, sources, checkpoints, backups, rebuilding, quarantine, policies, vectors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmc_mcp.cli.app import CARE, DAILY, PROOF, TIME, app, command
from cmc_mcp.cli.session import INTERRUPTED, NO, Session, pairs, read_text, session_of, whole_file
from cmc_mcp.errors import InvalidInput, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cmc_mcp.cli.importing import Found, Importer, Totals
    from cmc_mcp.cli.show import Out

_NAMED = 20


@command("import", DAILY, "cmc import ./docs conversation.jsonl --tag project=harbor")
def import_(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, folders, JSONL files.")],
    tag: Annotated[
        list[str] | None, typer.Option("--tag", "-t", metavar="NAME=VALUE", help="A tag for all; may be repeated.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", "-x", metavar="GLOB", help="Leave out files and folders so named.")
    ] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Also what begins with a dot (never .git).")] = False,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="Put this in front of every origin, such as 'docs/'.")
    ] = "",
) -> None:
    """Remember files, whole folders, and JSONL files line by line.

    A line of JSONL holds the arguments of remember, or session, speaker, occurred_at and text. A file's origin is its
    path in the folder given. Importing again skips what is unchanged, and makes new versions of what is not; Ctrl-C
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


def _import(importer: Importer, found: Found, progress: Callable[[int, int], None], total: int) -> None:
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


def _report(state: Session, totals: Totals, found: Found) -> None:
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


def _show(out: Out, totals: Totals, found: Found) -> None:
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
    origin: Annotated[str, typer.Argument(help="The source's origin, as `cmc sources` lists it.")],
    as_of: Annotated[
        str | None, typer.Option(metavar="STATE", help="As it was then: a snapshot, label, transaction or time.")
    ] = None,
) -> None:
    """Write a source to standard output as it came, every byte."""
    state = session_of(context)
    with state.memory() as memory:
        data = memory.read_source(origin, as_of)
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@command("checkpoint", PROOF, "cmc checkpoint --out ~/elsewhere/head.txt")
def checkpoint(
    context: typer.Context,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The signing key: 64 hex digits; made when there is no such file."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the checkpoint to a file.")] = None,
) -> None:
    """Sign the present state, to be kept outside the store.

    `cmc verify --checkpoint FILE` then finds edits, deletions, truncation and older copies.
    """
    from cmc_mcp.cli import answers
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.config import signing_key

    state = session_of(context)
    with state.memory() as memory:
        seed = signing_key({"CMC_SIGNING_KEY_FILE": str(key.expanduser())}) if key else None
        result = memory.checkpoint(seed)
    if out is not None:
        try:
            # a pipe that nobody reads refuses, and does not wait
            descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o666)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(result.checkpoint)
        except OSError as error:
            raise StoreError(f"the checkpoint cannot be written to {out} ({error.strerror})") from error
    if out is None or state.json:
        state.answer(result, lambda o: answers.checkpoint(o, result))
        return
    state.out.line(Styled("✓ ", "green"), f"transaction {result.transaction} signed; keep {out} away from the store")
    state.out.line("  public key ", Styled(result.public_key, "cyan"))


@command("backup", PROOF, "cmc backup /mnt/backup/memory-2026-06-01.db")
def backup(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The new file; it must not exist.")],
) -> None:
    """Copy the live store to a new file, while others read and write.

    The copy is a store: use it with --store, or put it in the place of a damaged one.
    """
    from cmc_mcp.cli.show import Styled

    state = session_of(context)
    with state.memory() as memory, state.progress("backup, pages") as progress:
        memory.backup(path, progress=progress)
    target = path.expanduser().absolute()
    size = target.stat().st_size
    if state.json:
        state.print_json({"backup": str(target), "bytes": size})
        return
    state.out.line(Styled("✓ ", "green"), f"{target}  {size:,} bytes")


@command("restore", PROOF, "cmc restore /mnt/backup/memory-2026-06-01.db --checkpoint head.txt")
def restore_(
    context: typer.Context,
    backup: Annotated[Path, typer.Argument(help="What `cmc backup` wrote; it is only read.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="PATH", help="Restore to this new place, and leave the store alone.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A signed checkpoint that the backup must hold; - is stdin.")
    ] = None,
    public_key: Annotated[
        str | None, typer.Option(metavar="HEX", help="The key that must have signed it; one's own by default.")
    ] = None,
) -> None:
    """Verify a backup, and put it in the place of the store; the store that was there is kept aside.

    Nothing is changed until a copy beside the store has been verified whole. Stop servers first: a store that anybody
    has open is not switched. Exits with 1 when the backup does not verify.
    """
    from cmc_mcp.cli.looking import checkpoint_text
    from cmc_mcp.cli.restoring import Head, restore
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.store.opening import file_of

    state = session_of(context)
    asked = state.configuration()
    present = whole_file(asked)
    head = None
    if checkpoint is not None:
        head = Head(asked.workspace, checkpoint_text(read_text(checkpoint, "checkpoint")), public_key)
    with state.progress("restore") as progress:
        done = restore(backup, file_of(to) if to else present, asked, head=head, replace=to is None, progress=progress)
    if state.json:
        state.print_json(
            {
                "restored": None if done.faults else str(done.path),
                "aside": None if done.aside is None else str(done.aside),
                "transactions": {**done.transactions},
                "faults": [fault.lean() for fault in done.faults],
            }
        )
    elif done.faults:
        state.out.line(Styled(f"✗ the backup has {len(done.faults)} faults; nothing was changed", "bold red"))
        state.out.table(("table", "key", "what is wrong"), [(f.table, f.key, f.reason) for f in done.faults])
        state.out.line("Take an older backup, or a newer checkpoint's backup if it is only older than the checkpoint.")
    else:
        ends = ", ".join(f"{name} at transaction {seq}" for name, seq in done.transactions.items())
        state.out.line(Styled("✓ ", "green"), f"{done.path}  verified: {ends or 'no workspace'}")
        if done.aside is not None:
            state.out.line("  the store before is kept as ", Styled(str(done.aside), "cyan"))
    if done.faults:
        raise typer.Exit(NO)


@command("embed", CARE, "cmc embed")
def embed(context: typer.Context) -> None:
    """Make the vectors that are still missing; can be interrupted and called again."""
    state = session_of(context)
    if not state.model:
        raise InvalidInput.at("--no-model", "goes not with embed, which needs the model")
    with state.memory("change") as memory:
        pending = memory.status()["pending"]
        with state.progress("embed", pending if isinstance(pending, int) else None) as progress:
            done = memory.embed_pending(progress=progress)
    if state.json:
        state.print_json({"embedded": done})
        return
    state.out.line(f"{done:,} texts embedded" if done else "Every memory has its vector.")


@command("rebuild", CARE, "cmc rebuild")
def rebuild(context: typer.Context) -> None:
    """Write indexes, trees and full text anew from the ledger; answers stay what they were.

    Mends what `cmc verify` finds wrong with derived tables. Refused, changing nothing, when the ledger itself does not
    verify: then restore the last backup. Exits with 1 when something does not hold even so.
    """
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory("change") as memory, state.progress("rebuild") as progress:
        result = memory.rebuild(progress=progress)
    state.answer(result, lambda out: answers.verified(out, result))
    if not result.holds:
        raise typer.Exit(NO)


# ---------------------------------------------------------------------- quarantine and policies
_quarantine = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    _quarantine, name="quarantine", rich_help_panel=CARE, help="List what the gate kept back, and let it in.",
    epilog="Example:  cmc quarantine list",
)  # fmt: skip


@command("list", CARE, "cmc quarantine list", into=_quarantine)
def quarantine_list(context: typer.Context) -> None:
    """List what the gate kept back, and why."""
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory() as memory:
        entries = memory.quarantine()
    if state.json:
        state.print_json([entry.lean() for entry in entries])
        return
    answers.quarantine(state.out, entries)


@command("release", CARE, "cmc quarantine release gate_3f9a", into=_quarantine)
def quarantine_release(
    context: typer.Context, id: Annotated[str, typer.Argument(help="The entry's id, from `cmc quarantine list`.")]
) -> None:
    """Let something out of quarantine: it is remembered as it came."""
    from cmc_mcp.cli import answers

    state = session_of(context)
    with state.memory("change") as memory:
        result = memory.release(id)
    state.answer(result, lambda out: answers.receipt(out, result))


_policy = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    _policy, name="policy", rich_help_panel=CARE, help="Set what the workspace's gate asks for.",
    epilog="Example:  cmc policy set gate.min_confidence 0.5",
)  # fmt: skip


@command("set", CARE, "cmc policy set gate.min_confidence 0.5", into=_policy)
def policy_set(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The policy: gate.min_confidence.")],
    value: Annotated[str, typer.Argument(help="A number from 0 to 1; 'none' removes the policy.")],
) -> None:
    """Set a policy of the workspace; what the gate then refuses is kept in quarantine."""
    state = session_of(context)
    try:
        number = None if value == "none" else float(value)
    except ValueError as error:
        raise InvalidInput.at("value", f"{value!r:.40} is neither a number nor 'none'") from error
    if number is not None and not 0 <= number <= 1:
        raise InvalidInput.at("value", f"{value} is not from 0 to 1")
    with state.memory("write") as memory:
        memory.set_policy(name, number)
    if state.json:
        state.print_json({"name": name, "value": number})
        return
    state.out.line(f"{name} was removed" if number is None else f"{name} = {number:g}")
