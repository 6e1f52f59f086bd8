"""Importing files, folders and JSONL files."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.cli.importing import CHUNK_ITEMS, count_lines, document, find, read_lines
from cmc_mcp.errors import InvalidInput
from cmc_mcp.limits import CONTENT_BYTES_MAX
from tests.support.memories import live

PNG = b"\x89PNG\r\n\x1a\n\0\0"


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return path


def turn(number: int, **more: str) -> dict[str, str]:
    said = {"session": "team/a", "speaker": "Ann", "text": f"turn number {number}"}
    return {**said, "occurred_at": f"2026-05-04T09:{number // 60:02d}:{number % 60:02d}Z", **more}


def lines(path: Path, values: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(value) for value in values) + "\n", encoding="utf-8")
    return path


def test_a_folder_is_imported_with_paths_as_origins_and_comes_back_byte_for_byte(
    cmc: Any, store: Path, tmp_path: Path
) -> None:
    files = {
        "a.md": b"# Title\r\n\r\nA heron.\r\n",
        "src/f.py": b"def f():\n    return 1\n",
        "src/deep/x.txt": "früh\n\n\n".encode(),
        "pic/heron.png": PNG,
    }
    ignored = {
        ".git/config": b"x", ".env": b"SECRET=1", "node_modules/m/i.js": b"x", "src/__pycache__/f.pyc": b"\0\1", "e.txt": b" \n",
        "bin.dat": b"ab\0cd", "latin.txt": b"fr\xfch",
    }  # fmt: skip
    folder = folder_of(tmp_path / "project", files | ignored)
    answer = cmc("--json", "import", str(folder))
    assert answer.code == 0, answer.err
    assert answer.json["items"] == 4
    reasons = {Path(s["name"]).name: s["reason"] for s in answer.json["skipped"]}
    assert reasons.keys() == {"bin.dat", "e.txt", "latin.txt"}
    assert "binary" in reasons["bin.dat"] and "UTF-8" in reasons["latin.txt"] and "blank" in reasons["e.txt"]
    assert answer.json["hidden"] == 2
    with live(store, read_only=True) as memory:
        assert sorted(memory.sources()) == sorted(files)
        for name, data in files.items():
            assert memory.read_source(name) == data
        assert {i.modality for i in memory.recall("heron", limit=20).items} >= {"text", "image"}
        assert memory.recall("return f").items[0].modality == "code"


def test_importing_again_adds_nothing_and_an_edit_makes_a_new_version(cmc: Any, store: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "docs", {"a.md": b"# A\n\nOne heron.\n\nTwo herons.\n", "b.md": b"# B\n\nA tern.\n"})
    lines(folder / "talk.jsonl", [turn(n) for n in range(5)])
    first = cmc("--json", "import", str(folder)).json
    assert first["items"] == 7
    again = cmc("--json", "import", str(folder)).json
    assert (again["unchanged"], again["already_known"], again["added"]) == (2, 5, 0)
    assert again["snapshot"]["after"] == first["snapshot"]["after"]
    (folder / "a.md").write_bytes(b"# A\n\nOne heron.\n\nThree herons.\n")
    edited = cmc("--json", "import", str(folder)).json
    assert (edited["added"], edited["retired"], edited["unchanged"]) == (1, 1, 1)
    with live(store, read_only=True) as memory:
        assert len(memory.history(source="a.md").source_versions) == 2


def test_turns_without_a_time_are_not_doubled_and_repeated_words_are_kept(
    cmc: Any, store: Path, tmp_path: Path
) -> None:
    said = [{"session": "s", "speaker": "Ann", "text": text} for text in ("yes", "no", "yes")]
    file = lines(tmp_path / "talk.jsonl", said)
    assert cmc("--json", "import", str(file)).json["added"] == 3
    cmc("import", str(file))
    with live(store, read_only=True) as memory:
        assert memory.read_source("session:s") == b"yes\nno\nyes"


def test_lines_take_the_arguments_of_remember(cmc: Any, store: Path, tmp_path: Path) -> None:
    values = [
        {"content": "a claim", "claim": {"subject": "a", "predicate": "b", "object": "c"}, "valid_from": "2026-06-01"},
        {"content": base64.b64encode(PNG).decode(), "modality": "image", "media_type": "image/png", "title": "heron"},
    ]
    assert cmc("import", str(lines(tmp_path / "x.jsonl", values)), "--tag", "via=import").code == 0
    with live(store, read_only=True) as memory:
        found = {item.modality: item for item in memory.recall("claim heron", tags={"via": "import"}).items}
    assert found["text"].claim is not None and found["text"].valid_from == "2026-06-01T00:00:00Z"
    assert found["image"].title == "heron"


def test_one_wrong_line_is_named_and_nothing_is_written(cmc: Any, store: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    good = json.dumps({"content": "fine"})
    for bad in (
        "{",
        "[1]",
        '{"content": "x", "no_such": 1}',
        '{"session": "s"}',
        '{"content": "x", "valid_from": "soon"}',
    ):
        file.write_text(f"{good}\n\n{bad}\n{good}\n")
        answer = cmc("import", str(file))
        assert answer.code == 2
        assert f"{file}:3" in answer.err
        assert not store.exists()
    file.write_bytes(b'{"content": "\xff"}\n')
    assert cmc("import", str(file)).code == 2
    assert cmc("import", str(tmp_path / "none")).code == 2


def test_what_was_named_and_cannot_be_had_ends_with_one(cmc: Any, tmp_path: Path) -> None:
    folder_of(tmp_path, {"a.txt": b"fine", "b.bin": b"\0"})
    assert cmc("import", str(tmp_path / "a.txt"), str(tmp_path / "b.bin")).code == 1
    os.mkfifo(tmp_path / "pipe")
    assert cmc("import", str(tmp_path / "pipe")).code == 1
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(CONTENT_BYTES_MAX + 1)
    answer = cmc("import", str(huge))
    assert answer.code == 1 and "over the limit" in answer.out


def test_links_out_of_the_folder_are_not_followed(cmc: Any, store: Path, tmp_path: Path) -> None:
    folder_of(tmp_path / "outside", {"secret.txt": b"the secret", "deep/more.txt": b"more secrets"})
    folder = folder_of(tmp_path / "inside", {"a.txt": b"open"})
    (folder / "out.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (folder / "relative.txt").symlink_to("../outside/secret.txt")
    (folder / "away").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    (folder / "broken").symlink_to("nowhere")
    (folder / "within.txt").symlink_to("a.txt")
    answer = cmc("--json", "import", str(folder))
    assert answer.code == 0
    assert {Path(s["name"]).name for s in answer.json["skipped"]} == {
        "out.txt",
        "relative.txt",
        "away",
        "loop",
        "broken",
    }
    with live(store, read_only=True) as memory:
        assert memory.sources() == ["a.txt", "within.txt"]
        assert not memory.recall("secret").items


def test_exclude_hidden_and_prefix(cmc: Any, store: Path, tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "p",
        {"a.txt": b"a a", "a.log": b"log log", "out/b.txt": b"b b", ".hid/c.txt": b"c c", ".git/d": b"d"},
    )
    words = ["import", str(folder), "-x", "*.log", "-x", "out", "--hidden", "--prefix", "p/"]
    assert cmc(*words).code == 0
    with live(store, read_only=True) as memory:
        assert memory.sources() == ["p/.hid/c.txt", "p/a.txt"]


def test_an_interrupt_keeps_whole_batches_and_the_next_run_goes_on(store: Path, tmp_path: Path) -> None:
    """The interrupt is sent when the first batch is reported; a pipe then holds the reader until it arrives."""
    count = 4 * CHUNK_ITEMS
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04}.txt").write_text(f"document number {number}\n\nwith a second paragraph")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        first = child.stderr.readline()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert first == f"import: {CHUNK_ITEMS} of {count}\n"
    assert child.returncode == 130
    assert f"{CHUNK_ITEMS} of {count} are kept" in err and "Traceback" not in err
    with live(store) as memory:
        assert len(memory.sources()) == CHUNK_ITEMS
        assert memory.verify().holds
    done = subprocess.run(
        [sys.executable, "-m", "cmc_mcp", "--no-model", "--json", "import", str(folder)],
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert (answer["unchanged"], answer["items"]) == (CHUNK_ITEMS, count - CHUNK_ITEMS)


# After the first batch has been reported, the process waits for its signal: how fast either side is does not matter.
HOLD = """
import signal, sys
from cmc_mcp.cli import app, importing
flush = importing.Importer.flush
def held(self):
    if self.totals.items:
        signal.pause()
    flush(self)
