"""Hostile paths: nothing is read outside what was given, nothing hangs, nothing is half made."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cmc_mcp.cli.app import run
from cmc_mcp.cli.importing import document, find
from cmc_mcp.environment import Configuration
from cmc_mcp.errors import InvalidInput, StoreError
from cmc_mcp.server.principals import load_principals
from tests.fuzz.given import TEXTS
from tests.fuzz.poses import poses
from tests.support.memories import live

CANARY = "the canary that lives outside"
ENVIRONMENT = (
    "CMC_STORE",
    "CMC_CONFIG",
    "CMC_KEY",
    "CMC_KEY_FILE",
    "CMC_WORKSPACE",
    "CMC_PRINCIPAL",
    "CMC_TOKENS",
    "CMC_TOKEN",
)
PATIENCE_S = 30


class Answer(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


Cmc = Callable[..., Answer]


@pytest.fixture
def cmc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cmc]:
    """Run the command line; one that hangs is interrupted, and fails."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError("it hangs")

    def call(*arguments: str, **environment: str) -> Answer:
        with pytest.MonkeyPatch.context() as patch:
            for name in ENVIRONMENT:
                patch.delenv(name, raising=False)
            held = {"CMC_CONFIG": str(tmp_path / "none.toml"), "CMC_SIGNING_KEY_FILE": str(tmp_path / "signing.key")}
            for name, value in {**held, **environment}.items():
                patch.setenv(name, value)
            capsys.readouterr()
            signal.alarm(PATIENCE_S)
            try:
                code = run(["--no-model", *arguments])
            finally:
                signal.alarm(0)
            captured = capsys.readouterr()
        assert "it hangs" not in captured.err
        return Answer(code, captured.out, captured.err)

    before = signal.signal(signal.SIGALRM, late)
    yield call
    signal.signal(signal.SIGALRM, before)


def names_in(folder: Path) -> list[str]:
    """The names in a folder."""
    return [path.name for path in folder.iterdir()]


def made(folder: Path) -> list[str]:
    """The names in a folder, but for those that come and go beside an open store."""
    return sorted(name for name in names_in(folder) if not name.startswith("memory.db-"))


