"""Import: finds files and the lines of JSONL files, and turns them into the arguments of `remember`.

Everything is checked before anything is written; what cannot be remembered is named with its reason. Documents whose
bytes the store already has are left alone, so that a second run goes on where an interrupted one stopped.
"""

from __future__ import annotations

import base64
import binascii
import errno
import fnmatch
import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from cmc_mcp.errors import InvalidInput, LimitExceeded, NotFound, Problem, SourceIncomplete
from cmc_mcp.limits import CONTENT_BYTES_MAX
from cmc_mcp.memory import Memory
from cmc_mcp.store.rows import BINARY
from cmc_mcp.write.atomize import language_of, media_type_of
from cmc_mcp.write.validate import RememberArguments, validate

CHUNK_ITEMS: Final = 64  # a transaction: small enough that Ctrl-C loses little, large enough to share one sync
CHUNK_BYTES: Final = 1 << 20
LINES_SUFFIXES: Final = frozenset({".jsonl", ".ndjson"})
IGNORED: Final = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
_CODE: Final = frozenset({"text/x-sh", "text/x-sql"})  # code without a grammar
_PROBLEMS_MAX: Final = 20
_NO_FILE: Final = "is not a regular file"


class Skipped(NamedTuple):
    """What was found and not imported, and why."""

    name: str
    reason: str


