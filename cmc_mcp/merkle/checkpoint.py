"""A checkpoint: all roots of a workspace in one signed text, to be kept outside the store.

The text is a C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint) with three extension lines, in a C2SP signed note
(https://c2sp.org/signed-note)::

    cmc.example/work                                the origin
    42                                              leaves in the log, decimal
    4vTQFA0h8Nk5vX0hxJdKZ0Iy0Q1YqTWkxJ8mZ0hVxYc=    log root, base64
    state 5f0c…                                     state root, hex
    control 9a41…                                   control root, hex
    time 1767225600000000                           when recorded, µs since 1970 UTC
                                                    (blank)
    — cmc.example/work Az3grl…                      key id (4 bytes) and Ed25519 signature, base64; one line a signature

The signature covers the UTF-8 bytes up to and including the newline before the blank line. Each checkpoint has exactly
one text, and the parser accepts only that text. The key id helps other verifiers to choose a key; this module ignores it.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar

from cmc_mcp.canon import HASH_BYTES
from cmc_mcp.errors import InvalidInput, Problem, ProofError
from cmc_mcp.limits import ORIGIN_CHARS_MAX, TIME_US_MAX, TIME_US_MIN
from cmc_mcp.merkle.proof import SIZE_MAX

TEXT_CHARS_MAX: Final = 65_536
SIGNATURES_MAX: Final = 100
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_KEY_ID_BYTES: Final = 4
_ED25519: Final = b"\x01"
_BODY_LINES: Final = 6

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The signed statement: the log's origin, its size in leaves, three roots (32 bytes each), the time in µs UTC."""

    origin: str
    size: int
    log_root: bytes
    state_root: bytes
    control_root: bytes
    recorded_us: int


class Signature(NamedTuple):
    """A signature line: the signer's name, a hint at which of the signer's keys was used, and the signature."""

    name: str
    key_id: bytes
    signature: bytes


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """Write a checkpoint as the text that is signed: six lines, each with its newline.

    Raises:
        InvalidInput: a field cannot stand in a checkpoint; the error lists every such field.

    >>> print(format_checkpoint(Checkpoint("example", 0, bytes(32), bytes(32), bytes(32), 0)).splitlines()[1:3])
    ['0', 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=']
    """
    problems = [Problem("origin", "must be one line of text")] if not _is_origin(checkpoint.origin) else []
    if not 0 <= checkpoint.size <= SIZE_MAX:
        problems.append(Problem("size", "must be a count of leaves"))
    roots = {"log": checkpoint.log_root, "state": checkpoint.state_root, "control": checkpoint.control_root}
    problems += [Problem(f"{k}_root", f"must be {HASH_BYTES} bytes") for k, v in roots.items() if len(v) != HASH_BYTES]
    if not TIME_US_MIN <= checkpoint.recorded_us <= TIME_US_MAX:
        problems.append(Problem("recorded_us", "must be a time of the years 1 to 9999, in microseconds"))
    if problems:
        raise InvalidInput.of(problems)
    return (
        f"{checkpoint.origin}\n{checkpoint.size}\n{b64encode(checkpoint.log_root).decode()}\n"
        f"state {checkpoint.state_root.hex()}\ncontrol {checkpoint.control_root.hex()}\ntime {checkpoint.recorded_us}\n"
    )


def parse_checkpoint(text: str) -> tuple[Checkpoint, tuple[Signature, ...]]:
    """Parse a checkpoint, signed or not, without verifying any signature; trust only `verify_checkpoint`.

    A signature by another algorithm (a witness's, say) is returned unchanged.

    Raises:
        ProofError: the text differs from what `format_checkpoint` and `sign` write; `line` is the bad line, from 1.

    >>> checkpoint = Checkpoint("example", 0, bytes(32), bytes(32), bytes(32), 0)
    >>> parse_checkpoint(format_checkpoint(checkpoint)) == (checkpoint, ())
    True
    """
    lines = _lines(text)
    if len(lines) < _BODY_LINES:
        raise ProofError(f"a checkpoint has {_BODY_LINES} lines, this one {len(lines)}", line=len(lines) + 1)
    checkpoint = Checkpoint(
        origin=_line(lines, 1, "an origin", _parse_origin),
        size=_line(lines, 2, "a size", lambda line: _parse_int(line, 0, SIZE_MAX)),
        log_root=_line(lines, 3, "a log root", _parse_base64_hash),
        state_root=_line(lines, 4, "a state root", lambda line: _parse_hex_hash(line, "state ")),
        control_root=_line(lines, 5, "a control root", lambda line: _parse_hex_hash(line, "control ")),
        recorded_us=_line(lines, 6, "a time", _parse_time),
    )
    if len(lines) == _BODY_LINES:
        return checkpoint, ()
    _line(lines, 7, "the blank line before the signatures", lambda line: None if line else "")
    numbers = range(_BODY_LINES + 2, len(lines) + 1)
    if not 1 <= len(numbers) <= SIGNATURES_MAX:
        raise ProofError(f"a checkpoint has 1 to {SIGNATURES_MAX} signatures, this one {len(numbers)}", line=7)
    return checkpoint, tuple(_line(lines, number, "a signature", _parse_signature) for number in numbers)