def clear(answer: Answer, *codes: int) -> str:
    """Check that an answer is an error in words; return them."""
    said = answer.err
    assert answer.code in codes, (answer.code, said)
    assert "Traceback" not in said
    assert said.startswith("cmc: "), said
    return said


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with everything in it that a walk can fall over, and a secret beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.md").write_text(CANARY)
    root = tmp_path / "given"
    (root / "sub").mkdir(parents=True)
    (root / "good.md").write_text("a good note")
    (root / "sub" / "deep.md").write_text("a deep note")
    (root / "inside.md").symlink_to(root / "sub" / "deep.md")
    (root / "out.md").symlink_to(tmp_path / "outside" / "secret.md")
    (root / "relative.md").symlink_to("../outside/secret.md")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root)
    (root / "self.md").symlink_to("self.md")
    (root / "a.md").symlink_to("b.md")
    (root / "b.md").symlink_to("a.md")
    (root / "zero.md").symlink_to("/dev/zero")
    (root / "zero.jsonl").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe.md")
    os.mkfifo(root / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(root)
        try:
            made.bind("socket.md")
        finally:
            os.chdir(here)
    return root


def test_an_import_reads_nothing_outside_the_folder_and_says_so(cmc: Cmc, tree: Path) -> None:
    store = tree.parent / "memory.db"
    answer = cmc("--store", str(store), "import", str(tree))
    assert answer.code == 0, answer.err
    said = answer.out
    for name in (
        "out.md",
        "relative.md",
        "folder",
        "loop",
        "self.md",
        "zero.md",
        "zero.jsonl",
        "pipe.md",
        "pipe.jsonl",
        "socket.md",
    ):
        assert f"{tree / name} " in said, f"{name} was left out in silence"
    with live(store) as memory:
        assert set(memory.sources()) == {"good.md", "sub/deep.md", "inside.md"}
        assert memory.recall("canary").items == []
        assert memory.verify().holds


@pytest.mark.parametrize("name", ["pipe.md", "pipe.jsonl", "zero.md", "zero.jsonl", "socket.md"])
def test_what_is_no_file_is_refused_when_it_is_named_and_never_waited_for(cmc: Cmc, tree: Path, name: str) -> None:
    answer = cmc("--store", str(tree.parent / "memory.db"), "import", str(tree / name))
    assert answer.code in (1, 2), answer.err
    assert "regular file" in answer.out + answer.err


def test_a_file_that_becomes_a_link_out_after_the_walk_is_not_followed(tree: Path) -> None:
    found = find([tree])
    good, inside = (next(entry for entry in found.documents if entry[1] == name) for name in ("good.md", "inside.md"))
    (tree / "good.md").unlink()
    (tree / "good.md").symlink_to(tree.parent / "outside" / "secret.md")
    (tree / "sub" / "deep.md").unlink()
    (tree / "sub" / "deep.md").symlink_to(tree.parent / "outside" / "secret.md")
    for entry in (good, inside):
        assert CANARY not in str(document(*entry)), entry


@pytest.mark.parametrize("becomes", ["nothing", "a pipe", "a folder"])
def test_a_file_that_changes_after_the_walk_is_left_out_with_its_reason(tree: Path, becomes: str) -> None:
    (entry,) = (entry for entry in find([tree]).documents if entry[1] == "good.md")
    (tree / "good.md").unlink()
    if becomes == "a pipe":
        os.mkfifo(tree / "good.md")
    elif becomes == "a folder":
        (tree / "good.md").mkdir()
    read = document(*entry)
    assert "reason" in getattr(read, "_fields", ()), read


def test_two_hundred_hostile_names_are_imported_or_named(cmc: Cmc, tmp_path: Path) -> None:
    root = tmp_path / "names"
    root.mkdir()
    names = [text.encode("utf-8", "surrogatepass") for text in (*TEXTS, *poses(300))]
    names += [b"\xff\xfe", b"caf\xe9", b"a\x80b", b"-rf", b"--help", b"Case", b"case", b"x" * 240]
    for number, name in enumerate(names):
        raw = name.replace(b"/", b"%").replace(b"\0", b"%")[:240] + b".md"
        try:
            (root / os.fsdecode(raw)).write_text(f"note {number} of a hostile name")
        except OSError:
            continue  # the file system takes no such name
    count = len(names_in(root))
    assert count >= 200
    store = tmp_path / "memory.db"
    answer = cmc("--json", "--store", str(store), "import", str(root), "--hidden")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["items"] + len(told["skipped"]) == count
    assert len(told["skipped"]) < count // 4
    with live(store) as memory:
        assert len(memory.sources()) == told["items"]
        assert memory.verify().holds


# ---------------------------------------------------------------------- stores, keys, targets
HOSTILE = ("", "/dev/null/x.db", "/dev/zero", "/dev/full", "/proc/self/mem", "file/x.db", "x" * 300, "/" + "d/" * 2_100 + "x",
           "loop/x.db", "pipe", "folder")  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a file")
    return tmp_path


def resolved(place: Path, path: str) -> str:
    return path if path.startswith("/") or not path else str(place / path)


@pytest.mark.parametrize("path", HOSTILE[1:], ids=lambda path: ascii(path[:30]))
def test_a_store_that_cannot_be_is_an_error_in_words(cmc: Cmc, place: Path, path: str) -> None:
    before = sorted(names_in(place))
    for verb in (["recall", "x"], ["remember", "x"]):
        clear(cmc("--store", resolved(place, path), *verb), 2, 3)
    assert sorted(names_in(place)) == before, "something was half made"


@pytest.mark.parametrize("path", HOSTILE[1:], ids=lambda path: ascii(path[:30]))
@pytest.mark.parametrize("what", ["backup", "checkpoint"])
def test_a_target_that_cannot_be_is_an_error_in_words(cmc: Cmc, place: Path, path: str, what: str) -> None:
    if (what, path) in (("checkpoint", "/dev/zero"),):
        return  # a device that takes what is written to it is a file like any
    store = place / "memory.db"
    with live(store) as memory:
        memory.remember("One")
    cmc("--store", str(store), "checkpoint")
    before = made(place)
    target = resolved(place, path)
    arguments = ["backup", target] if what == "backup" else ["checkpoint", "--out", target]
    clear(cmc("--store", str(store), *arguments), 2, 3)
    assert made(place) == before


@pytest.mark.parametrize("path", HOSTILE[1:], ids=lambda path: ascii(path[:30]))
@pytest.mark.parametrize("name", ["CMC_KEY_FILE", "CMC_CONFIG", "--token-file"])
def test_a_file_of_settings_that_cannot_be_is_an_error_in_words(cmc: Cmc, place: Path, path: str, name: str) -> None:
    target = resolved(place, path)
    store = str(place / "memory.db")
    if name == "--token-file":
        signal.alarm(PATIENCE_S)
        with pytest.raises((StoreError, InvalidInput)):
            load_principals(Configuration(store=store), {}, Path(target))
        signal.alarm(0)
        return
    answer = cmc("--store", store, "remember", "x", **{name: target})
    if name == "CMC_CONFIG" and answer.code == 0:
        assert not Path(target).is_file()  # there is no such file, or an empty pipe: the defaults hold
        return
    clear(answer, 2, 3)
    assert not Path(store).exists()


def test_a_store_and_its_backup_are_nobody_elses(tmp_path: Path) -> None:
    store = tmp_path / "memory.db"
    with live(store) as memory:
        memory.remember("One")
        memory.backup(tmp_path / "copy.db")
    for path in (store, tmp_path / "copy.db"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
