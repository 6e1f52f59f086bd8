"""The verbs: what they do, what they print, and with which code they end."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cmc_mcp.cli.app import app, hoisted
from cmc_mcp.model import results
from cmc_mcp.model.shown import clean
from tests.support.memories import live

COMMANDS = {
    "remember", "recall", "revise", "mark", "forget", "snapshot", "rollback", "history", "verify", "serve", "import", "show",
    "log", "diff", "checkpoint", "backup", "quarantine list", "quarantine release", "policy set", "doctor", "demo",
    "config", "sources", "read-source", "embed", "version", "restore",
}  # fmt: skip
HEROKU = "The deploy target is Heroku"


def remembered(cmc: Any, text: str = HEROKU, *more: str) -> str:
    answer = cmc("--json", "remember", text, *more)
    assert answer.code == 0, answer.err
    return str(answer.json["added"][0])


def commands() -> list[list[str]]:
    import typer

    root = typer.main.get_command(app)
    found: list[list[str]] = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found.append([name])
        found += [[name, below] for below in getattr(command, "commands", {})]
    return found


def test_every_command_has_help_with_an_example_and_every_option_is_explained(cmc: Any) -> None:
    cmc("version")  # registers the commands
    assert {" ".join(words) for words in commands()} >= COMMANDS
    for words in commands():
        answer = cmc(*words, "--help")
        assert answer.code == 0
        assert f"cmc {words[0]}" in answer.out.partition("Example:")[2], words
        import typer

        node: Any = typer.main.get_command(app)
        for word in words:
            node = node.commands[word]
        for parameter in node.params:
            assert parameter.help or parameter.name in ("help",), (words, parameter.name)


def test_help_groups_the_commands(cmc: Any) -> None:
    out = cmc("--help").out
    places = [
        out.index(name) for name in ("Remember and recall", "Look back and take back", "Prove and keep", "Set up")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("words", [["--help"], ["version"], ["--version"]])
def test_help_and_version_load_nothing_heavy(words: list[str], store: Path) -> None:
    code = (
        "import sys; from cmc_mcp.cli.app import run; run(sys.argv[1:]); "
        "heavy = {'numpy', 'apsw', 'mcp', 'onnxruntime', 'tree_sitter', 'anyio'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_was_remembered_is_recalled(cmc: Any) -> None:
    name = remembered(cmc, HEROKU, "--tag", "topic=deploy", "--confidence", "0.95")
    answer = cmc("recall", "deploy target", "--tag", "topic=deploy", "--explain")
    assert answer.code == 0
    for part in (HEROKU, name, "topic=deploy", "A 0.95", "full text"):
        assert part in answer.out


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (["recall", "deploy"], results.RecallResult),
        (["snapshot"], results.SnapshotResult),
        (["snapshot", "a label"], results.SnapshotResult),
        (["history"], results.HistoryResult),
        (["log", "--limit", "1"], results.HistoryResult),
        (["diff", "0", "1"], results.HistoryResult),
        (["verify"], results.VerifyResult),
        (["checkpoint"], results.CheckpointResult),
        (["rollback", "0", "--dry-run"], results.RollbackResult),
        (["forget", "--tag", "topic=deploy", "--dry-run"], results.ForgetResult),
        (["remember", "another note"], results.Receipt),
    ],
)
def test_json_is_the_result_model(cmc: Any, words: list[str], model: type[results.Result]) -> None:
    remembered(cmc, HEROKU, "--tag", "topic=deploy")
    answer = cmc("--json", *words)
    assert answer.code == 0, answer.err
    assert model.model_validate(answer.json).lean() == answer.json


def test_json_equals_what_the_library_answers(cmc: Any, store: Path) -> None:
    name = remembered(cmc)
    with live(store, read_only=True) as memory:
        assert cmc("--json", "show", name).json == memory.history(name).lean()
        assert cmc("--json", "log").json == memory.history().lean()
        assert cmc("--json", "snapshot").json == memory.snapshot().lean()


def test_content_comes_from_a_file_or_from_standard_input(
    cmc: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "note.md"
    file.write_text("# Herons\n\nA heron waits.\n")
    assert cmc("remember", "--file", str(file), "--source", "note.md").code == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Ein Reiher wartet, früh.".encode())))
    assert cmc("remember", "-").code == 0
    assert "früh" in cmc("recall", "Reiher").out
    assert "A heron waits." in cmc("recall", "heron").out
    picture = tmp_path / "heron.png"
    picture.write_bytes(b"\x89PNG\0\1\2")
    words = ["--modality", "image", "--media-type", "image/png", "--title", "a grey heron"]
    assert cmc("remember", "--file", str(picture), *words).code == 0
    assert cmc("remember", "text", "--file", str(file)).code == 2
    assert cmc("remember").code == 2
    assert cmc("remember", "--file", str(tmp_path / "none")).code == 2


def test_a_correction_keeps_the_old_belief_readable(cmc: Any) -> None:
    name = remembered(cmc, HEROKU, "--claim", "prod | deploys to | Heroku")
    done = cmc(
        "--json", "revise", name[:12], "The deploy target is Fly.io", "--valid-from", "2026-06-01", "--reason", "moved"
    )
    assert done.code == 0
    assert "Heroku" in cmc("recall", "deploy target", "--as-of", "1", "--valid-at", "2026-06-05").out
    now = cmc("recall", "deploy target", "--valid-at", "2026-06-05", "--limit", "1").out
    assert "Fly.io" in now
    assert name in cmc("show", done.json["added"][0]).out


def test_a_superseded_belief_that_is_told_again_is_said_to_repeat_it(cmc: Any) -> None:
    old = remembered(cmc, "The office is on floor 3")
    assert cmc("revise", old, "The office is on floor 7").code == 0
    again = cmc("remember", "the office is on floor 3")
    assert again.code == 0
    assert f"this repeats {old}" in again.out, again.out


def test_marks_are_reported_in_one_transaction_and_taken_back_by_a_rollback(cmc: Any) -> None:
    first, second = remembered(cmc, HEROKU), remembered(cmc, "The tests run on Jenkins")
    done = cmc("--json", "mark", "wrong", first, second[:12], "--reason", "an old wiki page")
    assert done.code == 0 and done.json["revised"] == [first, second]
    assert "an old wiki page" in cmc("log").out
    assert "mark:" in cmc("history", first).out
    assert cmc("rollback", "2").code == 0
    assert '"mark:' not in cmc("history", first).out.partition("\t3\t")[0]
    for words in (("useful", first), ("used", first, first), ("used", "atom_00000000"), ("used",)):
        assert cmc("mark", *words).code == 2 or words[-1] == "atom_00000000"


def test_a_forgotten_note_is_not_recalled_and_a_rollback_brings_it_back(cmc: Any) -> None:
    name = remembered(cmc)
    cmc("snapshot", "--label", "before")
    plan = cmc("--json", "forget", name, "--dry-run").json
    assert plan["ids"] == [name]
    assert HEROKU in cmc("recall", "deploy").out
    assert cmc("forget", name).code == 0
    assert "Nothing was found" in cmc("recall", "deploy").out
    shown = cmc("rollback", "before", "--dry-run")
    assert name in shown.out
    digest = cmc("--json", "rollback", "before", "--dry-run").json["digest"]
    assert cmc("rollback", "before", "--digest", digest).code == 0
    assert HEROKU in cmc("recall", "deploy").out
    assert cmc("rollback", "before", "--digest", digest).code == 3  # the head has moved


def test_an_erased_note_is_gone_for_good(cmc: Any, store: Path) -> None:
    name = remembered(cmc, "a secret number 90210")
    assert cmc("forget", name, "--erase").code == 2
    digest = cmc("--json", "forget", name, "--erase", "--dry-run").json["digest"]
    assert cmc("forget", name, "--erase", "--digest", digest).code == 0
    assert b"90210" not in store.read_bytes()
    assert cmc("verify").code == 0


def test_a_poisoned_source_is_undone_alone(cmc: Any) -> None:
    cmc("snapshot", "start")
    remembered(cmc, "an honest note about herons")
    remembered(cmc, "herons are made of cheese", "--source", "https://bad.example/page")
    done = cmc("rollback", "--since", "0", "--source", "https://bad.example/page")
    assert done.code == 0
    out = cmc("recall", "herons").out
    assert "honest" in out and "cheese" not in out


def test_a_checkpoint_kept_elsewhere_finds_an_older_copy(cmc: Any, store: Path, tmp_path: Path) -> None:
    remembered(cmc)
    copy = tmp_path / "older.db"
    assert cmc("backup", str(copy)).code == 0
    remembered(cmc, "a second note")
    head = tmp_path / "head.txt"
    assert cmc("checkpoint", "--out", str(head)).code == 0
    assert cmc("verify", "--checkpoint", str(head)).code == 0
    answer = cmc("--store", str(copy), "verify", "--checkpoint", str(head))
    assert answer.code == 1
    assert "older copy" in answer.out
    answer = cmc("--json", "--store", str(copy), "verify", "--checkpoint", str(head))
    assert answer.code == 1 and answer.json["holds"] is False
    as_json = tmp_path / "head.json"
    as_json.write_text(cmc("--json", "checkpoint").out)
    assert cmc("verify", "--checkpoint", str(as_json)).code == 0
    other = cmc("--json", "checkpoint", "--key", str(tmp_path / "other.key")).json
    as_json.write_text(json.dumps(other))
    assert cmc("verify", "--checkpoint", str(as_json)).code == 1  # signed by a key that is not one's own
    assert cmc("verify", "--checkpoint", str(as_json), "--public-key", other["public_key"]).code == 0
    assert cmc("backup", str(copy)).code == 3  # a backup never overwrites


def test_quarantine_lists_and_releases(cmc: Any) -> None:
    assert cmc("policy", "set", "gate.min_confidence", "0.5").code == 0
    kept = cmc("--json", "remember", "perhaps the sky is green", "--confidence", "0.2").json["quarantined"][0]["id"]
    assert kept in cmc("quarantine", "list").out
    assert [e["id"] for e in cmc("--json", "quarantine", "list").json] == [kept]
    assert cmc("quarantine", "release", kept).code == 0
    assert "sky is green" in cmc("recall", "sky").out
    assert cmc("policy", "set", "gate.min_confidence", "none").code == 0
    assert "added" in cmc("remember", "maybe", "--confidence", "0.1").out
    assert cmc("policy", "set", "gate.min_confidence", "many").code == 2
    assert cmc("policy", "set", "no.such", "1").code == 2


def test_a_source_comes_back_byte_for_byte(cmc: Any, tmp_path: Path, store: Path) -> None:
    data = "# T\r\n\r\nñ  \r\n\r\n- a\n\tb\n".encode()
    file = tmp_path / "a.md"
    file.write_bytes(data)
    words = [sys.executable, "-m", "cmc_mcp", "--no-model"]
    subprocess.run([*words, "import", str(file)], check=True, capture_output=True)
    done = subprocess.run([*words, "read-source", "a.md"], check=True, capture_output=True)
    assert done.stdout == data
    assert subprocess.run([*words, "sources"], check=True, capture_output=True).stdout == b"a.md\n"


# ---------------------------------------------------------------------- errors and codes
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["recall", "x", "--no-such-option"], 2),
        (["no-such-verb"], 2),
        (["recall"], 2),
        (["recall", "x", "--limit", "many"], 2),
        (["recall", "x", "--limit", "0"], 2),
        (["recall", "x", "--valid-at", "yesterday"], 2),
        (["recall", "x", "--as-of", "no such label"], 3),
        (["remember", "x", "--valid-from", "2026-01-02", "--valid-to", "2026-01-01"], 2),
        (["remember", "x", "--tag", "no-value"], 2),
        (["remember", "x", "--claim", "two | parts"], 2),
        (["remember", "  "], 2),
        (["show", "atom_0000000000"], 3),
        (["read-source", "none"], 3),
        (["serve", "--http", "nowhere"], 2),
        (["serve", "--allow-host", "example.org"], 2),
        (["config", "emacs"], 2),
        (["embed"], 2),
        (["--workspace", "UPPER", "log"], 2),
        (["--workspace", "unknown", "log"], 3),
        (["--store", "s3://bucket/x", "log"], 2),
        (["--store", "/", "remember", "x"], 3),
    ],
)
def test_errors_are_one_message_with_the_right_code_and_change_nothing(cmc: Any, words: list[str], code: int) -> None:
    remembered(cmc)
    before = cmc("--json", "log").json
    answer = cmc(*words)
    assert answer.code == code, answer
    assert answer.err.startswith("cmc: ") and "Traceback" not in answer.err
    assert answer.out == ""
    as_json = cmc("--json", *words)
    assert as_json.code == code
    assert {"code", "message"} <= json.loads(as_json.err).keys()
    assert cmc("--json", "log").json == before


def test_reading_creates_neither_a_store_nor_a_workspace(cmc: Any, store: Path) -> None:
    for words in (["recall", "x"], ["log"], ["verify"], ["snapshot"], ["doctor", "--quick"], ["forget", "abcd"]):
        cmc(*words)
        assert not store.exists()
    assert cmc("recall", "x").code == 3
    remembered(cmc)
    assert cmc("--workspace", "other", "recall", "x").code == 3
    with live(store, read_only=True) as memory:
        assert memory.workspaces() == ["default"]


def test_general_options_may_stand_anywhere(cmc: Any, tmp_path: Path) -> None:
    answer = cmc("remember", "elsewhere", "--store", str(tmp_path / "b.db"), "--json", "--workspace=other")
    assert answer.json["added"]
    assert "elsewhere" in cmc("--workspace", "other", "recall", "elsewhere", "--store", str(tmp_path / "b.db")).out
    assert hoisted(["remember", "--", "--json"]) == ["remember", "--", "--json"]
    assert cmc("remember", "--", "--json").code == 0
    assert "--json" in cmc("recall", "json").out


def test_piped_output_is_plain_and_tables_are_tab_separated(cmc: Any) -> None:
    remembered(cmc, "tabs\tand\nlines")
    answer = cmc("log")
    header, row = answer.out.splitlines()
    assert header.split("\t")[:3] == ["transaction", "recorded", "verb"]
    assert row.split("\t")[2] == "remember"
    for words in (
        ["recall", "tabs"],
        ["show", cmc("--json", "recall", "tabs").json["items"][0]["id"]],
        ["verify"],
        ["diff", "0"],
    ):
        assert "\x1b" not in cmc(*words).out


def test_stored_text_cannot_drive_the_terminal(cmc: Any) -> None:
    remembered(cmc, "harmless \x1b[31mred\x1b]0;owned\x07 \u202eevil")
    out = cmc("recall", "harmless").out
    assert not set(out) & {"\x1b", "\x07", "\u202e"}
    assert "\\u{1b}[31mred" in out
    assert clean("[bold]x[/bold]") == "[bold]x[/bold]"


def test_an_interrupt_is_one_line_and_code_130(store: Path) -> None:
    """The process is interrupted while it waits for its standard input."""
    import signal

    code = "import sys; print('ready', flush=True); from cmc_mcp.cli import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, "--no-model", "remember", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    until = time.monotonic() + 30
    while Path(f"/proc/{child.pid}/wchan").exists() and time.monotonic() < until:
        stack = Path(f"/proc/{child.pid}/syscall").read_text()
        if stack.startswith("0 0x0 "):  # read(0, …): it waits for us
            break
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert err.count("\n") == 1 and err.startswith("cmc: interrupted")
    assert not store.exists()


def test_a_reader_that_goes_away_is_no_error(store: Path) -> None:
    with live(store) as memory:
        memory.remember_many([{"content": f"note {n}", "idempotency_key": f"k{n}"} for n in range(800)])
    with subprocess.Popen(
        [sys.executable, "-m", "cmc_mcp", "log", "--limit", "800"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline().startswith("transaction")
        child.stdout.close()  # what is left is more than the pipe holds
        assert child.stderr.read() == ""
    assert child.returncode == 0


# ---------------------------------------------------------------------- configuration
def test_config_is_ready_to_paste_and_names_store_and_workspace(cmc: Any, store: Path) -> None:
    found = {s["client"]: s["text"] for s in cmc("--json", "config").json}
    assert found.keys() == {"Claude Desktop", "Claude Code", "Cursor", "VS Code"}
    desktop = json.loads(found["Claude Desktop"])["mcpServers"]["memory"]
    assert desktop["args"][-2:] == ["--workspace", "default"]
    code = json.loads(found["VS Code"])["servers"]["memory"]
    assert code["type"] == "stdio" and code["args"][-2:] == ["--workspace", "auto"]
    assert str(store) in code["args"] and code["command"] == sys.executable
    assert json.loads(found["Cursor"])["mcpServers"]["memory"]["args"] == code["args"]
    assert found["Claude Code"].startswith("claude mcp add memory -- ")
    assert "--workspace acme" in cmc("config", "claude-code", "--workspace", "acme").out


# ---------------------------------------------------------------------- serving
def test_serving_beyond_loopback_without_tokens_is_refused(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cmc_mcp.cli.app import run

    assert run(["serve", "--http", "0.0.0.0:0"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "token" in captured.err
    assert not store.exists()


def test_cmc_mcp_is_cmc_serve(store: Path) -> None:
    """The client closes the pipe after its first request, and the server leaves."""
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", "from cmc_mcp.cli import serve_main; serve_main()", "--workspace", "acme"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(json.dumps(hello) + "\n")
        child.stdin.flush()
        answer = json.loads(child.stdout.readline())
        child.stdin.close()
        assert child.stdout.read() == ""
    assert answer["result"]["serverInfo"]["name"] == "cmc"
    assert child.returncode == 0
