"""What goes wrong reaches the agent as a result that says code, cause and remedy; nothing is changed by it."""

from __future__ import annotations

import re

import pytest

from cmc_mcp.environment import Configuration
from cmc_mcp.errors import IntegrityError
from cmc_mcp.limits import (
    BATCH_ITEMS_MAX,
    CONTENT_BYTES_MAX,
    FORGET_IDS_MAX,
    QUERY_CHARS_MAX,
    RECALL_ITEMS_MAX,
)
from cmc_mcp.server.session import Caller, LocalSession
from tests.server.rig import MODES, call, data, local, text

LONG_AUDIO = {"content": "A" * (CONTENT_BYTES_MAX // 3 * 4 + 8), "modality": "audio", "media_type": "audio/wav"}
WRONG = [
    ("remember", {"content": " "}, "invalid_input", "content"),
    ("remember", {"content": "x", "modality": "smell"}, "invalid_input", "'tool:call'"),
    ("remember", {"content": "x", "valid_from": "2026-06-01T10:00:00"}, "invalid_input", "valid_from"),
    ("remember", {"content": "x", "valid_from": "2026-06-02", "valid_to": "2026-06-01"}, "invalid_input", "valid_to"),
    ("remember", {"content": "a\0b"}, "invalid_input", "NUL"),
    ("remember", {"content": "x", "tags": {"a b": "c"}}, "invalid_input", "tags.a b"),
    ("remember", {"content": "no base64!", "modality": "image", "media_type": "image/png"}, "invalid_input", "base64"),
    ("remember", {"content": "aGk=", "modality": "image"}, "invalid_input", "media_type"),
    ("remember", {"content": "x" * (CONTENT_BYTES_MAX + 1)}, "limit_exceeded", "CONTENT_BYTES_MAX"),
    ("remember", LONG_AUDIO, "limit_exceeded", "CONTENT_BYTES_MAX"),
    ("remember", {"content": "x", "derived_from": ["atom_00000000"]}, "not_found", "atom_00000000"),
    ("recall", {"query": ""}, "invalid_input", "query"),
    ("recall", {"query": "x" * (QUERY_CHARS_MAX + 1)}, "limit_exceeded", "QUERY_CHARS_MAX"),
    ("recall", {"query": "x", "limit": RECALL_ITEMS_MAX + 1}, "limit_exceeded", "RECALL_ITEMS_MAX"),
    ("recall", {"query": "x", "as_of": "snap_ffffffff"}, "not_found", "snap_ffffffff"),
    ("recall", {"query": "x", "cursor": "bm9uZQ"}, "invalid_input", "cursor"),
    ("recall", {"query": "x", "limt": 3}, "invalid_input", "did you mean limit?"),
    ("revise", {"id": "atom_00000000", "content": "y"}, "not_found", "atom_00000000"),
    ("revise", {"id": "atom_00000000"}, "invalid_input", "nothing"),
    ("mark", {"ids": ["atom_00000000"], "outcome": "used"}, "not_found", "atom_00000000"),
    ("mark", {"ids": [], "outcome": "used"}, "invalid_input", "ids"),
    ("mark", {"ids": ["atom_00000000"], "outcome": "useful"}, "invalid_input", "outcome"),
    ("mark", {"ids": ["atom_00000000"] * (BATCH_ITEMS_MAX + 1), "outcome": "used"}, "limit_exceeded", "BATCH_ITEMS_MAX"),
    ("forget", {}, "invalid_input", "select nothing"),
    ("forget", {"ids": ["atom_0000"] * (FORGET_IDS_MAX + 1)}, "limit_exceeded", "FORGET_IDS_MAX"),
    ("snapshot", {"note": "n"}, "invalid_input", "label"),
    ("snapshot", {"label": "taken"}, "conflict", "taken"),
    ("rollback", {}, "invalid_input", "is required"),
    ("rollback", {"to": 1, "writer": "x"}, "invalid_input", "not both"),
    ("rollback", {"to": 1, "digest": "0" * 32}, "conflict", "dry run"),
    ("history", {"id": "atom_0000", "source": "x"}, "invalid_input", "cannot be combined with"),
    ("history", {"to": 99}, "not_found", "99"),
    ("verify", {"id": "atom_00000000"}, "not_found", "atom_00000000"),
]  # fmt: skip


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with local(tmp_path_factory.mktemp("errors"), principal="alice") as made:
        call(made, "remember", {"content": "One"})
        call(made, "snapshot", {"label": "taken"})
        call(made, "remember", {"content": "Two"})
        yield made


def state(session: LocalSession) -> object:
    status = session.memory(session.caller()).status()
    return status["transaction"], status["snapshot"]


@pytest.mark.parametrize(("tool", "arguments", "code", "said"), WRONG, ids=lambda value: str(value)[:30])
def test_a_wrong_call_says_what_was_wrong_and_what_to_do_and_changes_nothing(session, tool, arguments, code, said):
    before = state(session)
    result = call(session, tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    message = text(result)
    assert message.startswith(f"{tool} failed [{code}]:")
    assert said in message
    assert "\nWhat to do: " in message
    assert len(message) < 4_000
    assert state(session) == before


def test_an_ambiguous_prefix_names_the_candidates(tmp_path):
    with local(tmp_path) as session:
        ids: dict[str, str] = {}
        for number in range(2_000):
            (id,) = session.memory(session.caller()).remember(f"Note {number}").added
            if id[:9] in ids:
                break
            ids[id[:9]] = id
        result = call(session, "history", {"id": id[:9]})
    assert "[ambiguous]" in text(result)
    assert id in text(result)
    assert ids[id[:9]] in text(result)


def test_an_idempotency_key_used_otherwise_is_a_conflict(session):
    first = call(session, "remember", {"content": "Three", "idempotency_key": "k"})
    again = call(session, "remember", {"content": "Three", "idempotency_key": "k"})
    assert data(again)["transaction"] == data(first)["transaction"]
    other = call(session, "remember", {"content": "Four", "idempotency_key": "k"})
    assert "[conflict]" in text(other)


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_tool_is_an_error_result(session, mode):
    result = call(session, "remeber", {}, mode)
    assert result.is_error
    assert "remeber" in text(result)


def test_a_store_that_cannot_be_opened_is_said_and_the_next_call_tries_again(tmp_path):
    blocked = tmp_path / "folder"
    blocked.write_text("a file, where a folder is needed")
    session = LocalSession(Configuration(store=str(blocked / "memory.db")), embedder=None)
    result = call(session, "recall", {"query": "x"})
    assert result.is_error
    assert re.match(r"recall failed \[store\]: .*\nWhat to do: .*doctor", text(result), re.DOTALL)
    blocked.unlink()
    assert data(call(session, "recall", {"query": "x"}))["items"] == []
    session.close()


def test_a_file_that_is_no_store_is_said(tmp_path):
    (tmp_path / "memory.db").write_bytes(b"not a database, for sure" * 400)
    with local(tmp_path) as session:
        assert "recall failed [wrong_key]" in text(call(session, "recall", {"query": "x"}))


class BrokenSession(LocalSession):
    """A session of a server with a fault of its own."""

    error: Exception = RuntimeError("the password is hunter2")

    def memory(self, caller: Caller):
        raise self.error


def test_an_error_of_ours_reaches_the_agent_as_an_incident_and_the_log_with_its_cause(tmp_path, capfd):
    session = BrokenSession(Configuration(store=str(tmp_path / "memory.db")), embedder=None)
    message = text(call(session, "recall", {"query": "x"}))
    found = re.search(r"recall failed \[internal\]: .* incident ([0-9a-f]{8})", message)
    assert found
    assert "hunter2" not in message
    assert "Traceback" not in message
    captured = capfd.readouterr()
    assert found[1] in captured.err
    assert "hunter2" in captured.err
    assert captured.out == ""


def test_a_damaged_store_is_said_with_the_advice_to_verify(tmp_path):
    session = BrokenSession(Configuration(store=str(tmp_path / "memory.db")), embedder=None)
    session.error = IntegrityError("payload 3 does not match its hash")
    message = text(call(session, "recall", {"query": "x"}))
    assert message.startswith("recall failed [integrity]: payload 3 does not match its hash.")
    assert "Call verify" in message
