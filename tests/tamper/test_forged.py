"""Forged rows are refused: what an id covers by every read, everything by the audit and by an answer that is proved."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from cmc_mcp.errors import CmcError, IntegrityError, InvalidInput, ProofError
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import CheckpointResult
from tests.support.embedders import HashVectors
from tests.support.memories import at, erase
from tests.tamper.forgeries import DERIVED, FORGED, ON_ROWS, VICTIMS, derive, forge
from tests.tamper.rich import KEY, START_US

QUERY = "what is the deploy target, and who said it?"


@dataclass
class Store:
    """A store, an older copy of it, and what was kept elsewhere: a checkpoint and two hashes."""

    path: Path
    older: Path
    point: CheckpointResult
    heads: tuple[str, str]
    ids: dict[str, str] = field(default_factory=dict)


@contextmanager
def opened(path: Path) -> Iterator[Memory]:
    with at(path, start_us=START_US, step_us=1000, embedder=HashVectors()) as memory:
        yield memory


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("forged")
    path, older, ids = folder / "memory.db", folder / "older.db", dict[str, str]()
    with opened(path) as memory:
        for name in ("first", "second", "third"):
            ids[name] = memory.remember(f"The {name} deploy target is Fly", tags={"n": name}, confidence=0.4).added[0]
        ids["bo"] = memory.as_principal("bo").remember("Bo says the deploy target is Render").added[0]
        ids["turn"] = memory.remember("is the deploy target up?", session="s", speaker="Ana").added[0]
        memory.remember("the deploy target is up", session="s", speaker="Bo")
        ids["part"] = memory.remember("# Guide\n\nDeploy target.\n\nUse Fly.\n\nUse Fly.\n", source="g.md").added[1]
        ids["forgotten"] = memory.remember("The deploy target is Heroku").added[0]
        memory.forget([ids["forgotten"]])
        erase(memory, memory.remember("The deploy target is secret").added)
    shutil.copy(path, older)
    with opened(path) as memory:
        ids["last"] = memory.remember("The last deploy target is Kamal").added[0]
        verified = memory.verify()
        heads = (verified.log_root, verified.transaction_hash)
        return Store(path, older, memory.checkpoint(KEY), heads, ids)


@pytest.fixture
def copy(store: Store, tmp_path: Path) -> Store:
    path = tmp_path / "memory.db"
    shutil.copy(store.path, path)
    return Store(path, store.older, store.point, store.heads, dict(store.ids))


def reads(memory: Memory, ids: dict[str, str]) -> dict[str, Callable[[], object]]:
    """Return every way to read, by name."""
    asked = partial(memory.recall, QUERY, limit=50, budget_tokens=9000)
    ways: dict[str, Callable[[], object]] = {
        "recall": partial(asked, around=1),
        "recall, quality": partial(asked, explain=True),
        "sources": memory.sources,
        "diff": partial(memory.history, from_=1),
        "log": memory.history,
    }
    for source in ("g.md", "session:s"):
        ways[f"bytes of {source}"] = partial(memory.read_source, source)
        ways[f"versions of {source}"] = partial(memory.history, source=source)
        ways[f"outline of {source}"] = partial(memory.history, source=source, place="")
    return ways | {f"history of {name}": partial(memory.history, id_) for name, id_ in ids.items()}


def test_without_a_forgery_everything_is_proved_and_nothing_changes(copy: Store) -> None:
    with opened(copy.path) as memory:
        assert memory.verify(checkpoint=copy.point.checkpoint, public_key=copy.point.public_key).holds
        plain = memory.recall(QUERY, limit=50, budget_tokens=9000)
        for head in copy.heads:
            proved = memory.recall(QUERY, limit=50, budget_tokens=9000, trust="proved", head=head)
            assert proved.proof is not None and proved.proof.verdict == "proved"
            assert proved.proof.root == copy.heads[0]
            assert proved.proof.checked["atoms"] == memory.verify().checked["atoms"]
            assert proved.model_copy(update={"proof": None}) == plain
        assert plain.proof is None and len(plain.items) > 6
        assert all(str(read()) for read in reads(memory, copy.ids).values())


def test_a_checkpoint_by_ones_own_key_is_a_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMC_SIGNING_KEY_FILE", str(tmp_path / "signing.key"))
    with opened(tmp_path / "memory.db") as memory:
        memory.remember("the deploy target is Fly")
        point = memory.checkpoint()
        assert memory.recall(QUERY, trust="proved", head=point.checkpoint).proof is not None
        with pytest.raises(ProofError, match="signature"):
            memory.recall(QUERY, trust="proved", head=memory.checkpoint(bytes(32)).checkpoint)
        memory.remember("the deploy target is Render")
        with pytest.raises(ProofError, match="that of transaction 1, and the state is that of 2"):
            memory.recall(QUERY, trust="proved", head=point.checkpoint)


@pytest.mark.parametrize("kind", ON_ROWS)
def test_a_forgery_is_refused_by_the_audit_and_by_a_proved_answer(copy: Store, kind: str) -> None:
    forge(copy.path, kind, copy.ids)
    with opened(copy.path) as memory:
        assert not memory.verify(checkpoint=copy.point.checkpoint, public_key=copy.point.public_key).holds
        for head in copy.heads:
            with pytest.raises(IntegrityError):
                memory.recall(QUERY, trust="proved", head=head)


@pytest.mark.parametrize("edit", DERIVED)
def test_an_edit_of_what_an_answer_is_found_by_is_refused_by_the_audit_and_by_a_proved_answer(
    copy: Store, edit: str
) -> None:
    assert derive(copy.path, edit) > 0
    with opened(copy.path) as memory:
        assert not memory.verify().holds
        for filters in ({}, {"writer": "root"}, {"tags": {"n": "second"}}, {"min_confidence": 0.5}):
            with pytest.raises(ProofError, match="is not what was recorded, so nothing of it is shown"):
                memory.recall(QUERY, trust="proved", head=copy.heads[0], **filters)  # type: ignore[arg-type]
        with pytest.raises(ProofError, match="is not what was recorded"):
            memory.recall(QUERY, trust="proved", head=copy.point.checkpoint)


@pytest.mark.parametrize("kind", ON_ROWS)
def test_no_read_of_a_forged_store_raises_anything_but_our_errors(copy: Store, kind: str) -> None:
    forge(copy.path, kind, copy.ids)
    with opened(copy.path) as memory:
        for name, read in reads(memory, copy.ids).items():
            try:
                answer = str(read())
            except CmcError:
                continue
            assert kind not in VICTIMS or FORGED not in answer, name


@pytest.mark.parametrize("kind", VICTIMS)
def test_what_an_id_covers_is_refused_by_every_read_that_meets_it_and_the_id_is_named(copy: Store, kind: str) -> None:
    forge(copy.path, kind, copy.ids)
    victim = copy.ids[VICTIMS[kind]]
    ways: list[Callable[[Memory], object]] = [
        lambda memory: memory.recall(QUERY, limit=50, budget_tokens=9000),
        lambda memory: memory.recall(QUERY, limit=50, budget_tokens=9000, detail="concise", around=2),
        lambda memory: memory.history(from_=1),
    ]
    for way in [lambda memory: memory.history(victim), *ways]:
        with opened(copy.path) as memory, pytest.raises(IntegrityError) as caught:
            way(memory)
        assert str(caught.value.fields["id"]) in str(caught.value)
    with opened(copy.path) as memory, pytest.raises(IntegrityError, match=victim):
        memory.history(victim)


def test_the_whole_file_rolled_back_is_refused(copy: Store) -> None:
    shutil.copy(copy.older, copy.path)
    with opened(copy.path) as memory:
        assert memory.verify().holds  # in itself it is a store like any other
        assert not memory.verify(checkpoint=copy.point.checkpoint, public_key=copy.point.public_key).holds
        for head in copy.heads:
            with pytest.raises(ProofError, match="older copy"):
                memory.recall(QUERY, trust="proved", head=head)


def test_only_the_last_state_can_be_proved(copy: Store) -> None:
    with opened(copy.path) as memory:
        last = memory.verify().transaction
        assert memory.recall(QUERY, as_of=last, trust="proved", head=copy.heads[0]).proof is not None
        with pytest.raises(InvalidInput, match="as_of"):
            memory.recall(QUERY, as_of=last - 1, trust="proved", head=copy.heads[0])
        first = memory.recall(QUERY, limit=1, trust="proved", head=copy.heads[0])
        assert first.next_cursor is not None
        assert memory.recall(QUERY, limit=1, cursor=first.next_cursor, trust="proved", head=copy.heads[0]).items
        memory.remember("one more")
        with pytest.raises(ProofError, match=f"that of transaction {last}"):
            memory.recall(QUERY, trust="proved", head=copy.heads[1])


@pytest.mark.parametrize(
    ("trust", "head"),
    [
        ("proved", None),
        (None, "ab" * 32),
        ("proved", ""),
        ("proved", "abc"),
        ("blind", "ab" * 32),
        ("proved", "ü" * 64),
    ],
)
def test_trust_and_head_go_together_and_what_is_right_is_said(copy: Store, trust: str | None, head: str | None) -> None:
    with opened(copy.path) as memory, pytest.raises(InvalidInput, match=r"head|trust"):
        memory.recall(QUERY, trust=trust, head=head)
