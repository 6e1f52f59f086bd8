"""Commands that remember, recall, revise, mark and forget."""

from __future__ import annotations

from cmc_mcp.cli.app import DAILY
from cmc_mcp.cli.options import verb
from cmc_mcp.cli.session import Session
from cmc_mcp.verbs.models import Forget, Mark, Recall, Remember, Revise


@verb(Remember, DAILY, "cmc remember 'The deploy target is Fly.io' --valid-from 2026-06-01 --tag topic=deploy")
def remember(session: Session, asked: Remember) -> None:
    """Remember a note, a document or a turn.

    The receipt names the memories added and the snapshot to go back to.
    """
    from cmc_mcp.cli import answers

    with session.memory("write") as memory:
        result = asked.on(memory)
    session.answer(result, lambda out: answers.receipt(out, result))


@verb(Recall, DAILY, "cmc recall 'where do we deploy?' --as-of 'before the refactor' --limit 3")
def recall(session: Session, asked: Recall) -> None:
    """Find what matters for a question, by meaning and by words.

    Each memory comes with its source, times, writer and conflicts; the last line says how it was found.
    """
    from cmc_mcp.cli import answers

    with session.memory() as memory:
        result = asked.on(memory)
    session.answer(result, lambda out: answers.recalled(out, result))


@verb(Revise, DAILY, "cmc revise atom_3f9a 'The deploy target is Fly.io' --valid-from 2026-06-01 --reason 'we moved'")
def revise(session: Session, asked: Revise) -> None:
    """Correct or change a memory; the old belief stays readable at its time.

    New wording without --valid-from is a correction; with it, a change that took place then.
    """
    from cmc_mcp.cli import answers

    with session.memory("change") as memory:
        result = asked.on(memory)
    session.answer(result, lambda out: answers.receipt(out, result))


@verb(Mark, DAILY, "cmc mark used atom_3f9a atom_7c21 --reason 'cited in the release notes'")
def mark(session: Session, asked: Mark) -> None:
    """Report how memories turned out, in one transaction.

    What is used fades later; right and wrong measure each writer's confidence, which `cmc doctor` shows.
    """
    from cmc_mcp.cli import answers

    with session.memory("change") as memory:
        result = asked.on(memory)
    session.answer(result, lambda out: answers.receipt(out, result))


@verb(Forget, DAILY, "cmc forget --source https://example.org/page --dry-run")
def forget(session: Session, asked: Forget) -> None:
    """Stop believing memories, by ids or by a selection.

    They stay readable in the past, and `cmc rollback` brings them back; only --erase destroys.
    """
    from cmc_mcp.cli import answers

    with session.memory("change") as memory:
        result = asked.on(memory)
    session.answer(result, lambda out: answers.forgotten(out, result))
