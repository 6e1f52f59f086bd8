"""What the search for remains would find, if one of the means that erase rests on were missing: each is taken away once."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import numpy as np
import pytest

from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.memory import Memory
from cmc_mcp.products import REGISTRY
from cmc_mcp.store.migrations import Migration
from cmc_mcp.store.objects.files import FileObjects
from cmc_mcp.store.sql.postings import Postings
from cmc_mcp.store.sql.schema import MIGRATIONS
from cmc_mcp.store.sql.unit import UnitOfWork
from cmc_mcp.store.sqlite import connection, migrate
from cmc_mcp.store.sqlite.connection import Location
from cmc_mcp.store.sqlite.store import SqliteStore
from tests.crash.test_sigkill import ROOT, soak
from tests.encryption.disk import CLOCK
from tests.erase import scan
from tests.erase.plants import PLANTS
from tests.erase.world import HashEmbedder, answers, erase, fill, held, vectors, world
from tests.support import reach

WORD = scan.canary(random.Random(41))
NEXT = Migration(MIGRATIONS[-1].number + 1, "shoes", ("CREATE TABLE shoes(ws INTEGER) STRICT",))


class _Without:
    """A connection that leaves some statements out."""

    def __init__(self, inner: apsw.Connection, part: str) -> None:
        self._inner, self._part = inner, part

    def execute(self, statement: str, *bindings: object) -> object:
        return iter(()) if self._part in statement else self._inner.execute(statement, *bindings)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def _without(part: str) -> Callable[[pytest.MonkeyPatch], None]:
    def weaken(patch: pytest.MonkeyPatch) -> None:
        whole = UnitOfWork.erase

        def erase(self: UnitOfWork, *arguments: object) -> None:
            inner = self._c
            self._c = _Without(inner, part)  # type: ignore[assignment]
            try:
                whole(self, *arguments)  # type: ignore[arg-type]
            finally:
                self._c = inner

        patch.setattr(UnitOfWork, "erase", erase)

    return weaken


def _no_secure_delete(patch: pytest.MonkeyPatch) -> None:
    settings = [line.replace("secure_delete=ON", "secure_delete=OFF") for line in connection._SETTINGS]
    patch.setattr(connection, "_SETTINGS", settings)


def _no_full_text_delete(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Postings, "change", lambda self, changes, last: None)


def _no_truncation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SqliteStore, "scrub", lambda self, ws, erasure_count: True)


def _no_deletion(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FileObjects, "delete", lambda self, workspace, hash_: None)


def _no_old_backups(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(migrate, "drop_backups", lambda path: None)


CONTROLS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None], str]] = {
    "secure delete": ("claim", _no_secure_delete, "memory.db:"),
    "full text": ("note", _no_full_text_delete, "memory.db: token"),
    "truncation": ("note", _no_truncation, "memory.db-wal:"),
    "objects": ("object", _no_deletion, "memory.db.objects/"),
    "vectors": ("note", _without("DELETE FROM vectors"), "vector"),
    "tags": ("tag", _without("DELETE FROM tags"), "memory.db:"),
    "payloads": ("note", _without("UPDATE payloads"), "memory.db:"),
    "epoch": ("metadata", _without("epoch = epoch + 1"), "cache"),
    "old backups": ("note", _no_old_backups, ".backup:"),
}


def remains(folder: Path, what: str) -> list[str]:
    """Plant, erase, and return all that is found of it."""
    embedder = HashEmbedder()
    memory, warm = world(folder, embedder), world(folder)
    fill(memory, 60)
    ids = PLANTS[what](memory, WORD)
    fill(memory, 80)
    memory.backup(folder / "copy.db")
    (folder / "copy.db").rename(folder / f"memory.db.v{NEXT.number - 1}.backup")  # as a migration would have made it
    list(answers(warm, ids, (), points=[memory.snapshot().transaction]))
    shutil.rmtree(folder / "copy.db.objects", ignore_errors=True)
    erase(memory, ids)
    found = scan.in_folder(folder, WORD)
    if gone := [text for text in embedder.texts if WORD in text]:
        nearest = float(np.max(vectors(folder / "memory.db") @ HashEmbedder().embed(gone).T))
        found += ["vector"] if nearest > 0.999 else []
    list(answers(warm, ids, (), points=[memory.snapshot().transaction]))
    found += [f"cache {line}" for line in held((reach.kept(warm), reach.store(warm)), WORD)]
    memory.close()
    warm.close()
    return found


@pytest.mark.parametrize("taken", CONTROLS)
def test_each_means_is_needed_and_its_lack_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    what, weaken, where = CONTROLS[taken]
    assert remains(tmp_path / "whole", what) == []
    weaken(monkeypatch)
    assert any(where in line for line in remains(tmp_path / "weak", what)), "the search is blind to it"


def test_every_form_of_a_word_is_known_to_the_search() -> None:
    raw = WORD.encode()
    for data in (
        raw,
        b"x" + raw.hex().encode(),
        WORD.lower().encode(),
        WORD.encode("utf-16-le"),
        WORD.encode("utf-16-be"),
    ):
        assert scan.in_bytes(b"before " + data + b" after", WORD), data
    import base64

    for skipped in range(3):
        assert scan.in_bytes(base64.b64encode(b"-" * skipped + raw + b"-" * 5), WORD)
    assert scan.in_bytes(raw[:16] + b"|" + raw[17:], WORD)
    assert not scan.in_bytes(raw[:15] + b"|" + raw[17:], WORD)


def test_what_is_longer_than_a_page_goes_from_its_overflow_pages_too(memory: Memory, tmp_path: Path) -> None:
    fill(memory, 30)
    ids = memory.remember("\n".join(f"{{{WORD}-{n}" for n in range(600)), modality="event").added
    fill(memory, 30)
    assert (tmp_path / "memory.db-wal").read_bytes().count(WORD.encode()) >= 590
    erase(memory, ids)
    assert scan.in_folder(tmp_path, WORD) == []


def test_codes_that_were_packed_go_and_are_made_again_without_it(tmp_path: Path) -> None:
    memory = world(tmp_path)
    ids = PLANTS["note"](memory, WORD)
    memory.remember_many([{"content": f"note {n}"} for n in range(1_030)])
    with reach.store(memory).reader(1) as view:
        (model,) = [row[0] for row in view.models()]
        (rid,) = [row.rid for row in view.atoms(view.changed(0, 1)).values()]
        assert list(view.packed_codes(model)) and view.vectors_of(model, [rid], 9)
    erase(memory, ids)
    with reach.store(memory).reader(1) as view:
        assert list(view.packed_codes(model)) == [] and view.vectors_of(model, [rid], 9) == {}
    assert memory.recall("note 7").items
    assert memory.verify(deep=True).faults == []


def test_the_backup_of_a_later_migration_holds_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with world(tmp_path) as memory:
        fill(memory, 20)
        erase(memory, PLANTS["paragraph"](memory, WORD))
    migrate.run(Location(path), CLOCK, replace(REGISTRY, migrations=(*MIGRATIONS, NEXT)))
    assert Path(f"{path}.v{NEXT.number - 1}.backup").exists()
    assert scan.in_folder(tmp_path, WORD) == []


def test_a_reader_in_the_way_is_said_and_the_next_erase_finishes_both(tmp_path: Path) -> None:
    memory, other = world(tmp_path), world(tmp_path)
    second = scan.canary(random.Random(42))
    first_ids, second_ids = (PLANTS["object"](memory, word) for word in (WORD, second))
    with reach.store(other).reader(1) as view:
        view.head()
        receipt = erase(memory, first_ids).receipt
        assert receipt is not None and receipt.pages_pending
        assert scan.in_folder(tmp_path, WORD), "or else there was nothing to say"
    receipt = erase(memory, second_ids).receipt
    assert receipt is not None and not receipt.pages_pending
    assert scan.in_folder(tmp_path, WORD) + scan.in_folder(tmp_path, second) == []
    memory.close()
    other.close()


def test_an_erase_that_was_cut_short_is_finished_by_another_process_that_was_open_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended between its commit and the object; the other one's erase must not take its mark for its own."""
    memory, other = world(tmp_path), world(tmp_path)
    ids, others = PLANTS["object"](memory, WORD), PLANTS["note"](memory, "another-word")
    earlier = reach.store(memory).reader(1)
    with earlier as view:
        erasure_count = view.erasure_count()
    with monkeypatch.context() as patch:
        patch.setattr(FileObjects, "delete", _cut_short)
        with pytest.raises(KeyboardInterrupt):
            erase(memory, ids)
    assert reach.store(other).scrub(1, erasure_count), "as at the end of an erase that had committed before it"
    assert reach.store(other).pages_pending() and scan.in_folder(tmp_path, WORD)
    receipt = erase(other, others).receipt
    assert receipt is not None and not receipt.pages_pending
    assert scan.in_folder(tmp_path, WORD) == [] and not reach.store(other).pages_pending()
    memory.close()
    other.close()


