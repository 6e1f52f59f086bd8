"""Settings: frozen values, from arguments, then the environment, then a file."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import platformdirs

from cmc_mcp import limits
from cmc_mcp.canon import canonical, payload_hash
from cmc_mcp.errors import InvalidInput, Problem, StoreError

PIPELINE_VERSION: Final = "cmc-recall/1"
PASSPHRASE_CHARS_MIN: Final = 16
FILE_SETTINGS: Final = ("principal", "store", "workspace")
WORKSPACE: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every constant of the pipelines that one may set. Defaults are the measured ones (`spec/cmc.md`)."""

    inline_bytes: int = limits.INLINE_BYTES
    matrix_bytes_max: int = limits.MATRIX_BYTES_MAX
    dense_candidates: int = 50
    lexical_candidates: int = 1_000  # passages that are scored, unless the rarest term alone has more
    frequent_min: int = 1_024  # a term in fewer passages than this is never frequent
    frequent_max: int = 2_048  # one in more, and in a 200th of the passages, always is
    terms_max: int = 32
    lexical_share_text: float = 0.5
    lexical_share_dialogue: float = 0.55
    lexical_share_code: float = 0.3
    lexical_ideal_min: float = 0.4  # BM25 is divided by its best, or by this share of a perfect match if that is more
    heading_weight: float = 0.6
    bm25_k1: float = 1.2
    bm25_b: float = 0.75
    rs_weight: float = 0.0  # λ of spec/cmc.md §3, until evidence says otherwise
    dedupe: bool = True
    reconcile: bool = True

    @property
    def digest(self) -> str:
        """A short hash over what moves an answer, the pipeline's version included (12 hex digits)."""
        return _digest(self)


@lru_cache(maxsize=64)
def _digest(settings: Settings) -> str:
    moving = {f.name: repr(getattr(settings, f.name)) for f in fields(settings) if f.name != "matrix_bytes_max"}
    return payload_hash(canonical({"version": PIPELINE_VERSION, **moving})).hex()[:12]


@dataclass(frozen=True, slots=True, repr=False)
class Configuration:
    """Where the store is and as whom one speaks to it. The key never shows in a repr."""

    store: str
    workspace: str = "default"
    principal: str | None = None
    key: bytes | None = None
    settings: Settings = Settings()

    def __repr__(self) -> str:
        return f"Configuration({self.store!r}, workspace={self.workspace!r}, encrypted={self.key is not None})"


def default_store() -> str:
    """Give the path of the default store, under the platform's data folder."""
    return str(Path(platformdirs.user_data_dir("cmc")) / "memory.db")


