"""Checkpoints: one text each, verified by a signature over exactly that text, and by nothing else."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.errors import InvalidInput, ProofError
from cmc_mcp.limits import TIME_US_MAX, TIME_US_MIN
from cmc_mcp.merkle.checkpoint import (
    Checkpoint,
    Signature,
    format_checkpoint,
    generate_key,
    key_id,
    parse_checkpoint,
    public_key,
    sign,
    verify_checkpoint,
)
from tests.merkle.made import flip

SEED, OTHER = bytes(range(32)), bytes(32)
PUBLIC = public_key(SEED)
CHECKPOINT = Checkpoint("cmc.example/work", 42, b"\1" * 32, b"\2" * 32, b"\3" * 32, 1_767_225_600_000_000)
NOTE = sign(CHECKPOINT, SEED, "cmc.example/work")
LINES = NOTE.split("\n")

origins = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(n) for n in range(32)]), min_size=1, max_size=99
)
hashes = st.binary(min_size=32, max_size=32)
checkpoints = st.builds(
    Checkpoint, origins, st.integers(0, 2**63 - 1), hashes, hashes, hashes, st.integers(TIME_US_MIN, TIME_US_MAX)
)


def signed(body: str, seed: bytes = SEED, *, mark: str = "— me ", id_: bytes = bytes(4)) -> str:
    """A note by hand, so that bodies can be signed that `sign` refuses."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(body.encode())
    return f"{body}\n{mark}{b64encode(id_ + signature).decode()}\n"


def with_line(number: int, line: str) -> str:
    lines = NOTE.split("\n")
    lines[number - 1] = line
    return "\n".join(lines)


def test_pinned_note() -> None:
    """This is the format: a note once given out verifies for ever."""
    assert NOTE == PINNED
    assert verify_checkpoint(PINNED, PUBLIC) == CHECKPOINT


PINNED = """cmc.example/work
42
AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
state 0202020202020202020202020202020202020202020202020202020202020202
control 0303030303030303030303030303030303030303030303030303030303030303
time 1767225600000000

— cmc.example/work g+9BFRecCGaJbiEmrLrDAj7Yo0LTfQdkL7TAPKrq6GFEASnmwno6gXmXa6TZWoCQimVg9h+qa6KTqPnNg+FkNtyJuAU=
"""


def test_the_key_id_is_that_of_the_published_example() -> None:
    """The key of https://pkg.go.dev/golang.org/x/mod/sumdb/note: PeterNeumann+c74f20a3+ARpc2Qc…"""
    verifier = b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert verifier[:1] == b"\1"
    assert key_id("PeterNeumann", verifier[1:]).hex() == "c74f20a3"


@settings(max_examples=100, deadline=None)
@given(checkpoints, st.binary(min_size=32, max_size=32), st.sampled_from(["a", "cmc.example/work", "é—"]))
def test_round_trip(checkpoint: Checkpoint, seed: bytes, name: str) -> None:
    body = format_checkpoint(checkpoint)
    assert parse_checkpoint(body) == (checkpoint, ())
    note = sign(checkpoint, seed, name)
    assert note.startswith(body + "\n— ")
    parsed, (signature,) = parse_checkpoint(note)
    assert parsed == checkpoint and signature[:2] == (name, key_id(name, public_key(seed)))
    assert verify_checkpoint(note, public_key(seed), origin=checkpoint.origin) == checkpoint


def test_keys() -> None:
    assert len({generate_key() for _ in range(4)}) == 4
    assert all(len(generate_key()) == 32 for _ in range(4))
    # RFC 8032 §7.1, test 1
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert public_key(seed).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_unsigned_never_verifies() -> None:
    for text in (format_checkpoint(CHECKPOINT), format_checkpoint(CHECKPOINT) + "\n", ""):
        with pytest.raises(ProofError):
            verify_checkpoint(text, PUBLIC)