importing.Importer.flush = held
sys.exit(app.run(["--no-model", "import", sys.argv[1]]))
"""


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_a_reason(tmp_path_factory: Any, data: bytes) -> None:
    file = tmp_path_factory.mktemp("any") / "f.txt"
    file.write_bytes(data)
    read = document(file, "f.txt")
    if isinstance(read, dict):
        content = read["content"]
        assert isinstance(content, str) and content.encode() == data
    else:
        assert read.reason


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.just(b'{"content": "x"}'), st.just(b'{"text": "y", "session": "s"}')),
        max_size=6,
    )
)
def test_any_lines_are_all_checked_or_refused(tmp_path_factory: Any, given_lines: list[bytes]) -> None:
    file = tmp_path_factory.mktemp("any") / "f.jsonl"
    file.write_bytes(b"\n".join(given_lines))
    try:
        count = count_lines(file, "f.jsonl")
    except InvalidInput as error:
        assert all(str(file) in problem.path for problem in error.problems)
    else:
        assert len(list(read_lines(file, "f.jsonl"))) == count
        assert find([file]).lines == [(file, "f.jsonl")]


@pytest.mark.parametrize(
    "paths", [("A", "B"), ("A/README.md", "B/README.md"), ("A", "B/README.md"), ("A/sub", "B/sub")]
)
def test_two_files_that_would_be_one_source_are_refused_and_both_are_named(
    cmc: Any, store: Path, tmp_path: Path, paths: tuple[str, str]
) -> None:
    for name in ("A", "B"):
        files = {"README.md": f"# {name}\n\nOf {name}.\n".encode(), "sub/README.md": f"Below {name}.\n".encode()}
        folder_of(tmp_path / name, files)
    answer = cmc("import", *(str(tmp_path / name) for name in paths))
    assert answer.code != 0
    assert str(tmp_path / "A") in answer.err and str(tmp_path / "B") in answer.err and "--prefix" in answer.err
    for name in ("A", "B"):
        assert cmc("import", str(tmp_path / name), "--prefix", f"{name}/").code == 0
    with live(store, read_only=True) as memory:
        assert memory.read_source("A/README.md") == b"# A\n\nOf A.\n"
        assert memory.read_source("B/README.md") == b"# B\n\nOf B.\n"


def test_a_file_that_is_given_twice_is_imported_once(cmc: Any, store: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "A", {"README.md": b"Of A.\n"})
    assert cmc("import", str(folder), str(folder / "README.md")).code == 0
