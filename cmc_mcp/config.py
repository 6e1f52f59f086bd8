"""Settings: frozen values, from arguments, then the environment, then a file."""

from __future__ import annotations

import errno
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

PIPELINE_VERSION: Final = "cmc-recall/3"
PASSPHRASE_CHARS_MIN: Final = 16
SETTINGS_BYTES_MAX: Final = 1 << 20
KEY_DIGITS: Final = 64
FILE_SETTINGS: Final = ("matrix_bytes", "objects", "principal", "store", "workspace")
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
WORKSPACE: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Quality:
    """The constants of the scores beside the match (`spec/cmc.md` §3); `read/quality.py` uses them."""

    confidence_share: float = 0.4
    recency_share: float = 0.3
    authority_share: float = 0.3
    band_a: float = 1.0
    band_b: float = 0.7
    band_c: float = 0.4
    confidence_unknown: float = 0.5
    recency_s: float = 604_800.0  # the age at which recency is a half
    authority_verified: float = 1.0
    authority_official: float = 0.9
    authority_other: float = 0.7
    level_weight: float = 0.8
    link_weight: float = 0.6
    coverage_weight: float = 0.4
    dangling_weight: float = 0.9
    links_full: int = 8  # as many links as this are a density of 1
    conflict_weight: float = 0.5
    stale_weight: float = 0.2
    contradiction_min: float = 0.7  # DD of a hard contradiction
    dissonance_max: float = 0.99  # nothing becomes unreachable
    floor: float = 0.05  # of RS and of decay, before the logarithm


@dataclass(frozen=True, slots=True)
class Compress:
    """The constants of shortening (`spec/cmc.md` §8); `read/compress.py` and `read/fit.py` use them."""

    passage_tokens: int = 200  # a text of no more is never shortened, whatever the budget
    days: tuple[int, int, int] = (7, 30, 90)  # the ages where less is kept
    days_important: tuple[int, int, int] = (21, 75, 180)
    important: float = 0.85  # the priority from which the second ages hold
    shares: tuple[float, float, float, float] = (1.0, 0.7, 0.4, 0.15)
    match: float = 0.8  # how much the question's words count against centrality


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one kind of passage in its score; `read/rank.py` defines each."""

    lexical: float = 0.5  # the share of words; the rest is meaning
    context: float = 0.0  # of a neighbour's words, as a share of one's own
    pool: float = 0.0  # of what the best of the same source or session reach
    named: float = 0.0  # spoken by somebody the question names
    question: float = 0.0  # taken off a question, as long as it is short
    length: float = 0.0  # taken off a short one
    own: float = 0.0  # taken off what does not speak of oneself
    assistant: float = 0.0  # taken off what a model said
    heading: float = 0.0  # taken off a bare heading
    years: float = 0.0  # names a year the question asks about
    month: float = 0.0  # said in a month the question names
    phrase: float = 0.0  # holds pairs of the question's words


@dataclass(frozen=True, slots=True)
class Physics:
    """The constants of DVNS (`docs/dvns.md`). Distances are in radii of the wall, stiffnesses in that of its spring."""

    gravity: float = 1.0  # pull of the query on a match of 1
    spring: float = 2.0  # stiffness of a link of weight 1
    rest_length: float = 0.0  # linked candidates this near each other do not pull
    sibling: float = 0.5  # weight of the links of one group, shared by its members
    following: float = 0.025  # weight of the link from one piece of a document to the next
    parent: float = 1.0  # weight of the link from a section to what it holds
    repulsion: float = 0.3  # stiffness between identical candidates
    reach: float = 0.05  # near-duplicates this far apart do not push
    duplicate_line: float = 0.88  # the cosine from which two are near-duplicates (`spec/cmc.md` §6)
    steps_max: int = 200


@dataclass(frozen=True, slots=True)
class Slots:
    """The constants that decide whether a statement supersedes another; chosen on open splits of `beam_update` and `beam`."""

    bar: float = 0.425  # of the score of a pair; from .4 to .5 little changes
    depth: int = 5  # of the first statements both must be among
    chars_max: int = 1_500  # a longer text holds many values, and not one statement
    shared_words: float = 0.5  # of the shorter, where no speaker says that both are one person's


@dataclass(frozen=True, slots=True)
class Settings:
    """Every constant of the pipelines that a caller may set. The defaults were measured (`spec/cmc.md`)."""

    inline_bytes: int = limits.INLINE_BYTES
    matrix_bytes_max: int = limits.MATRIX_BYTES_MAX
    dense_candidates: int = 50
    lexical_candidates: int = 1_000  # passages that are scored, unless the rarest term alone has more
    frequent_min: int = 1_024  # a term in fewer passages than this is never frequent
    frequent_max: int = 2_048  # one in more, and in a 200th of the passages, always is
    terms_max: int = 32
    note: Weights = Weights(years=0.3, phrase=0.4)
    document: Weights = Weights(context=0.3, pool=0.4, heading=0.4, years=0.3, phrase=0.4)
    turn: Weights = Weights(
        context=0.4, pool=0.4, named=0.2, question=0.15, length=0.3, own=0.1, years=0.1, month=0.1, phrase=0.4
    )
    chat: Weights = Weights(lexical=0.3, pool=0.4, assistant=0.35, years=0.1, month=0.1, phrase=0.3)
    code: Weights = Weights(lexical=0.2)
    mask_names: bool = True  # embed a question without the speakers it names
    function_words: bool = False  # search with a question's function words too
    context_tokens: int = 60  # of a longer passage, neighbours and being a question count proportionally less
    context_far: float = 0.5  # of the neighbours' neighbours, as a share of the neighbours
    pool_depth: int = 200  # candidates that are pooled by source or session
    phrase_depth: int = 20  # candidates whose text is read for phrases
    node_weight: float = 0.1  # for what stands below the nearest sections, files and classes
    node_candidates: int = 8  # of those that are looked into
    node_decay: float = 0.9  # a level between such a node and a passage
    node_passages_max: int = 20  # a node with more says too little of each
    linked: float = 0.2  # for what the first candidates are linked to: premises, what rests on them, other wordings
    linked_depth: int = 5  # candidates, by meaning and by words, whose links are followed
    lexical_ideal_min: float = 0.4  # BM25 is divided by its best, or by this share of a perfect match if that is more
    heading_weight: float = 0.6
    bm25_k1: float = 0.9
    bm25_b: float = 0.4
    rs_weight: float = 0.0  # λ of spec/cmc.md §3, until evidence says otherwise
    decay_weight: float = 0.0  # the same for the decay of spec/cmc.md §2
    quality: Quality = Quality()
    dvns: bool = False  # beside the pool of sessions it lifts no set for sure: `docs/recall.md`
    physics: Physics = Physics()
    navigate_depth: int = 50  # the first candidates that quality, decay and DVNS order
    slots: Slots = Slots()
    supersede: bool = True  # pair statements of one slot, the newer before the older
    dedupe: bool = True
    reconcile: bool = True
    compress: Compress = Compress()
    both_ends: bool = False  # the strongest at both ends of an answer, in place of the strongest first
    near_dedupe: bool = True  # what says the same in other words, among what is about to be shown
    near_cosine: float = 0.88
    near_far: float = 0.4  # texts whose vectors are farther apart are no duplicates, whatever their words
    near_jaccard: float = 0.8  # over shingles of three words
    near_cosine_chars: int = 1_000  # of a longer text the model sees a part
    near_firm_cost: float = 0.1  # of the duplicate score, for a number, a date or a negation that differs
    near_name_cost: float = 0.02  # for a name or a value that differs
    near_window: int = 12  # groups that are formed at once: a page, and whether there is more
    near_window_max: int = 256  # candidates that are compared at once
    stands_relevance: float = 0.6  # of who stands for a group
    stands_recency: float = 0.2
    stands_authority: float = 0.2
    wins_relevance: float = 0.5  # of who wins a conflict of equal times
    wins_recency: float = 0.2
    wins_authority: float = 0.3
    possible_conflicts: bool = True  # marks of what may disagree by its words
    possible_min: float = 0.6  # of the score from which it is said
    possible_cosine: float = 0.4  # below it two texts are not compared
    possible_cosine_value: float = 0.7  # the same where no negation says that they disagree
    possible_denied_share: float = 0.75

    @property
    def digest(self) -> str:
        """A short hash over every setting that changes an answer, and the pipeline's version (12 hex digits)."""
        return _digest(self)