def test_another_key_never_verifies_whatever_the_key_id_says() -> None:
    forged = signed(format_checkpoint(CHECKPOINT), OTHER, id_=key_id("me", PUBLIC))
    with pytest.raises(ProofError, match="no signature by this key"):
        verify_checkpoint(forged, PUBLIC)
    with pytest.raises(ProofError):
        verify_checkpoint(NOTE, public_key(OTHER))


def test_the_key_id_decides_nothing() -> None:
    assert verify_checkpoint(signed(format_checkpoint(CHECKPOINT), id_=b"oops"), PUBLIC) == CHECKPOINT


def test_one_signature_by_the_key_is_enough() -> None:
    theirs = sign(CHECKPOINT, OTHER, "witness").split("\n")[-2]
    cosignature = "— timed " + b64encode(bytes(4 + 8 + 64)).decode()
    note = "\n".join([*LINES[:7], theirs, cosignature, LINES[7], ""])
    assert verify_checkpoint(note, PUBLIC) == verify_checkpoint(note, public_key(OTHER)) == CHECKPOINT
    assert [one.name for one in parse_checkpoint(note)[1]] == ["witness", "timed", "cmc.example/work"]


def test_a_signature_of_one_checkpoint_does_not_do_for_another() -> None:
    for other in (
        replace(CHECKPOINT, size=43),
        replace(CHECKPOINT, origin="cmc.example/work2"),
        replace(CHECKPOINT, state_root=CHECKPOINT.control_root, control_root=CHECKPOINT.state_root),
        replace(CHECKPOINT, recorded_us=CHECKPOINT.recorded_us + 1),
    ):
        with pytest.raises(ProofError):
            verify_checkpoint(format_checkpoint(other) + "\n" + LINES[7] + "\n", PUBLIC)


def test_no_changed_body_or_signature_verifies() -> None:
    body = format_checkpoint(CHECKPOINT)
    for at in range(len(body) + 1):
        changed = [body[:at] + new + body[at:] for new in ("0", "a", "\n", " ", "é")]
        if at < len(body):
            changed += [body[:at] + body[at + 1 :], body[:at] + chr(ord(body[at]) ^ 1) + body[at + 1 :]]
        for text in changed:
            with pytest.raises(ProofError):
                verify_checkpoint(text + NOTE[len(body) :], PUBLIC)
    signature = b64decode(LINES[7].split(" ")[2])
    for bit in range(32, 8 * len(signature)):
        with pytest.raises(ProofError):
            verify_checkpoint(with_line(8, "— me " + b64encode(flip(signature, bit)).decode()), PUBLIC)
    for cut in (signature[:-1], signature + b"\0", signature[:4]):
        with pytest.raises(ProofError):
            verify_checkpoint(with_line(8, "— me " + b64encode(cut).decode()), PUBLIC)


ROOT64, HEX, SIGNATURE64 = LINES[2], "02" * 32, LINES[7].split(" ")[2]
BAD_LINES: dict[int, list[str]] = {
    1: ["", "tab\there", "bell\7", "x\r", "x" * 2049, "\ud800"],
    2: ["", "-1", "+1", "042", "4 2", " 42", "42 ", "4_2", "٤٢", "1e3", "0x2a", str(2**63), "9" * 5000, "²"],
    3: ["", ROOT64[:-1], ROOT64 + "=", ROOT64[:-2] + "F=", "!" + ROOT64[1:], " " + ROOT64, "AQ==", "é" * 44],
    4: [
        *("", HEX, "state", "state ", f"state  {HEX}", f"State {HEX}", f"state {HEX[:-2]}", f"state {HEX}00"),
        *("state " + "0A" * 32, "state " + "0g" * 32, f"state {HEX} ", f"control {HEX}", f"state state {HEX}"),
    ],
    5: ["", "control", f"state {HEX}", "control " + "٠" * 64],
    6: [
        *("", "time", "time ", "time -0", "time 01", "time +1", "time 1.0", "time --1", "time 5 "),
        *(f"time {TIME_US_MAX + 1}", f"time {TIME_US_MIN - 1}", "1767225600000000"),
    ],
    7: [" ", "extension", "— x"],
    8: [
        *("", "—", "— me", "— me ", "— me AAAA", "— me AAAAAA==", LINES[7] + " ", LINES[7] + "="),
        *(f"{mark}{SIGNATURE64}" for mark in ("- me ", "—me ", "— a b ", "— a+b ", "—  ", "— \u00a0me ", "— \x1fme ")),
    ],
}


