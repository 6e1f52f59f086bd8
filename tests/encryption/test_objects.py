"""Objects under a key: what is not exactly what was written, where it was written, is never given back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cmc_mcp.canon import payload_hash
from cmc_mcp.errors import IntegrityError
from cmc_mcp.store.objects import envelope
from cmc_mcp.store.objects.files import FileObjects

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
DATA, HASH = b"some bytes", payload_hash(b"some bytes")
FIRST_FORMAT = bytes.fromhex(
    "000102030405060708090a0b6db620ee17eeecd45d1fd29baeecc86fcd3fb24f4d302ef41ad0431fe5687baf2e56e5b913074615b9ba3a8bf8"
)
"""What the first format wrote of `FIRST_DATA` under `KEY`, with the nonce 00 01 … 0b."""
FIRST_DATA = b"an object of the first format"


def put(folder: Path, data: bytes = DATA, workspace: int = 1) -> Path:
    FileObjects(folder, KEY).put(workspace, payload_hash(data), data)
    name = payload_hash(data).hex()
    return folder / str(workspace) / name[:2] / name


def test_a_file_is_header_nonce_ciphertext_and_tag(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a").read_bytes(), put(tmp_path / "b").read_bytes()
    assert first[:8] == second[:8] == b"cmcobj\0\2"
    assert len(first) == 8 + 12 + len(DATA) + 16
    assert first[8:20] != second[8:20], "a nonce is never used twice"
    assert DATA not in first


def test_the_key_of_objects_is_derived_by_hkdf_and_is_not_the_databases() -> None:
    expected = HKDF(SHA256(), length=32, salt=None, info=b"cmc/objects/2").derive(KEY)
    assert envelope._derived(KEY) == expected != KEY


def test_no_bit_of_a_file_can_be_turned(tmp_path: Path) -> None:
    path = put(tmp_path)
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        turned = bytearray(whole)
        turned[bit // 8] ^= 1 << bit % 8
        path.write_bytes(turned)
        with pytest.raises(IntegrityError):
            FileObjects(tmp_path, KEY).get(1, HASH)
    path.write_bytes(whole)
    assert FileObjects(tmp_path, KEY).get(1, HASH) == DATA


def test_no_part_of_a_file_passes_for_the_whole_nor_does_more(tmp_path: Path) -> None:
    path = put(tmp_path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(IntegrityError):
            FileObjects(tmp_path, KEY).get(1, HASH)
    path.write_bytes(whole + b"\0")
    with pytest.raises(IntegrityError):
        FileObjects(tmp_path, KEY).get(1, HASH)


def test_a_file_opens_in_its_own_workspace_and_under_its_own_name_alone(tmp_path: Path) -> None:
    path, other = put(tmp_path), put(tmp_path, b"other bytes")
    elsewhere = tmp_path / "2" / path.parent.name / path.name
    elsewhere.parent.mkdir(parents=True)
    shutil.copy(path, elsewhere)
    with pytest.raises(IntegrityError, match="decrypted"):
        FileObjects(tmp_path, KEY).get(2, HASH)
    shutil.copy(other, path)
    with pytest.raises(IntegrityError, match="decrypted"):
        FileObjects(tmp_path, KEY).get(1, HASH)


@pytest.mark.parametrize("body", [DATA, b"cmcobj\0\2" + DATA, b"", b"cmcobj\0\2"])
def test_what_is_in_the_clear_is_not_taken_for_an_object(tmp_path: Path, body: bytes) -> None:
    put(tmp_path).write_bytes(body)
    with pytest.raises(IntegrityError):
        FileObjects(tmp_path, KEY).get(1, HASH)


def test_what_is_encrypted_is_not_taken_for_its_content_without_a_key(tmp_path: Path) -> None:
    put(tmp_path)
    for key in (None, OTHER):
        with pytest.raises(IntegrityError):
            FileObjects(tmp_path, key).get(1, HASH)


def test_objects_of_the_first_format_are_read_and_become_the_present_one_with_another_key(tmp_path: Path) -> None:
    path = put(tmp_path / "old", FIRST_DATA, 7)
    path.write_bytes(FIRST_FORMAT)
    assert FileObjects(tmp_path / "old", KEY).get(7, payload_hash(FIRST_DATA)) == FIRST_DATA
    FileObjects(tmp_path / "old", KEY).reseal_to(tmp_path / "new", OTHER)
    assert FileObjects(tmp_path / "new", OTHER).get(7, payload_hash(FIRST_DATA)) == FIRST_DATA
    moved = next(found for found in (tmp_path / "new").rglob("*") if found.is_file())
    assert moved.read_bytes().startswith(b"cmcobj\0\2")
    path.write_bytes(FIRST_FORMAT[:-1] + bytes([FIRST_FORMAT[-1] ^ 1]))
    with pytest.raises(IntegrityError):
        FileObjects(tmp_path / "old", KEY).get(7, payload_hash(FIRST_DATA))


def test_what_a_killed_writer_left_goes_with_the_object(tmp_path: Path) -> None:
    path = put(tmp_path)
    part, other = path.with_name(f"{path.name}.1.2.part"), put(tmp_path, b"other bytes")
    part.write_bytes(b"half of it")
    FileObjects(tmp_path, KEY).delete(1, HASH)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [other]