@lru_cache(maxsize=64)
def _digest(settings: Settings) -> str:
    moving = {f.name: repr(getattr(settings, f.name)) for f in fields(settings) if f.name != "matrix_bytes_max"}
    return payload_hash(canonical({"version": PIPELINE_VERSION, **moving})).hex()[:12]


@dataclass(frozen=True, slots=True, repr=False)
class Configuration:
    """The place of the store, and the principal who uses it. The key never appears in a repr."""

    store: str
    workspace: str = "default"
    principal: str | None = None
    key: bytes | None = None
    settings: Settings = Settings()
    objects: str | None = None

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
    return str(Path(platformdirs.user_data_dir("cmc")) / "memory.db")


def configuration(
    *,
    store: str | None = None,
    workspace: str | None = None,
    principal: str | None = None,
    objects: str | None = None,
    matrix_bytes: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Configuration:
    """Resolve the configuration: arguments, then the environment, then a file.

    The variables are CMC_STORE, _WORKSPACE, _PRINCIPAL, _OBJECTS, _MATRIX_BYTES and _KEY[_FILE]. The file is `cmc.toml`
    in the platform's configuration folder. The workspace `auto` becomes the enclosing repository's folder.

    Raises:
        InvalidInput: a value is malformed.
        StoreError: the file cannot be read.
    """
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


def with_settings(base: Settings, **changes: object) -> Settings:
    """Return the settings with some changed by name.

    Raises:
        InvalidInput: a name is not that of a setting.
    """
    known = {f.name for f in fields(Settings)}
    if unknown := sorted(set(changes) - known):
        raise InvalidInput.at(unknown[0], f"is an unknown setting; use one of {', '.join(sorted(known))}")
    return replace(base, **changes)  # type: ignore[arg-type]  # the names were checked, values are the caller's


def signing_key(environment: Mapping[str, str] | None = None) -> bytes:
    """Read the key that signs checkpoints (32 bytes), making it on first use.

    The key lives outside the store, in CMC_SIGNING_KEY_FILE or the platform's configuration folder, with mode 0600:
    whoever can rewrite the store should not find the key beside it.

    Raises:
        StoreError: the file cannot be read or made.
        InvalidInput: the text is not a key.
    """
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