@pytest.mark.parametrize(("number", "line"), [(number, line) for number, lines in BAD_LINES.items() for line in lines])
def test_a_bad_line_is_named_even_when_it_is_signed(number: int, line: str) -> None:
    text = with_line(number, line)
    with pytest.raises(ProofError) as caught:
        parse_checkpoint(text)
    assert caught.value.fields["line"] == number
    if number <= 6 and line.isascii():
        with pytest.raises(ProofError):
            verify_checkpoint(signed("\n".join(text.split("\n")[:6]) + "\n"), PUBLIC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "x",
        NOTE[:-1],
        NOTE + "\n",
        NOTE + "x",
        NOTE.replace("\n", "\r\n"),
        "\n".join(LINES[:5]) + "\n",
        "\n".join([*LINES[:6], "extension", *LINES[6:]]),
        "\n".join([*LINES[:7], *[LINES[7]] * 101, ""]),
        "\n".join([*LINES[:3], LINES[4], LINES[3], *LINES[5:]]),
        "x\n" * 100_000,
    ],
)
def test_malformed_text_is_a_proof_error(text: str) -> None:
    with pytest.raises(ProofError):
        parse_checkpoint(text)
    with pytest.raises(ProofError):
        verify_checkpoint(text, PUBLIC)


@settings(deadline=None)
@given(st.text(st.sampled_from("\n —0a=A+t") | st.characters()) | st.binary().map(lambda b: b.decode("latin-1")))
def test_arbitrary_text_raises_nothing_but_proof_errors(text: str) -> None:
    with pytest.raises(ProofError):
        verify_checkpoint(text, PUBLIC)


def test_wrong_types_are_proof_errors() -> None:
    for bad in (None, 1, NOTE.encode(), [NOTE]):
        with pytest.raises(ProofError):
            verify_checkpoint(cast(str, bad), PUBLIC)
    for key in (None, 1, b"", bytes(31), bytes(33), PUBLIC.hex(), [*PUBLIC]):
        with pytest.raises(ProofError):
            verify_checkpoint(NOTE, cast(bytes, key))


def test_the_origin_asked_for_must_be_that_of_the_checkpoint() -> None:
    assert verify_checkpoint(NOTE, PUBLIC, origin="cmc.example/work") == CHECKPOINT
    for origin in ("cmc.example/other", "", "cmc.example/work "):
        with pytest.raises(ProofError, match="another log"):
            verify_checkpoint(NOTE, PUBLIC, origin=origin)


def test_what_cannot_stand_in_a_checkpoint_is_refused_all_at_once() -> None:
    bad = Checkpoint("a\nb", -1, b"", b"", bytes(33), TIME_US_MAX + 1)
    with pytest.raises(InvalidInput) as caught:
        sign(bad, SEED, "me")
    assert [problem.path for problem in caught.value.problems] == [
        "origin", "size", "log_root", "state_root", "control_root", "recorded_us",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "\u00a0a", "a\u2003b", "\ud800", "x" * 3000])
def test_a_name_that_a_note_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="name"):
        sign(CHECKPOINT, SEED, name)


def test_a_key_of_another_length_is_refused() -> None:
    for call in (lambda: sign(CHECKPOINT, b"short", "me"), lambda: public_key(bytes(33))):
        with pytest.raises(InvalidInput):
            call()


def test_a_signature_is_given_as_it_stands() -> None:
    assert parse_checkpoint(with_line(8, "— me AAAABQY="))[1] == (Signature("me", b"\0\0\0\5", b"\6"),)


def test_importing_is_cheap() -> None:
    code = "import sys; from cmc_mcp.merkle import checkpoint, log, proof, state; print('cryptography' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
