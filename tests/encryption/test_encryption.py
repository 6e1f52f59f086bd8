from __future__ import annotations

import os
from pathlib import Path

import pytest

from cmc_mcp.cli.app import run
from cmc_mcp.environment import configuration, parse_key
from cmc_mcp.errors import IntegrityError, InvalidInput, StoreError, WrongKey
from tests.support.stores import contents, memory

KEY = bytes(range(32))
CANARY = "canary-3f9ac1d2-that-nobody-else-writes"


def test_no_word_of_an_encrypted_store_is_on_the_disk(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db", key=KEY, inline_bytes=128) as opened:
        opened.remember(CANARY, tags={"topic": CANARY}, title=CANARY, source=f"doc:{CANARY}")
        opened.remember(f"{CANARY} " * 20, modality="event")
        opened.snapshot(CANARY)
        opened.backup(tmp_path / "copy.db")
        live = contents(tmp_path)
    assert {"memory.db", "memory.db-wal", "memory.db-shm", "copy.db"} <= set(live)
    assert any("objects" in name for name in live)
    for name, body in {**live, **contents(tmp_path)}.items():
        assert CANARY.encode() not in body, name
        assert not body.startswith(b"SQLite format 3"), name


def test_what_was_encrypted_is_read_with_its_key(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db", key=KEY) as opened:
        opened.remember(CANARY)
    with memory(tmp_path / "memory.db", key=KEY) as opened:
        assert opened.recall("canary").items[0].text == CANARY
        assert opened.verify().holds


@pytest.mark.parametrize("key", [None, b"x" * 32, KEY[:31], KEY + b"1"])
def test_without_its_key_a_store_is_refused_without_a_byte_written(tmp_path: Path, key: bytes | None) -> None:
    with memory(tmp_path / "memory.db", key=KEY) as opened:
        opened.remember(CANARY)
    before = contents(tmp_path)
    for read_only in (False, True):
        with pytest.raises(WrongKey, match="CMC_KEY"):
            memory(tmp_path / "memory.db", key=key, read_only=read_only)
    assert before == contents(tmp_path)


@pytest.mark.parametrize("key", [b"", b"short"])
def test_a_key_too_short_to_protect_anything_is_refused(tmp_path: Path, key: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"key: .*at least 16"):
        memory(tmp_path / "memory.db", key=key)
    assert contents(tmp_path) == {}


def test_a_key_does_not_open_a_store_that_is_not_encrypted(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db") as opened:
        opened.remember("plain")
    before = contents(tmp_path)
    with pytest.raises(WrongKey):
        memory(tmp_path / "memory.db", key=KEY)
    assert before == contents(tmp_path)


def test_a_backup_of_an_encrypted_store_opens_with_the_key_alone(tmp_path: Path) -> None:
    with memory(tmp_path / "memory.db", key=KEY) as opened:
        opened.remember(CANARY)
        opened.backup(tmp_path / "copy.db")
    with pytest.raises(WrongKey):
        memory(tmp_path / "copy.db")
    with memory(tmp_path / "copy.db", key=KEY) as opened:
        assert opened.recall("canary").items[0].text == CANARY
        assert opened.verify().holds


def test_a_key_is_64_hex_digits_or_a_passphrase(tmp_path: Path) -> None:
    assert KEY == parse_key(KEY.hex()) == parse_key(KEY.hex().upper())
    made = parse_key("correct horse battery")
    assert len(made) == 32 and made == parse_key("correct horse battery") != parse_key("correct horse battery ")
    with pytest.raises(InvalidInput, match="64 hex digits, or a passphrase of 16"):
        parse_key("too short")


def test_the_key_comes_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY.hex() + "\n")
    nowhere = {"CMC_CONFIG": str(tmp_path / "none.toml")}
    assert configuration(environment={**nowhere, "CMC_KEY": KEY.hex()}).key == KEY
    assert configuration(environment={**nowhere, "CMC_KEY_FILE": str(file)}).key == KEY
    assert configuration(environment=nowhere).key is None
    assert KEY.hex() not in repr(configuration(environment={**nowhere, "CMC_KEY": KEY.hex()}))


def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    nowhere = {"CMC_CONFIG": str(tmp_path / "none.toml")}
    with pytest.raises(StoreError, match="cannot be read"):
        configuration(environment={**nowhere, "CMC_KEY_FILE": str(tmp_path / "missing")})
    (tmp_path / "binary").write_bytes(os.urandom(8) + b"\xff\xfe")
    with pytest.raises(InvalidInput, match="is not text"):
        configuration(environment={**nowhere, "CMC_KEY_FILE": str(tmp_path / "binary")})
    (tmp_path / "short").write_text("short")
    with pytest.raises(InvalidInput, match="short: is too short"):
        configuration(environment={**nowhere, "CMC_KEY_FILE": str(tmp_path / "short")})


def test_white_space_around_hex_digits_is_nothing_and_a_digit_too_few_is_no_passphrase(tmp_path: Path) -> None:
    assert parse_key(f" {KEY.hex()}\r\n") == KEY
    for text in (KEY.hex()[:-1], KEY.hex() + "0", KEY.hex().upper()[:-2]):
        with pytest.raises(InvalidInput, match=r"hex digits; a key has 64") as caught:
            parse_key(text)
        assert text not in caught.value.message
    made = parse_key("  a passphrase with white space  ")
    assert made != parse_key("a passphrase with white space")


@pytest.mark.parametrize("damage", ["cut short", "salt", "nothing but a header"])
def test_a_file_whose_first_page_is_damaged_is_refused_and_stays_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "memory.db"
    with memory(path, key=KEY) as opened:
        opened.remember(CANARY)
    whole = path.read_bytes()
    path.write_bytes(
        {"cut short": whole[:1000], "salt": bytes([whole[0] ^ 1]) + whole[1:], "nothing but a header": whole[:16]}[
            damage
        ]
    )
    before = contents(tmp_path)
    with pytest.raises((WrongKey, IntegrityError)) as caught:
        memory(path, key=KEY)
    assert KEY.hex() not in repr(caught.value)
    assert contents(tmp_path) == before


def test_a_wrong_key_is_named_by_no_message_of_any_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path, wrong = tmp_path / "memory.db", "ab" * 32
    with memory(path, key=KEY) as opened:
        opened.remember(CANARY)
    before = contents(tmp_path)
    monkeypatch.setenv("CMC_KEY", wrong)
    for words in (["recall", "x"], ["remember", "x"], ["verify"], ["doctor"], ["rekey", "--decrypt"], ["log"]):
        assert run(["--no-model", "--store", str(path), *words]) in (1, 3), words
    told = capfd.readouterr()
    assert "another key" in told.err and wrong not in told.out + told.err and KEY.hex() not in told.out + told.err
    assert contents(tmp_path) == before


def test_doctor_names_the_cipher_and_a_key_that_others_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, file = tmp_path / "memory.db", tmp_path / "key"
    with memory(path, key=KEY) as opened:
        opened.remember(CANARY)
    file.write_text(KEY.hex())
    monkeypatch.setenv("CMC_KEY_FILE", str(file))
    for mode, healthy in ((0o600, 0), (0o644, 1)):
        file.chmod(mode)
        assert run(["--no-model", "--store", str(path), "doctor", "--quick"]) == healthy
        told = " ".join(capsys.readouterr().out.split())
        assert "cipher chacha20, objects aes-256-gcm" in told
        assert (f"chmod 600 {file}" in told) == bool(healthy)
