"""Where things are: the store, its objects, its keys; from arguments, then the environment, then a file."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cmc_mcp.canon import payload_hash
from cmc_mcp.config import Settings
from cmc_mcp.errors import InvalidInput, Problem, StoreError

PASSPHRASE_CHARS_MIN: Final = 16
SETTINGS_BYTES_MAX: Final = 1 << 20
KEY_DIGITS: Final = 64
EMBEDDERS: Final = ("bundled", "multilingual")
"""The models that run here, by name; the first is the default (`embed/names.py` makes them)."""
FILE_SETTINGS: Final = ("embedder", "matrix_bytes", "objects", "principal", "store", "workspace")
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
WORKSPACE: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,63}\Z")


@dataclass(frozen=True, slots=True, repr=False)
class Configuration:
    """Where the store is and as whom one speaks to it. The key never shows in a repr."""

    store: str
    workspace: str = "default"
    principal: str | None = None
    key: bytes | None = None
    settings: Settings = field(default_factory=Settings)
    objects: str | None = None
    embedder: str = EMBEDDERS[0]

    def __repr__(self) -> str:
        return f"Configuration({shown(self.store)!r}, workspace={self.workspace!r}, encrypted={self.key is not None})"


def shown(place: str) -> str:
    """Return the place of a store in a form that may be shown: a URL loses its password.

    >>> shown("postgresql://maya:secret@db.example.org/cmc?sslmode=require&password=secret")
    'postgresql://maya@db.example.org/cmc?sslmode=require'
    """
    if "://" not in place:
        return place
    scheme, _, rest = place.partition("://")
    front, mark, query = rest.partition("?")
    who, at, where = front.rpartition("@")
    kept = [pair for pair in query.split("&") if pair and not pair.lower().startswith(("password=", "sslpassword="))]
    return f"{scheme}://{who.partition(':')[0]}{at}{where}{mark if kept else ''}{'&'.join(kept)}"


def default_store() -> str:
    """Return the path of the default store, under the platform's data folder."""
    import platformdirs

    return str(Path(platformdirs.user_data_dir("cmc")) / "memory.db")