def sign(checkpoint: Checkpoint, private_key: bytes, name: str) -> str:
    """Write a checkpoint with a signature by the key (a seed of 32 bytes) of the signer called `name`.

    Raises:
        InvalidInput: a field cannot stand in a checkpoint, the name has a space or a plus, or the key is not a seed.

    >>> checkpoint = Checkpoint("example", 0, bytes(32), bytes(32), bytes(32), 0)
    >>> verify_checkpoint(sign(checkpoint, bytes(32), "me"), public_key(bytes(32))) == checkpoint
    True
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    body = format_checkpoint(checkpoint)
    if not _is_name(name):
        raise InvalidInput.at("name", "must be a name without spaces, plus signs and control characters")
    _check_seed("private_key", private_key)
    signature = Ed25519PrivateKey.from_private_bytes(private_key).sign(body.encode())
    line = b64encode(key_id(name, public_key(private_key)) + signature).decode()
    return f"{body}\n— {name} {line}\n"


def verify_checkpoint(text: str, public_key: bytes, *, origin: str | None = None) -> Checkpoint:
    """Verify that a text is a checkpoint signed by the key (32 bytes) and return it.

    One signature by the key is enough; signatures by other keys are skipped. With `origin`, the checkpoint must be of that
    log.

    Raises:
        ProofError: no signature is by the key, the text was altered, the origin differs, or the text or the key is
            malformed.

    >>> checkpoint = Checkpoint("example", 0, bytes(32), bytes(32), bytes(32), 0)
    >>> verify_checkpoint(format_checkpoint(checkpoint), public_key(bytes(32)))
    Traceback (most recent call last):
    cmc_mcp.errors.ProofError: the checkpoint has no signature by this key
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    checkpoint, signatures = parse_checkpoint(text)
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ProofError(f"the public key is not an Ed25519 key of {KEY_BYTES} bytes") from error
    body = format_checkpoint(checkpoint).encode()
    for one in signatures:
        try:
            key.verify(one.signature, body)
        except InvalidSignature:
            continue
        if origin is not None and checkpoint.origin != origin:
            raise ProofError("the checkpoint is of another log", expected=origin, origin=checkpoint.origin)
        return checkpoint
    raise ProofError("the checkpoint has no signature by this key")


def generate_key() -> bytes:
    """Generate a new private key: an Ed25519 seed of 32 bytes from the system's random source (RFC 8032 §5.1.5).

    >>> len(generate_key())
    32
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes_raw()


def public_key(seed: bytes) -> bytes:
    """Return the public key (32 bytes) of a private key (RFC 8032 §5.1.5).

    Raises:
        InvalidInput: the seed is not 32 bytes.

    >>> public_key(bytes(32)).hex()[:8]
    '3b6a27bc'
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    _check_seed("seed", seed)
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def key_id(name: str, public_key: bytes) -> bytes:
    """Return the hint (4 bytes) by which a signature line names a signer's Ed25519 key (C2SP signed-note).

    >>> len(key_id("example", bytes(32)))
    4
    """
    return sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_BYTES]


def _lines(text: object) -> list[str]:
    if not isinstance(text, str):
        raise ProofError("the checkpoint is not text")
    if len(text) > TEXT_CHARS_MAX:
        raise ProofError(f"the checkpoint is over {TEXT_CHARS_MAX:,} characters")
    *lines, rest = text.split("\n")
    if rest or not lines:
        raise ProofError("the checkpoint does not end with a newline", line=len(lines) + 1)
    return lines


def _line(lines: list[str], number: int, what: str, parse: Callable[[str], T | None]) -> T:
    """Parse line `number`, counted from 1, with a function that returns None for a line that it rejects."""
    value = parse(lines[number - 1])
    if value is None:
        raise ProofError(f"line {number} of the checkpoint is not {what}", line=number)
    return value


def _parse_origin(line: str) -> str | None:
    return line if _is_origin(line) else None


def _parse_int(line: str, low: int, high: int) -> int | None:
    # only digits as `str` writes them: no sign, space, underscore, leading zero or digit of another script
    if len(line) > 20 or not line.isascii() or not line.removeprefix("-").isdigit():
        return None
    value = int(line)
    return value if str(value) == line and low <= value <= high else None


def _parse_time(line: str) -> int | None:
    return _parse_int(line[5:], TIME_US_MIN, TIME_US_MAX) if line.startswith("time ") else None


def _parse_hex_hash(line: str, prefix: str) -> bytes | None:
    digits = line.removeprefix(prefix)
    if line != prefix + digits or len(digits) != 2 * HASH_BYTES or not set(digits) <= set("0123456789abcdef"):
        return None
    return bytes.fromhex(digits)


def _parse_base64(text: str) -> bytes | None:
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if b64encode(data).decode() == text else None  # else unused bits are set


def _parse_base64_hash(line: str) -> bytes | None:
    data = _parse_base64(line)
    return data if data is not None and len(data) == HASH_BYTES else None


def _parse_signature(line: str) -> Signature | None:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    data = _parse_base64(encoded)
    if mark != "—" or not _is_name(name) or data is None or len(data) <= _KEY_ID_BYTES:
        return None
    return Signature(name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


def _is_origin(text: str) -> bool:
    return 0 < len(text) <= ORIGIN_CHARS_MAX and _is_note_text(text)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= ORIGIN_CHARS_MAX and _is_note_text(text) and "+" not in text and text.split() == [text]


def _is_note_text(text: str) -> bool:
    """Return whether text can stand in a line of a signed note: valid UTF-8 without ASCII control characters."""
    return not any(char < " " or "\ud800" <= char <= "\udfff" for char in text)


def _check_seed(path: str, seed: bytes) -> None:
    if len(seed) != KEY_BYTES:
        raise InvalidInput.at(path, f"must be a seed of {KEY_BYTES} bytes")
