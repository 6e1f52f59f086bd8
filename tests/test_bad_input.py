"""Bad input: a typed error that says what was wrong and what would be right, and not one row changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import apsw
import pytest

from cmc_mcp import limits
from cmc_mcp.clock import FixedClock
from cmc_mcp.errors import (
    Ambiguous,
    CmcError,
    Conflict,
    IntegrityError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    StoreError,
    WrongKey,
)
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from cmc_mcp.model.filters import Compare, Every, Where
from tests.support.memories import live

LONE = "a lone \ud800 surrogate"
NUL = "a NUL \0 inside"
UNKNOWN_ATOM = "atom_" + "0" * 32
Call = Callable[[Memory], object]


@dataclass
class Case:
    """A memory with something in it, and a way to see whether anything changed."""

    memory: Memory
    path: Path
    atom: str
    before: object = None

    def state(self) -> object:
        """The root, and the number of rows of every table."""
        connected = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            names = [
                name
                for (name,) in connected.execute(
                    "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
                )
            ]
            rows = {n: connected.execute(f'SELECT count(*) FROM "{n}"').fetchall() for n in names}
        finally:
            connected.close()
        return self.memory.snapshot().root, self.memory.snapshot().transaction, rows


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    path = tmp_path / "memory.db"
    with Memory.open(path, embedder=None, clock=FixedClock(1_780_000_000_000_000, step_us=1)) as memory:
        receipt = memory.remember(
            "The deploy target is Fly.io", source="doc:a", tags={"topic": "deploy"}, idempotency_key="first"
        )
        for number in range(12):
            memory.remember(f"note {number} about the deploy")
        memory.snapshot("start")
        made = Case(memory, path, receipt.added[0])
        made.before = made.state()
        yield made
        assert made.before == made.state()
        assert memory.verify().holds


def refused(case: Case, call: Call, *said: str, kind: type[CmcError] = InvalidInput) -> CmcError:
    """Check that a call is refused by exactly this error, in these words; the fixture checks that nothing changed."""
    with pytest.raises(CmcError) as caught:
        call(case.memory)
    assert kind is type(caught.value), f"{type(caught.value).__name__}: {caught.value.message}"
    for words in said:
        assert words in caught.value.message, caught.value.message
    caught.value.message.encode()  # it can be shown and sent
    return caught.value


# ---------------------------------------------------------------------- limits
def remember(**arguments: object) -> Call:
    return lambda memory: memory.remember(**{"content": "a note", **arguments})  # type: ignore[arg-type]


def claim(subject: str) -> Call:
    return remember(claim={"subject": subject, "predicate": "is", "object": "x"})


ALWAYS = Compare(("n",), lambda field, value: True, 1)
LIMITS: dict[str, Callable[[int], Call]] = {
    "CONTENT_BYTES_MAX": lambda n: remember(content=b"\x89" + b"x" * (n - 1), modality="image", media_type="image/png"),
    "TAGS_MAX": lambda n: remember(tags={f"tag{i}": "x" for i in range(n)}),
    "TAG_VALUE_CHARS_MAX": lambda n: remember(tags={"topic": "x" * n}),
    "TITLE_CHARS_MAX": lambda n: remember(title="x" * n),
    "ORIGIN_CHARS_MAX": lambda n: remember(source="x" * n),
    "SESSION_CHARS_MAX": lambda n: remember(session="x" * n),
    "SPEAKER_CHARS_MAX": lambda n: remember(session="s", speaker="x" * n),
    "CLAIM_CHARS_MAX": lambda n: claim("x" * n),
    "MODEL_ID_CHARS_MAX": lambda n: remember(model_id="x" * n),
    "TOOL_IDS_MAX": lambda n: remember(tool_ids=[f"tool{i}" for i in range(n)]),
    "IDEMPOTENCY_KEY_CHARS_MAX": lambda n: remember(idempotency_key="x" * n),
    "METADATA_BYTES_MAX": lambda n: remember(metadata={"a": "x" * (n - len('{"a":""}'))}),
    "LABEL_CHARS_MAX": lambda n: lambda memory: memory.snapshot("x" * n),
    "REASON_CHARS_MAX": lambda n: lambda memory: memory.snapshot("labelled", note="x" * n),
    "QUERY_CHARS_MAX": lambda n: lambda memory: memory.recall("x" * n),
    "RECALL_ITEMS_MAX": lambda n: lambda memory: memory.recall("deploy", limit=n),
    "AROUND_MAX": lambda n: lambda memory: memory.recall("deploy", around=n),
    "BUDGET_TOKENS_MAX": lambda n: lambda memory: memory.recall("deploy", budget_tokens=n),
    "HISTORY_ITEMS_MAX": lambda n: lambda memory: memory.history(limit=n),
    "PRINCIPAL_CHARS_MAX": lambda n: lambda memory: memory.as_principal("x" * n),
    "DERIVED_FROM_MAX": lambda n: lambda memory: memory.remember("derived", derived_from=[first(memory)] * n),
    "FORGET_IDS_MAX": lambda n: lambda memory: memory.forget([first(memory)] * n, dry_run=True),
    "COLLECTION_CHARS_MAX": lambda n: lambda memory: memory.collection("x" * n),
    "ENTRY_ID_CHARS_MAX": lambda n: lambda memory: memory.collection("c").put([Entry("x" * n, "text")]),
    "ENTRIES_K_MAX": lambda n: lambda memory: memory.collection("c").search(text="deploy", k=n),
    "FILTER_DEPTH_MAX": lambda n: lambda memory: memory.collection("c").count(where=nested(n)),
    "REFERENCE_CHARS_MAX": lambda n: lambda memory: memory.recall("deploy", source="x" * n),
    "METADATA_DEPTH_MAX": lambda n: remember(metadata=map_of(n)),
    "FILTER_NODES_MAX": lambda n: lambda memory: memory.collection("c").count(where=Every((ALWAYS,) * (n - 1))),
}
FIELDS: dict[str, tuple[str, Callable[[str], Call]]] = {
    "note of snapshot": ("REASON_CHARS_MAX", lambda x: lambda memory: memory.snapshot("fine", note=x)),
    "reason of revise": (
        "REASON_CHARS_MAX",
        lambda x: lambda memory: memory.revise(first(memory), priority=0.1, reason=x),
    ),
    "reason of forget": ("REASON_CHARS_MAX", lambda x: lambda memory: memory.forget(first(memory), reason=x)),
    "reason of mark": ("REASON_CHARS_MAX", lambda x: lambda memory: memory.mark(first(memory), "used", reason=x)),
    "predicate": ("CLAIM_CHARS_MAX", lambda x: remember(claim={"subject": "a", "predicate": x, "object": "b"})),
    "object": ("CLAIM_CHARS_MAX", lambda x: remember(claim={"subject": "a", "predicate": "is", "object": x})),
    "prompt_template_id": ("MODEL_ID_CHARS_MAX", lambda x: remember(prompt_template_id=x)),
}
"""Other fields that a limit of the table above holds for."""

ELSEWHERE = {
    "BATCH_ITEMS_MAX": "test_one_past_the_limit_of_ids_to_mark: remember_many makes more transactions of more",
    "ATOM_BYTES_MAX": "tests/write/test_atomize_invariants.py: a longer block is split, never refused",
    "INLINE_BYTES": "tests/memory/test_objects.py: more goes to the object store, never refused",
    "TAG_KEY_CHARS_MAX": "test_a_tag_name_one_past_its_limit_is_no_name: a form, not a length alone",
    "WORKSPACE_CHARS_MAX": "test_a_workspace_name_one_past_its_limit_is_no_name: the same",
    "CURSOR_CHARS_MAX": "test_a_cursor_past_its_limit_is_no_cursor: what is longer is none of ours",
    "ID_PREFIX_CHARS_MIN": "test_a_prefix_shorter_than_its_limit_is_no_id: a shortest, not a longest",
    "TIME_US_MIN": "test_times_are_within_the_years_1_to_9999: a form",
    "TIME_US_MAX": "test_times_are_within_the_years_1_to_9999: a form",
    "LOCK_WAIT_MS_MAX": "tests/store/test_lock.py: how long one waits, then Busy",
    "EMBED_TIMEOUT_S": "tests/embed/test_http.py: how long one waits",
    "EMBED_BATCH_MAX": "tests/embed/test_http.py: more texts are more requests",
    "HTTP_BODY_BYTES_MAX": "tests/server/test_http.py: the transport answers 413",
    "HTTP_BODIES_BYTES_MAX": "tests/serving/test_hostile_http.py: bodies past the sum are answered with 503",
    "HTTP_CONNECTIONS_MAX": "tests/serving/test_hostile_http.py: one connection more is answered with 503",
    "HTTP_PATIENCE_S": "tests/serving/test_hostile_http.py: how long a client may take",
    "ANSWER_CHARS_MAX": "tests/tools/test_respond.py: what is longer is cut, and named",
    "DOCUMENT_ATOMS_MAX": "tests/write/test_repetition.py: a document of more blocks is refused",
    "MESSAGE_BYTES_MAX": "tests/server/test_intake.py: what a message may be, its content left out",
    "MESSAGE_ELEMENTS_MAX": "tests/server/test_intake.py: what a message may hold",
    "MESSAGE_DEPTH_MAX": "tests/server/test_intake.py: how deep a message may go",
    "PROBLEMS_MAX": "tests/server/test_intake.py: further ones are counted",
    "PROBLEM_CHARS_MAX": "tests/server/test_intake.py: what is longer is cut",
    "CHECKPOINT_CHARS_MAX": "tests/server/test_intake.py: a longer one is refused",
    "CALLS_PER_MINUTE_MAX": "tests/server/test_principals.py: a token with more is refused",
    "RECALL_TOKENS_MIN": "tests/read/test_budget.py: a smaller budget is answered by the least one",
    "TERM_CHARS_MAX": "tests/terms/test_bad_text.py: a longer word is found by its beginning",
    "MARKS_MAX": "tests/terms/test_bad_text.py: a megabyte of marks is read",
    "VOCABULARY_TERMS_MAX": "tests/terms/test_near.py: the first words stay",
    "NEAR_TERMS_MAX": "tests/terms/test_near.py: how many a word is widened by",
    "MATRIX_BYTES_MAX": "tests/read/test_vectors.py: beyond it the exact path answers",
}
"""Limits that refuse nothing, or in another form: where each is tested."""


def first(memory: Memory) -> str:
    """The id of the memory that every case has."""
    told = memory.remember(
        "The deploy target is Fly.io", source="doc:a", tags={"topic": "deploy"}, idempotency_key="first"
    )
    return told.added[0]  # the receipt of the case's own


def map_of(depth: int) -> dict[str, object]:
    """Maps inside each other."""
    found: dict[str, object] = {}
    for _ in range(depth - 1):
        found = {"a": found}
    return found


def nested(depth: int) -> Where:
    """A filter that is so many levels deep."""
    where: Where = ALWAYS
    for _ in range(depth - 1):
        where = Every((where,))
    return where


def test_every_limit_has_a_row() -> None:
    names = {name for name in vars(limits) if name.isupper() and isinstance(getattr(limits, name), int | float)}
    assert names == set(LIMITS) | set(ELSEWHERE)
    assert not set(LIMITS) & set(ELSEWHERE)
    here = Path(__file__)
    for told in ELSEWHERE.values():
        place = told.partition(":")[0]
        assert (here.parent.parent / place).is_file() if place.endswith(".py") else f"def {place}" in here.read_text()


@pytest.mark.parametrize("field", FIELDS)
def test_a_limit_holds_for_every_field_it_is_about(case: Case, field: str) -> None:
    name, call = FIELDS[field]
    error = refused(case, call("x" * (getattr(limits, name) + 1)), name, kind=LimitExceeded)
    assert isinstance(error, LimitExceeded) and error.problems[0].path.rpartition(".")[2] in field
    call("x" * getattr(limits, name))(case.memory)
    case.before = case.state()


@pytest.mark.parametrize("name", LIMITS)
def test_one_past_a_limit_is_refused_by_its_name(case: Case, name: str) -> None:
    maximum: int = getattr(limits, name)
    error = refused(case, LIMITS[name](maximum + 1), name, f"{maximum:,}", kind=LimitExceeded)
    assert (name, maximum, maximum + 1) == tuple(error.fields[field] for field in ("limit", "maximum", "value"))


@pytest.mark.parametrize("name", LIMITS)
def test_exactly_a_limit_is_taken(case: Case, name: str) -> None:
    LIMITS[name](getattr(limits, name))(case.memory)
    case.before = case.state()


def test_one_past_the_limit_of_ids_to_mark(case: Case) -> None:
    ids = [case.atom] * (limits.BATCH_ITEMS_MAX + 1)
    refused(case, lambda m: m.mark(ids, "used"), "BATCH_ITEMS_MAX", kind=LimitExceeded)
    receipt = case.memory.remember_many({"content": f"item {n}"} for n in range(limits.BATCH_ITEMS_MAX + 1))
    assert receipt.transactions == 2
    case.memory.mark(receipt.added[: limits.BATCH_ITEMS_MAX], "used")
    case.before = case.state()


def test_a_cursor_past_its_limit_is_no_cursor(case: Case) -> None:
    refused(case, lambda m: m.recall("deploy", cursor="A" * (limits.CURSOR_CHARS_MAX + 1)), "cursor")


def test_a_prefix_shorter_than_its_limit_is_no_id(case: Case) -> None:
    digits = case.atom.removeprefix("atom_")
    shortest = digits[: limits.ID_PREFIX_CHARS_MIN]
    assert case.memory.history(shortest)
    refused(case, lambda m: m.history(shortest[:-1]), "not a memory id", "recall or history")


@pytest.mark.parametrize(("time", "fits"), [
    (limits.TIME_US_MIN, True), (limits.TIME_US_MAX, True), (limits.TIME_US_MIN - 1, False), (limits.TIME_US_MAX + 1, False),
])  # fmt: skip
def test_times_are_within_the_years_1_to_9999(case: Case, time: int, fits: bool) -> None:
    call = remember(occurred_at=time, session="s")
    if fits:
        call(case.memory)
        case.before = case.state()
    else:
        refused(case, call, "occurred_at", "1 to 9999")


def test_a_tag_name_one_past_its_limit_is_no_name(case: Case) -> None:
    refused(case, remember(tags={"x" * (limits.TAG_KEY_CHARS_MAX + 1): "y"}), "tags.", "at most 64")
    remember(tags={"x" * limits.TAG_KEY_CHARS_MAX: "y"})(case.memory)
    case.before = case.state()


def test_a_workspace_name_one_past_its_limit_is_no_name(case: Case) -> None:
    refused(case, lambda m: m.as_principal("me", "x" * (limits.WORKSPACE_CHARS_MAX + 1)), "workspace", "at most 64")


# ---------------------------------------------------------------------- what is said, and how
@pytest.mark.parametrize(("arguments", "said"), [
    ({"content": ""}, ["content", "blank"]),
    ({"content": " \n\t\u2003"}, ["content", "blank"]),
    ({"content": b"", "modality": "image"}, ["content", "blank"]),
    ({"content": None}, ["content", "required"]),
    ({"content": 7}, ["content", "int", "pass text"]),
    ({"content": b"\xff\xfe caf\xe9"}, ["content", "UTF-8", "byte 0"]),
    ({"content": LONE}, ["content", "surrogate"]),
    ({"content": NUL}, ["content", "NUL", "remove it"]),
    ({"content": NUL.encode()}, ["content", "NUL"]),
    ({"modality": "smell"}, ["modality", "smell", "text, code, event"]),
    ({"modality": "image"}, ["content", "takes bytes"]),
    ({"media_type": "nonsense"}, ["media_type", "text/markdown"]),
    ({"colour": "red"}, ["colour", "is an unknown argument", "valid_from"]),
    ({"valid_from": datetime(2026, 6, 1)}, ["valid_from", "naive", "offset"]),
    ({"valid_from": "2026-06-01T09:00:00"}, ["valid_from", "no offset"]),
    ({"valid_from": "next Tuesday"}, ["valid_from", "RFC 3339"]),
    ({"valid_from": "2026-02-30"}, ["valid_from", "calendar"]),
    ({"valid_from": True}, ["valid_from", "boolean"]),
    ({"valid_from": 1.5}, ["valid_from"]),
    ({"valid_from": "2026-06-02", "valid_to": "2026-06-02"}, ["valid_to", "after valid_from"]),
    ({"valid_from": "2026-06-02", "valid_to": "2026-06-01"}, ["valid_to", "after valid_from"]),
    ({"confidence": 1.01}, ["confidence", "0 to 1"]),
    ({"confidence": "high"}, ["confidence", "0 to 1"]),
    ({"confidence": float("nan")}, ["confidence"]),
    ({"priority": -0.1}, ["priority", "0 to 1"]),
    ({"entropy": float("inf")}, ["entropy"]),
    ({"decay_tau_s": -1}, ["decay_tau_s", "0 for never"]),
    ({"tags": ["deploy"]}, ["tags", "map"]),
    ({"tags": {"": "x"}}, ["tags.", "not a tag name"]),
    ({"tags": {"a b": "x"}}, ["tags.a b", "not a tag name"]),
    ({"tags": {"a": 1}}, ["tags.a", "int"]),
    ({"tags": {"a": LONE}}, ["tags.a", "surrogate"]),
    ({"tags": {LONE: "a"}}, ["tags.", "not a tag name"]),
    ({"title": " "}, ["title", "blank"]),
    ({"title": NUL}, ["title", "NUL"]),
    ({"source": LONE}, ["source", "surrogate"]),
    ({"source": "note:abc"}, ["source", "note:"]),
    ({"session": NUL}, ["session", "NUL"]),
    ({"speaker": LONE, "session": "s"}, ["speaker", "surrogate"]),
    ({"claim": {"subject": "a", "predicate": "b"}}, ["claim.object", "is missing"]),
    ({"claim": {"subject": 0, "predicate": " ", "object": None}}, ["subject: is a int", "predicate: is blank", "is missing"]),
    ({"claim": {"subject": "a", "predicate": "b", "object": "c", "colour": "d"}}, ["claim.colour"]),
    ({"claim": "a is b"}, ["claim", "map"]),
    ({"metadata": {"a": object()}}, ["metadata"]),
    ({"metadata": {"a": LONE}}, ["metadata"]),
    ({"metadata": "text"}, ["metadata", "map"]),
    ({"tool_ids": "grep"}, ["tool_ids", "list"]),
    ({"tool_ids": [1]}, ["tool_ids[0]", "int"]),
    ({"model_id": LONE}, ["model_id", "surrogate"]),
    ({"idempotency_key": NUL}, ["idempotency_key", "NUL"]),
    ({"derived_from": ["nonsense!"]}, ["derived_from[0]", "not a memory id"]),
])  # fmt: skip
def test_a_wrong_argument_of_remember_is_named_with_what_would_be_right(
    case: Case, arguments: dict[str, object], said: list[str]
) -> None:
    refused(case, remember(**arguments), *said)


def test_every_problem_is_said_at_once(case: Case) -> None:
    error = refused(case, remember(content=" ", modality="smell", tags={"a b": "x"}, colour="red", confidence=2))
    assert isinstance(error, InvalidInput)
    assert {"content", "modality", "tags.a b", "colour", "confidence"} == {problem.path for problem in error.problems}


def test_a_wrong_item_of_many_is_named_by_its_number(case: Case) -> None:
    items = [{"content": "fine"}, {"content": " "}]
    refused(case, lambda m: m.remember_many(items), "items[1].content", "blank")  # type: ignore[arg-type]
    refused(case, lambda m: m.remember_many([]), "items", "empty")
    refused(case, lambda m: m.remember_many(None), "items", "is a NoneType")  # type: ignore[arg-type]


def test_a_key_used_for_something_else_is_a_conflict(case: Case) -> None:
    refused(case, remember(idempotency_key="first"), "first", "new key", kind=Conflict)


@pytest.mark.parametrize(("call", "said"), [
    (lambda m, a: m.recall(" "), ["query", "blank"]),
    (lambda m, a: m.recall(None), ["query", "is None", "text"]),
    (lambda m, a: m.recall(5), ["query", "is a int", "text"]),
    (lambda m, a: m.recall(b"deploy"), ["query", "is a bytes", "text"]),
    (lambda m, a: m.recall("deploy", limit=0), ["limit", "at least 1"]),
    (lambda m, a: m.recall("deploy", limit=True), ["limit"]),
    (lambda m, a: m.recall("deploy", budget_tokens=-5), ["budget_tokens"]),
    (lambda m, a: m.recall("deploy", modality="smell"), ["modality", "text, code"]),
    (lambda m, a: m.recall("deploy", tags=["a"]), ["tags", "map"]),
    (lambda m, a: m.recall("deploy", tags={"a": 1}), ["tags.a"]),
    (lambda m, a: m.recall("deploy", source=""), ["source", "empty"]),
    (lambda m, a: m.recall("deploy", min_confidence=2), ["min_confidence", "0 to 1"]),
    (lambda m, a: m.recall("deploy", detail="loud"), ["detail", "concise"]),
    (lambda m, a: m.recall("deploy", valid_at="soon"), ["valid_at", "RFC 3339"]),
    (lambda m, a: m.recall("deploy", as_of=" "), ["as_of"]),
    (lambda m, a: m.recall("deploy", as_of=1.5), ["as_of"]),
    (lambda m, a: m.recall("deploy", as_of=datetime(2026, 6, 1)), ["as_of", "naive"]),
    (lambda m, a: m.recall("deploy", cursor="rubbish"), ["cursor", "without a cursor"]),
    (lambda m, a: m.recall("deploy", cursor="é"), ["cursor"]),
    (lambda m, a: m.revise(a), ["nothing"]),
    (lambda m, a: m.revise(a, content=" "), ["content", "blank"]),
    (lambda m, a: m.revise(a, valid_from="2026-06-02", valid_to="2026-06-01"), ["valid_to"]),
    (lambda m, a: m.revise(a, confidence=7), ["confidence"]),
    (lambda m, a: m.mark([], "used"), ["ids", "empty"]),
    (lambda m, a: m.mark(a, "useful"), ["outcome", "used, right, wrong"]),
    (lambda m, a: m.mark([a, a], "used"), ["ids[1]", "same memory"]),
    (lambda m, a: m.mark(a, "used", reason=LONE), ["reason", "surrogate"]),
    (lambda m, a: m.forget(), ["select nothing"]),
    (lambda m, a: m.forget(a, source="doc:a"), ["cannot be combined"]),
    (lambda m, a: m.forget(a, erase=True), ["digest", "dry_run"]),
    (lambda m, a: m.rollback(), ["to", "required"]),
    (lambda m, a: m.rollback("start", writer="x"), ["not both"]),
    (lambda m, a: m.snapshot(" "), ["label", "blank"]),
    (lambda m, a: m.snapshot("a\0b"), ["label", "NUL"]),
    (lambda m, a: m.snapshot(LONE), ["label", "surrogate"]),
    (lambda m, a: m.snapshot("fine", note=LONE), ["note", "surrogate"]),
    (lambda m, a: m.snapshot(note="a note without a label"), ["note", "label"]),
    (lambda m, a: m.history(a, source="doc:a"), ["source", "cannot be combined with `id`"]),
    (lambda m, a: m.history(limit=0), ["limit"]),
    (lambda m, a: m.history(cursor="rubbish"), ["cursor"]),
    (lambda m, a: m.forget(a, reason=LONE), ["reason", "surrogate"]),
    (lambda m, a: m.revise(a, tags={"x": "y"}, reason=LONE), ["reason", "surrogate"]),
    (lambda m, a: m.as_principal(LONE), ["principal", "surrogate"]),
    (lambda m, a: m.as_principal(""), ["principal"]),
    (lambda m, a: m.as_principal("me", "Not A Name"), ["workspace", "lower-case"]),
    (lambda m, a: m.set_policy("no.such", 1.0), ["unknown policy", "gate.min_confidence"]),
    (lambda m, a: m.verify(checkpoint="x", public_key="nonsense"), ["public_key", "64 hex"]),
])  # fmt: skip
def test_a_wrong_argument_of_another_verb_is_named_too(
    case: Case, call: Callable[[Memory, str], object], said: list[str]
) -> None:
    refused(case, lambda memory: call(memory, case.atom), *said)


# ---------------------------------------------------------------------- references
@pytest.mark.parametrize("text", [LONE, NUL])
def test_a_reference_that_is_no_text_is_refused(case: Case, text: str) -> None:
    for call in (
        lambda m: m.recall("deploy", as_of=text),
        lambda m: m.rollback(text),
        lambda m: m.history(from_=text),
        lambda m: m.forget(since=text),
        lambda m: m.read_source(text),
        lambda m: m.history(source=text),
    ):
        refused(case, call, "surrogate" if text == LONE else "NUL")


@pytest.mark.parametrize("call", [
    lambda m, r: m.recall("deploy", as_of=r),
    lambda m, r: m.rollback(r),
    lambda m, r: m.history(from_=r),
    lambda m, r: m.forget(since=r),
])  # fmt: skip
@pytest.mark.parametrize("reference", ["no-such-label", "snap_" + "0" * 16, 9999, "9999", "'; DROP TABLE atoms"])
def test_a_reference_to_nothing_is_not_found(
    case: Case, call: Callable[[Memory, object], object], reference: str | int
) -> None:
    error = refused(case, lambda memory: call(memory, reference), kind=NotFound)
    assert "here" in error.message or "the last is" in error.message


@pytest.mark.parametrize("call", [
    lambda m, r: m.revise(r, tags={"a": "b"}),
    lambda m, r: m.mark(r, "used"),
    lambda m, r: m.forget(r),
    lambda m, r: m.history(r),
    lambda m, r: m.verify(id=r),
    lambda m, r: m.remember("derived", derived_from=[r]),
])  # fmt: skip
def test_an_id_that_is_unknown_here_or_no_id_at_all(case: Case, call: Callable[[Memory, str], object]) -> None:
    refused(case, lambda m: call(m, UNKNOWN_ATOM), "recall or history", kind=NotFound)
    for wrong in ("atom_", "atom_zz", "atom_" + "0" * 33, LONE, NUL, "' OR 1=1"):
        error = refused(case, lambda m, wrong=wrong: call(m, wrong))
        assert any(words in error.message for words in ("not a memory id", "surrogate", "NUL")), error.message


def test_a_source_that_is_unknown_is_not_found(case: Case) -> None:
    for name in ("doc:none", "doc:a "):
        refused(case, lambda m, name=name: m.read_source(name), kind=NotFound)
        refused(case, lambda m, name=name: m.history(source=name), kind=NotFound)


def test_a_prefix_of_several_ids_names_them(case: Case) -> None:
    case.memory.remember_many([{"content": f"one of many {n}"} for n in range(700)])
    case.before = case.state()
    ids = case.memory.forget(tags={}, since=0, dry_run=True).ids
    prefixes: dict[str, str] = {}
    prefix, twin = next((atom[:9], prefixes[atom[:9]]) for atom in ids if prefixes.setdefault(atom[:9], atom) != atom)
    error = refused(case, lambda m: m.history(prefix), "could be any of", "more digits", kind=Ambiguous)
    candidates = error.fields["candidates"]
    assert isinstance(candidates, list) and twin in candidates


def test_a_reference_that_could_be_two_things_is_refused(case: Case) -> None:
    case.memory.snapshot("3")
    case.memory.snapshot("2026-06-01")
    case.before = case.state()
    refused(case, lambda m: m.rollback("3"), "label 3", "transaction 3", kind=Ambiguous)
    refused(case, lambda m: m.recall("x", as_of="2026-06-01"), "label", "time", kind=Ambiguous)


def test_a_cursor_from_another_question_workspace_or_verb_is_refused(case: Case) -> None:
    found = case.memory.recall("deploy note", limit=2)
    assert found.next_cursor is not None
    ledger = case.memory.history(limit=2).next_cursor
    assert ledger is not None
    refused(
        case, lambda m: m.recall("another question", limit=2, cursor=found.next_cursor), "cursor", "without a cursor"
    )
    refused(case, lambda m: m.recall("deploy note", limit=2, cursor=ledger), "cursor")
    refused(case, lambda m: m.history(cursor=found.next_cursor), "cursor")
    refused(case, lambda m: m.recall("deploy note", limit=2, cursor=found.next_cursor, as_of=1), "cursor", "read point")
    other = case.memory.as_principal("me", "other")
    refused(case, lambda m: other.recall("deploy note", limit=2, cursor=found.next_cursor), "cursor")
    case.before = case.state()


# ---------------------------------------------------------------------- what looks like a language
@pytest.mark.parametrize("query", [
    '"', "deploy AND", "NOT deploy", "deploy*", "text:deploy", "NEAR(deploy target, 2)", "(deploy", "^deploy", "deploy OR OR",
    "{heading text}: deploy", "'; DROP TABLE passages; --", "-deploy", "+", "\\", "%", "deploy\0", "\u202edeploy", LONE, "🜁 ☃",
])  # fmt: skip
def test_operators_in_a_question_are_words(case: Case, query: str) -> None:
    found = case.memory.recall(query)
    assert found.items or "deploy" not in query


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE atoms; --", '" OR ""="', "%", "_", "x' UNION SELECT 1 --", "NULL", "[a]"]
)
def test_sql_in_a_tag_is_text(case: Case, text: str) -> None:
    assert case.memory.recall("deploy", tags={"topic": text}).items == []
    refused(case, remember(tags={text: "x"}), "not a tag name") if text not in ("_", "NULL") else None
    case.memory.remember(f"a note about {text}", tags={"topic": text}, source=text, session=None)
    (item,) = case.memory.recall("note", tags={"topic": text}).items
    assert {"topic": text} == item.tags
    assert [item.id] == case.memory.forget(source=text, tags={"topic": text}, dry_run=True).ids
    case.before = case.state()


@pytest.mark.parametrize("text", [LONE, NUL])
def test_a_filter_that_nothing_can_match_is_refused_or_finds_nothing(case: Case, text: str) -> None:
    recall, forget = case.memory.recall, case.memory.forget
    for call in (
        lambda: recall("deploy", tags={"topic": text}).items,
        lambda: recall("deploy", source=text).items,
        lambda: recall("deploy", writer=text).items,
        lambda: forget(tags={"topic": text}, dry_run=True).ids,
        lambda: forget(source=text, dry_run=True).ids,
        lambda: forget(writer=text, dry_run=True).ids,
        lambda: case.memory.rollback(writer=text, dry_run=True).diff.added,
        lambda: case.memory.rollback(source=text, dry_run=True).diff.added,
        lambda: case.memory.rollback(tags={"topic": text}, dry_run=True).diff.added,
    ):
        try:
            assert call() == []
        except InvalidInput as error:
            assert "surrogate" in error.message or "NUL" in error.message, error.message


# ---------------------------------------------------------------------- files
@pytest.mark.parametrize(("body", "kind"), [
    (b"hello", WrongKey), (b"\0" * 4096, WrongKey), (b"\0" * 100, WrongKey), (b"# notes\n" * 1000, WrongKey),
])  # fmt: skip
def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path, body: bytes, kind: type[StoreError]) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes(body)
    for read_only in (False, True):
        with pytest.raises(kind, match=r"not a CMC store.*CMC_STORE"):
            live(path, read_only=read_only)
    assert body == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["header", "cut", "garbage", "tail"])
def test_a_damaged_store_says_so_and_what_helps(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "memory.db"
    with live(path) as memory:
        memory.remember_many([{"content": f"note {n} about the deploy"} for n in range(300)])
        memory.backup(tmp_path / "good.db")
    body = bytearray(path.read_bytes())
    if damage == "header":
        body[:100] = bytes(100)
    elif damage == "cut":
        del body[len(body) // 2 :]
    elif damage == "garbage":
        body[4096 : len(body) // 2] = b"\xa5" * (len(body) // 2 - 4096)
    else:
        body[len(body) // 2 :] = b"\xa5" * (len(body) - len(body) // 2)
    path.write_bytes(body)
    try:
        with live(path) as memory:
            found = memory.verify()
            assert not found.holds and found.faults
    except (IntegrityError, WrongKey) as error:
        assert "backup" in error.message or "CMC_STORE" in error.message
    with live(tmp_path / "good.db") as memory:
        assert memory.verify().holds


@pytest.mark.parametrize("url", ["mysql://somewhere/db", "https://example.org/x", "s3://bucket/x"])
def test_a_kind_of_store_that_this_version_has_not_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=f"{url.partition(':')[0]}://.*file path"):
        live(url)


@pytest.mark.parametrize("principal", ["", " ", LONE, NUL, "x" * 257])
def test_a_principal_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, principal: str) -> None:
    with pytest.raises(InvalidInput, match="principal"):
        live(tmp_path / "memory.db", principal=principal)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- what is huge
HUGE = """
import json, resource, sys
from cmc_mcp.errors import InvalidInput
from cmc_mcp.memory import Memory
from cmc_mcp.server.session import Caller
from cmc_mcp.tools import TOOLS
from cmc_mcp.tools.tool import Call