def configuration(
    *,
    store: str | None = None,
    workspace: str | None = None,
    principal: str | None = None,
    objects: str | None = None,
    matrix_bytes: str | None = None,
    embedder: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Configuration:
    """Resolve the configuration: arguments, then the environment, then a file.

    The variables are CMC_STORE, _WORKSPACE, _PRINCIPAL, _OBJECTS, _MATRIX_BYTES, _EMBEDDER and _KEY[_FILE]. The file is
    `cmc.toml` in the platform's configuration folder. The workspace `auto` becomes the enclosing repository's folder.

    Raises:
        InvalidInput: a value is malformed.
        StoreError: the file cannot be read.
    """
    import platformdirs

    env = os.environ if environment is None else environment
    from_file = _file(Path(env.get("CMC_CONFIG", Path(platformdirs.user_config_dir("cmc")) / "cmc.toml")))
    name = workspace or env.get("CMC_WORKSPACE") or from_file.get("workspace") or "default"
    if name == "auto":
        name = automatic_workspace(folder or Path.cwd())
    matrix = matrix_bytes or env.get("CMC_MATRIX_BYTES") or from_file.get("matrix_bytes")
    return Configuration(
        settings=Settings() if matrix is None else Settings(matrix_bytes_max=byte_count(matrix, "matrix_bytes")),
        store=store or env.get("CMC_STORE") or from_file.get("store") or default_store(),
        workspace=check_workspace(name),
        principal=principal or env.get("CMC_PRINCIPAL") or from_file.get("principal"),
        key=key_from(env),
        objects=objects or env.get("CMC_OBJECTS") or from_file.get("objects"),
        embedder=check_embedder(embedder or env.get("CMC_EMBEDDER") or from_file.get("embedder") or EMBEDDERS[0]),
    )


def byte_count(text: str, path: str) -> int:
    """Parse a number of bytes, such as 512M; K, M and G are powers of 1024.

    Raises:
        InvalidInput: the text is not a number of bytes.

    >>> byte_count("512M", "matrix_bytes"), byte_count("0", "matrix_bytes")
    (536870912, 0)
    """
    found = re.fullmatch(r"([0-9]{1,15})([KMG]?)", text.strip().upper())
    if found is None:
        raise InvalidInput.at(path, f"{text!r:.60} is not a number of bytes; write one such as 512M, 2G or 0")
    return int(found[1]) * _UNITS[found[2]]


def read_small(path: Path) -> str:
    """Read a file of settings or secrets, at most SETTINGS_BYTES_MAX; a pipe without a writer reads as empty.

    Raises:
        OSError: the file cannot be read, or is too large.
        UnicodeDecodeError: the file is not UTF-8 text.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # or a pipe would wait for a writer that never comes
    with os.fdopen(descriptor, "rb") as file:
        os.set_blocking(descriptor, True)
        data = file.read(SETTINGS_BYTES_MAX + 1)
    if len(data) > SETTINGS_BYTES_MAX:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data.decode("utf-8")


def _file(path: Path) -> dict[str, str]:
    import tomllib

    try:
        text = read_small(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"the configuration {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput.at(str(path), f"is not valid UTF-8 (byte {error.start})") from error
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput.at(str(path), f"is not valid TOML: {error}") from error
    problems = [
        Problem(f"{path}: {name}", f"is an unknown setting; use one of {', '.join(FILE_SETTINGS)}")
        for name in found
        if name not in FILE_SETTINGS
    ]
    problems += [
        Problem(f"{path}: {name}", "is not text; write the value in quotes")
        for name, value in found.items()
        if name in FILE_SETTINGS and not isinstance(value, str)
    ]
    if problems:
        raise InvalidInput.of(problems)
    return {name: str(value) for name, value in found.items()}


def key_from(env: Mapping[str, str], name: str = "CMC_KEY") -> bytes | None:
    """Read a key (32 bytes) from a variable, or from the file that the variable with `_FILE` names; None without both.

    Raises:
        StoreError: the file cannot be read.
        InvalidInput: the text is not a key.
    """
    text, path = env.get(name), env.get(f"{name}_FILE")
    if text:
        return parse_key(text, name)
    if not path:
        return None
    try:
        return parse_key(read_small(Path(path)).strip(), path)
    except OSError as error:
        raise StoreError(f"the key file {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput.at(path, "is not text: put 64 hex digits, or a passphrase, into the key file") from error


def parse_key(text: str, path: str = "CMC_KEY") -> bytes:
    """Turn 64 hex digits, or a passphrase of at least 16 characters, into a key (32 bytes).

    A passphrase goes through scrypt, so that guessing costs memory and time. White space around hex digits is ignored;
    in a passphrase it counts.

    Raises:
        InvalidInput: the passphrase is too short, or looks like a key with hex digits missing or to spare.
    """
    digits = text.strip()
    if re.fullmatch(r"[0-9a-fA-F]{60,68}", digits):
        if len(digits) != KEY_DIGITS:
            raise InvalidInput.at(path, f"has {len(digits)} hex digits; a key has {KEY_DIGITS}")
        return bytes.fromhex(digits)
    if len(text) < PASSPHRASE_CHARS_MIN:
        raise InvalidInput.at(
            path, f"is too short; use 64 hex digits, or a passphrase of {PASSPHRASE_CHARS_MIN} characters or more"
        )
    # the salt is fixed: the file has a random salt of its own, from which the database derives the page key
    return hashlib.scrypt(
        text.encode("utf-8", "surrogateescape"), salt=b"cmc/passphrase/1", n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=32
    )


def check_embedder(name: str) -> str:
    """Return the name of a model that runs here after checking it.

    Raises:
        InvalidInput: no model has the name.
    """
    if name not in EMBEDDERS:
        raise InvalidInput.at("embedder", f"{name!r:.40} is unknown; use one of {', '.join(EMBEDDERS)}")
    return name


def check_workspace(name: str) -> str:
    """Return a workspace's name after checking it.

    Raises:
        InvalidInput: the name does not match `[a-z0-9][a-z0-9._:-]{0,63}`.

    >>> check_workspace("acme:prod")
    'acme:prod'
    """
    if not WORKSPACE.match(name):
        raise InvalidInput.at(
            "workspace", f"{name!r:.80} is not a workspace name; use at most 64 lower-case letters, digits and . _ : -"
        )
    return name


def automatic_workspace(folder: Path) -> str:
    """Return a workspace name made of the enclosing repository's folder and a hash of its path, so that no two share one."""
    root = next((f for f in (folder, *folder.parents) if (f / ".git").exists()), folder).resolve()
    base = re.sub(r"[^a-z0-9._-]+", "-", root.name.lower()).strip("-._") or "project"
    return f"{base[:48]}-{payload_hash(str(root).encode()).hex()[:8]}"


def signing_key(environment: Mapping[str, str] | None = None) -> bytes:
    """Read the key that signs checkpoints (32 bytes), making it on first use.

    The key lives outside the store, in CMC_SIGNING_KEY_FILE or the platform's configuration folder, with mode 0600:
    whoever can rewrite the store should not find the key beside it.

    Raises:
        StoreError: the file cannot be read or made.
        InvalidInput: the text is not a key.
    """
    import platformdirs

    env = os.environ if environment is None else environment
    path = Path(env.get("CMC_SIGNING_KEY_FILE", Path(platformdirs.user_config_dir("cmc")) / "signing.key"))
    try:
        if not path.exists():
            _make_secret(path, secrets.token_hex(32) + "\n")
        text = read_small(path).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the signing key {path} cannot be read or made ({error})") from error
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise InvalidInput.at(str(path), "is not a signing key; put 64 hex digits into the file")
    return bytes.fromhex(text)


def _make_secret(path: Path, text: str) -> None:
    """Write a file of mode 0600 that appears whole, unless another process made the file first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink()