@dataclass(slots=True)
class FoundFiles:
    """What a walk found: documents as (path, origin), JSONL files, and what it left out."""

    documents: list[tuple[Path, str]] = field(default_factory=list)
    lines: list[tuple[Path, str]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    hidden: int = 0


# ---------------------------------------------------------------------- finding
def find(paths: Sequence[Path], *, exclude: Sequence[str] = (), hidden: bool = False, prefix: str = "") -> FoundFiles:
    """Find the files to import, in a fixed order.

    Raises:
        InvalidInput: a path does not exist or cannot be read, or two files would be one source.
    """
    missing = [Problem("paths", f"{path} does not exist") for path in paths if not os.path.exists(path)]  # noqa: PTH110
    if missing:
        raise InvalidInput.of(missing)
    found = FoundFiles()
    for path in paths:
        if path.is_dir():
            for file, place in _walk(path, path.resolve(), found, exclude, hidden):
                origin = prefix + place.relative_to(path).as_posix()
                (found.lines if _is_lines(file) else found.documents).append((file, origin))
        elif not path.is_file():
            found.skipped.append(Skipped(str(path), _NO_FILE))
        else:
            (found.lines if path.suffix.lower() in LINES_SUFFIXES else found.documents).append(
                (path.resolve() if path.is_symlink() else path, prefix + path.name)
            )
    _check_distinct(found.documents)
    return found


def _check_distinct(documents: Sequence[tuple[Path, str]]) -> None:
    """Refuse two files of one origin: the second would be a new version of the first, which would no longer be recalled.

    Raises:
        InvalidInput: there are such files; both are named.
    """
    first: dict[str, Path] = {}
    problems: list[Problem] = []
    for path, origin in documents:
        other = first.setdefault(origin, path)
        if other is not path and other.resolve() != path.resolve():
            problems.append(
                Problem(
                    "paths",
                    f"{other} and {path} would both be the source {origin}, and only the second be recalled; import the "
                    "folder that holds both, or import them one by one, each with a --prefix of its own",
                )
            )
    if problems:
        raise InvalidInput.of(problems)


def _walk(
    folder: Path, root: Path, found: FoundFiles, exclude: Sequence[str], hidden: bool
) -> Iterator[tuple[Path, Path]]:
    """Return the files as (path to read, path where it was found)."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        found.skipped.append(Skipped(str(folder), f"cannot be read ({error.strerror})"))
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name in IGNORED or any(fnmatch.fnmatch(entry.name, pattern) for pattern in exclude):
            continue
        if entry.name.startswith(".") and not (hidden and entry.name not in (".git", ".hg", ".svn")):
            found.hidden += 1
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(path, root, found, exclude, hidden)
        elif entry.is_symlink() and not _stays_inside(path, root):
            found.skipped.append(Skipped(str(path), "is a link to a folder, or out of the folder given"))
        elif entry.is_symlink():
            yield path.resolve(), path  # so that what it becomes meanwhile is not followed
        elif entry.is_file():
            yield path, path
        else:
            found.skipped.append(Skipped(str(path), _NO_FILE))


def _stays_inside(path: Path, root: Path) -> bool:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return target.is_file() and target.is_relative_to(root)


def _opened(path: Path) -> BinaryIO:
    """Open what a walk found, as what it was then: a regular file, and no link.

    Raises:
        OSError: the file changed its type, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return os.fdopen(descriptor, "rb")


def _is_lines(path: Path) -> bool:
    """Return whether a file of a folder holds memories, line by line; other JSONL is a document like any."""
    if path.suffix.lower() not in LINES_SUFFIXES:
        return False
    try:
        with _opened(path) as file:
            first = json.loads(next((line for line in file if line.strip()), b"null"))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and isinstance(first.get("content", first.get("text")), str)


# ---------------------------------------------------------------------- documents
def document(path: Path, origin: str) -> RememberArguments | Skipped:
    """Read a file as the arguments of `remember`, or say why it cannot be one."""
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > CONTENT_BYTES_MAX:
                return Skipped(str(path), f"has {size:,} bytes, over the limit of {CONTENT_BYTES_MAX:,}")
            data = file.read(CONTENT_BYTES_MAX + 1)  # a file that grows meanwhile is refused below
    except OSError as error:
        return Skipped(str(path), f"cannot be read ({error.strerror})")
    media_type = media_type_of(origin, "text")
    modality = modality_of(media_type)
    arguments: RememberArguments = {"modality": modality, "source": origin}
    if modality in BINARY:
        arguments |= {"content": data, "media_type": media_type, "title": origin[-512:]}
    elif b"\0" in data:
        return Skipped(str(path), "is a binary file")
    else:
        try:
            arguments["content"] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            return Skipped(str(path), f"is not UTF-8 text (byte {error.start})")
    try:
        validate(arguments)
    except InvalidInput as error:
        return Skipped(str(path), error.message)
    return arguments


def modality_of(media_type: str) -> str:
    """Return the modality that files of a media type are.

    >>> [modality_of(t) for t in ("text/markdown", "text/x-python", "image/png", "image/svg+xml", "audio/wav")]
    ['text', 'code', 'image', 'text', 'audio']
    """
    kind = media_type.partition("/")[0]
    if kind in ("image", "audio") and not media_type.endswith("+xml"):
        return kind
    return "code" if language_of(media_type) or media_type in _CODE else "text"


def is_known(memory: Memory, arguments: RememberArguments) -> bool:
    """Return whether the present version of a document has these very bytes."""
    content = arguments.get("content", b"")
    data = content.encode() if isinstance(content, str) else content
    try:
        return memory.read_source(arguments.get("source") or "") == data
    except (NotFound, SourceIncomplete):
        return False


# ---------------------------------------------------------------------- lines
def count_lines(path: Path, origin: str) -> int:
    """Check every line of a JSONL file, and return how many hold something.

    Raises:
        InvalidInput: lines are wrong; the first twenty are named.
    """
    problems: list[Problem] = []
    count = 0
    for number, arguments in _read_lines(path, origin, problems):
        count += 1
        try:
            validate(arguments)
        except InvalidInput as error:
            problems += [Problem(f"{path}:{number}: {problem.path}", problem.message) for problem in error.problems]
        if len(problems) >= _PROBLEMS_MAX:
            break
    if problems:
        raise InvalidInput.of(problems[:_PROBLEMS_MAX])
    return count


def read_lines(path: Path, origin: str) -> Iterator[RememberArguments]:
    """Yield the arguments on each line of a file that `count_lines` has checked."""
    problems: list[Problem] = []
    for _, arguments in _read_lines(path, origin, problems):
        yield arguments
    if problems:
        raise InvalidInput.of(problems)


def _read_lines(path: Path, origin: str, problems: list[Problem]) -> Iterator[tuple[int, RememberArguments]]:
    seen: Counter[bytes] = Counter()
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    yield number, _arguments(line, origin, seen)
                except (ValueError, RecursionError) as error:
                    problems.append(
                        Problem(f"{path}:{number}", f"is not a JSON object with arguments of `remember`: {error}")
                    )
                    if len(problems) >= _PROBLEMS_MAX:
                        return
    except OSError as error:
        raise InvalidInput.at("paths", f"{path} cannot be read ({error.strerror})") from error


def _arguments(line: bytes, origin: str, seen: Counter[bytes]) -> RememberArguments:
    """Read one line.

    A turn without a time has nothing that tells it from the same words said again, so it gets an idempotency key from
    its file, its line's content and how often that came before: a second run of the import then adds nothing.
    """
    value = json.loads(line.decode("utf-8-sig"))
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}")
    if "text" in value and "content" not in value:  # as the evaluation sets write it
        value["content"] = value.pop("text")
    if value.get("modality") in BINARY and isinstance(value.get("content"), str):
        try:
            value["content"] = base64.b64decode(value["content"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"the content of an {value['modality']} is base64: {error}") from error
    if value.get("session") and not value.get("occurred_at") and not value.get("idempotency_key"):
        key = hashlib.sha256(line.strip()).digest()
        seen[key] += 1
        name = hashlib.sha256(b"%s\0%s\0%d" % (origin.encode(), key, seen[key])).hexdigest()
        value["idempotency_key"] = f"import:{name}"
    return cast("RememberArguments", value)  # `validate` checks names and types


# ---------------------------------------------------------------------- batches
@dataclass(slots=True)
class Totals:
    """What an import did."""

    items: int = 0
    added: int = 0
    known: int = 0
    unchanged: int = 0
    restored: int = 0
    retired: int = 0
    quarantined: int = 0
    pending: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    first: str | None = None
    last: str | None = None


class Importer:
    """Remembers in chunks, each of which is kept whole or not at all."""

    def __init__(self, memory: Memory, tags: dict[str, str] | None) -> None:
        self._memory, self._tags = memory, tags
        self.totals = Totals()
        self._chunk: list[RememberArguments] = []
        self._bytes = 0

    def document(self, path: Path, origin: str) -> None:
        """Add one file."""
        read = document(path, origin)
        if isinstance(read, Skipped):
            self.totals.skipped.append(read)
        elif self._tags is None and is_known(self._memory, read):
            self.totals.unchanged += 1
        else:
            self.add(read)

    def add(self, arguments: RememberArguments) -> None:
        """Add one thing to remember; a full chunk is written."""
        if self._tags:
            arguments["tags"] = {**self._tags, **(arguments.get("tags") or {})}
        self._chunk.append(arguments)
        self._bytes += len(arguments.get("content", b""))
        if len(self._chunk) >= CHUNK_ITEMS or self._bytes >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the chunk."""
        chunk, self._chunk, self._bytes = self._chunk, [], 0
        if not chunk:
            return
        try:
            receipt = self._memory.remember_many(chunk)
        except LimitExceeded as error:  # a document of too many blocks, which only dividing it shows
            if len(chunk) > 1:
                for arguments in chunk:
                    self._chunk = [arguments]
                    self.flush()
                return
            self.totals.skipped.append(Skipped(chunk[0].get("source") or "a line", error.message))
            return
        totals = self.totals
        totals.items += len(chunk)
        totals.added += len(receipt.added)
        totals.known += len(receipt.reaffirmed)
        totals.restored += len(receipt.restored)
        totals.retired += len(receipt.retired)
        totals.quarantined += len(receipt.quarantined)
        totals.pending += receipt.pending
        totals.first = totals.first or receipt.snapshot.before
        totals.last = receipt.snapshot.after