def _cut_short(objects: FileObjects, workspace: int, hash_: bytes) -> None:
    raise KeyboardInterrupt


def test_the_words_of_an_idempotency_key_go_and_the_key_still_holds(tmp_path: Path) -> None:
    with world(tmp_path) as memory:
        first = memory.remember("under a key", idempotency_key=f"key {WORD}")
        memory.remember("another", idempotency_key="another")
        erase(memory, first.added)
        for _ in range(2):
            again = memory.remember("under a key", idempotency_key=f"key {WORD}")
            assert (again.added, again.transaction) == (first.added, first.transaction)
            erase(memory, first.added)
        assert memory.remember("another", idempotency_key="another").transaction == first.transaction + 1
        assert scan.in_folder(tmp_path, WORD) == []


def test_the_key_of_a_request_that_was_kept_back_goes_with_it(tmp_path: Path) -> None:
    with world(tmp_path) as memory:
        erase(memory, memory.remember("told twice").added)
        kept = memory.remember("told twice", idempotency_key=f"key {WORD}", tags={"t": WORD}).quarantined
        erase(memory, memory.release(kept[0].id).restored or _all(memory))
        assert scan.in_folder(tmp_path, WORD) == []
        assert memory.remember("told twice", idempotency_key=f"key {WORD}", tags={"t": WORD}).quarantined == kept


def _all(memory: Memory) -> list[str]:
    with reach.store(memory).reader(1) as view:
        return [atom_name(row.key) for row in view.all_atoms()]


def test_a_witness_stays_as_the_documents_say(tmp_path: Path) -> None:
    with world(tmp_path) as memory:
        ids = memory.remember("written by a model", model_id="model-7").added
        erase(memory, ids)
        gone = memory.history(ids[0]).memory
        assert gone is not None and gone.witness.model_id == "model-7"
        assert memory.verify().holds


def test_the_documents_say_what_an_erase_cannot_reach() -> None:
    text = " ".join((ROOT / "SECURITY.md").read_text().split())
    assert "Copies made before the erasure" in text and "Erasure leaves hashes" in text


def test_random_histories_and_erasures_with_kills_between_leave_nothing(tmp_path: Path) -> None:
    told = soak("erase", "--count", "12", "--folder", str(tmp_path))
    assert (told["failures"], told["done"]) == ([], 12), told
    assert isinstance(told["killed"], int) and told["killed"] >= 2, told