made = {
    "text": lambda: ("remember", {"content": "x" * 10_000_000, "title": "y" * 10_000_000}),
    "tags": lambda: ("remember", {"content": "x", "tags": {f"tag{n}": "" for n in range(1_000_000)}}),
    "depth": lambda: ("remember", {"content": "x", "tags": "[" * 10_000 + "]" * 10_000, "claim": "[{" * 10_000}),
    "ids": lambda: ("forget", {"ids": ["atom_" + "0" * 32] * 100_000}),
    "premises": lambda: ("remember", {"content": "x", "derived_from": [str(n) for n in range(100_000)]}),
    "query": lambda: ("recall", {"query": "word " * 2_000_000}),
    "names": lambda: ("recall", {"query": "x", **{f"argument{n}": n for n in range(10_000)}}),
}
name, arguments = made[sys.argv[2]]()
tool = {tool.name: tool for tool in TOOLS}[name]
with Memory.open(sys.argv[1], embedder=None) as memory:
    memory.remember("One")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        tool.run(Call(memory), tool.read(arguments))
    except InvalidInput as error:
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"code": error.code, "said": len(str(error)), "grown_mb": (after - before) / 1024}))
"""


@pytest.mark.parametrize("what", ["text", "tags", "depth", "ids", "premises", "query", "names"])
def test_what_is_huge_is_refused_before_it_fills_the_memory(tmp_path: Path, what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HUGE, str(tmp_path / "memory.db"), what],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["code"] == ("invalid_input" if what in ("depth", "names") else "limit_exceeded")
    assert told["grown_mb"] <= 64
    assert told["said"] <= 2_000_000