def configuration(
    *,
    store: str | None = None,
    workspace: str | None = None,
    principal: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Configuration:
    """Resolve the configuration: arguments, then CMC_STORE, CMC_WORKSPACE, CMC_PRINCIPAL, CMC_KEY[_FILE], then a file.

    The file is `cmc.toml` in the platform's configuration folder. The workspace `auto` becomes the enclosing
    repository's folder.

    Raises:
        InvalidInput: a value is malformed; StoreError: the file cannot be read.
    """
    env = os.environ if environment is None else environment
    from_file = _file(Path(env.get("CMC_CONFIG", Path(platformdirs.user_config_dir("cmc")) / "cmc.toml")))
    name = workspace or env.get("CMC_WORKSPACE") or from_file.get("workspace") or "default"
    if name == "auto":
        name = automatic_workspace(folder or Path.cwd())
    return Configuration(
        store=store or env.get("CMC_STORE") or from_file.get("store") or default_store(),
        workspace=check_workspace(name),
        principal=principal or env.get("CMC_PRINCIPAL") or from_file.get("principal"),
        key=_key(env),
    )


def _file(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
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
        Problem(f"{path}: {name}", f"is no setting; settings are {', '.join(FILE_SETTINGS)}")
        for name in found
        if name not in FILE_SETTINGS
    ]
    problems += [
        Problem(f"{path}: {name}", "is no text; write it in quotes")
        for name, value in found.items()
        if name in FILE_SETTINGS and not isinstance(value, str)
    ]
    if problems:
        raise InvalidInput.of(problems)
    return {name: str(value) for name, value in found.items()}


def _key(env: Mapping[str, str]) -> bytes | None:
    """Read the key of the file: CMC_KEY (64 hex digits, or a passphrase of 16 characters or more) or CMC_KEY_FILE."""
    text, path = env.get("CMC_KEY"), env.get("CMC_KEY_FILE")
    if text:
        return parse_key(text)
    if not path:
        return None
    try:
        return parse_key(Path(path).read_text(encoding="utf-8").strip(), path)
    except OSError as error:
        raise StoreError(f"the key file {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput.at(path, "is not text: put 64 hex digits, or a passphrase, into the key file") from error


def parse_key(text: str, path: str = "CMC_KEY") -> bytes:
    """Turn 64 hex digits, or a passphrase of at least 16 characters, into a key (32 bytes).

    A passphrase goes through scrypt, so that guessing it costs memory and time.

    Raises:
        InvalidInput: the passphrase is too short.
    """
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    if len(text) < PASSPHRASE_CHARS_MIN:
        raise InvalidInput.at(
            path, f"is too short: give 64 hex digits, or a passphrase of {PASSPHRASE_CHARS_MIN} characters or more"
        )
    # the salt is fixed: the file has a random one of its own, which the database derives the page key with
    return hashlib.scrypt(
        text.encode("utf-8", "surrogateescape"), salt=b"cmc/passphrase/1", n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=32
    )


def check_workspace(name: str) -> str:
    """Check a workspace's name.

    Raises:
        InvalidInput: not `[a-z0-9][a-z0-9._:-]{0,63}`.

    >>> check_workspace("acme:prod")
    'acme:prod'
    """
    if not WORKSPACE.match(name):
        raise InvalidInput.at(
            "workspace", f"{name!r:.80} is no workspace name: lower-case letters, digits and . _ : -, at most 64"
        )
    return name


def automatic_workspace(folder: Path) -> str:
    """Name a workspace after the enclosing repository's folder, with a hash of its path so that two never share."""
    root = next((f for f in (folder, *folder.parents) if (f / ".git").exists()), folder).resolve()
    base = re.sub(r"[^a-z0-9._-]+", "-", root.name.lower()).strip("-._") or "project"
    return f"{base[:48]}-{payload_hash(str(root).encode()).hex()[:8]}"


def with_settings(base: Settings, **changes: object) -> Settings:
    """Change settings by name.

    Raises:
        InvalidInput: there is no such setting.
    """
    known = {f.name for f in fields(Settings)}
    if unknown := sorted(set(changes) - known):
        raise InvalidInput.at(unknown[0], f"is no setting; settings are {', '.join(sorted(known))}")
    return replace(base, **changes)  # type: ignore[arg-type]  # the names were checked, values are the caller's


def signing_key(environment: Mapping[str, str] | None = None) -> bytes:
    """Read the key that signs checkpoints (32 bytes), making it on first use.

    It lives outside the store, in CMC_SIGNING_KEY_FILE or the platform's configuration folder, with mode 0600: whoever
    can rewrite the store should not find the key beside it.

    Raises:
        StoreError: the file cannot be read or made; InvalidInput: it is no key.
    """
    env = os.environ if environment is None else environment
    path = Path(env.get("CMC_SIGNING_KEY_FILE", Path(platformdirs.user_config_dir("cmc")) / "signing.key"))
    try:
        if not path.exists():
            _make_secret(path, secrets.token_hex(32) + "\n")
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the signing key {path} cannot be read or made ({error})") from error
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise InvalidInput.at(str(path), "is no signing key: 64 hex digits")
    return bytes.fromhex(text)


def _make_secret(path: Path, text: str) -> None:
    """Write a file of mode 0600 that appears whole, or leave the one that somebody else made first."""
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
