"""Doctor: checks everything, and says what to do about each finding. The doctor changes nothing."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cmc_mcp import __version__
from cmc_mcp.cli.holder import holder_of
from cmc_mcp.cli.origins import origins_of
from cmc_mcp.cli.session import Session, path_of
from cmc_mcp.environment import EMBEDDERS, shown
from cmc_mcp.errors import CmcError, FutureStore, IntegrityError, NotFound, WrongKey
from cmc_mcp.memory import Memory
from cmc_mcp.model.calibration import ECE_ADVISED, Calibration, tempered
from cmc_mcp.model.calls import Progress
from cmc_mcp.model.results import Result
from cmc_mcp.model.witness import NO_MODEL
from cmc_mcp.store.sqlite.connection import prepare_folder

if TYPE_CHECKING:
    from cmc_mcp.environment import Configuration

_FREE_BYTES_MIN: Final = 256 * 1024 * 1024
_WAL_BYTES_MAX: Final = 256 * 1024 * 1024
_SKEW_MS_MAX: Final = 2_000
_JUDGED_MIN: Final = 30  # judgements of a writer below which a calibration is mostly chance
_PACKAGES: Final = (
    "mcp",
    "apsw-sqlite3mc",
    "sqlite-vec",
    "onnxruntime",
    "tokenizers",
    "tiktoken",
    "numpy",
    "tree-sitter",
)
_PROBES: Final = (
    "The release goes to the servers in Frankfurt.",
    "New versions are shipped to machines in Germany.",
    "My grandmother bakes a cake with plums.",
)


class Finding(Result):
    """What one probe found, and what to do about it."""

    check: str
    state: Literal["ok", "note", "fault"]
    says: str
    do: str | None = None


class Examination(Result):
    """The answer of `doctor`."""

    healthy: bool
    findings: list[Finding]


def examine(session: Session, *, deep: bool, quick: bool, progress: Progress) -> Examination:
    """Run every probe; a probe that fails is a finding, never an error."""
    findings = [_versions()]
    try:
        asked = session.configuration()
        findings += _settings(session, asked)
        findings += _key_file(os.environ.get("CMC_KEY_FILE"))
    except CmcError as error:
        findings.append(_fault("settings", error.message, "correct the option, the environment variable or the file"))
        return _sum(findings)
    findings += [
        _model(asked.embedder) if session.model else _note("model", "left out (--no-model)", None),
        _tokenizer(),
        _round_trip(),
    ]
    path = path_of(asked)
    if path is None:
        findings += _store(session, asked, True, deep=deep, quick=quick, progress=progress)
    elif path.is_dir():
        findings.append(_fault("store", f"{path} is a folder", f"name the file, such as {path / 'memory.db'}"))
    elif not path.exists():
        findings += _folder(path)
        findings.append(_note("store", f"no store exists at {path} yet", "`cmc remember` or `cmc import` creates it"))
    else:
        findings += _folder(path)
        findings += _file(path)
        findings += _copies(path)
        lock = _lock(path)
        findings.append(lock)
        findings += _store(session, asked, lock.state == "ok", deep=deep, quick=quick, progress=progress)
    return _sum(findings)


def _sum(findings: list[Finding]) -> Examination:
    return Examination(healthy=all(f.state != "fault" for f in findings), findings=findings)


def _ok(check: str, says: str) -> Finding:
    return Finding(check=check, state="ok", says=says)


def _note(check: str, says: str, do: str | None) -> Finding:
    return Finding(check=check, state="note", says=says, do=do)


def _fault(check: str, says: str, do: str) -> Finding:
    return Finding(check=check, state="fault", says=says, do=do)


# ---------------------------------------------------------------------- what is installed
def _versions() -> Finding:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    says = f"cmc {__version__}, python {sys.version.split()[0]} on {sys.platform}, {', '.join(found)}"
    if missing:
        return _fault(
            "versions", f"{says}; missing: {', '.join(missing)}", "install cmc-mcp again, with its dependencies"
        )
    return _ok("versions", says)


def _settings(session: Session, asked: Configuration) -> list[Finding]:
    origins = origins_of(session)
    return [
        _ok("workspace", f"{asked.workspace} (from {origins['workspace']})"),
        _ok("principal", f"{asked.principal or 'local'} (from {origins['principal']})"),
        _ok("store path", f"{shown(asked.store)} (from {origins['store']}), {'encrypted' if asked.key else 'no key'}"),
    ]


def _key_file(name: str | None) -> Iterator[Finding]:
    if name is None or os.environ.get("CMC_KEY"):
        return
    mode = stat.S_IMODE(Path(name).stat().st_mode)
    if mode & 0o077:
        yield _fault("key file", f"{name}, mode {mode:04o}: other users can read the key", f"chmod 600 {name}")
    else:
        yield _ok("key file", f"{name}, mode {mode:04o}")


def _model(name: str) -> Finding:
    from cmc_mcp.embed import embedder_named

    started = time.perf_counter()
    try:
        with closing(embedder_named(name)) as model:
            first, paraphrase, unrelated = model.embed(list(_PROBES))
    except CmcError as error:
        if name == EMBEDDERS[0]:
            return _fault("model", error.message, "install cmc-mcp again; until then recall works by full text alone")
        return _fault("model", error.message, f"install cmc-mcp[{name}]; until then no command opens the store with it")
    took_ms = (time.perf_counter() - started) * 1000
    near, far, length = float(first @ paraphrase), float(first @ unrelated), float(first @ first)
    says = f"{model.identity.model_id} loads and embeds in {took_ms:.0f} ms; paraphrase {near:.2f}, unrelated {far:.2f}"
    if not (abs(length - 1) < 1e-3 and near > far + 0.1):
        return _fault("model", f"{says}: the vectors make no sense", "install cmc-mcp again: its model file is damaged")
    return _ok("model", says)


def _tokenizer() -> Finding:
    from cmc_mcp.embed import load_token_counter

    counter = load_token_counter()
    if counter.exact:
        return _ok("tokenizer", f"{counter.name}, exact")
    return _note(
        "tokenizer",
        f"{counter.name}: an upper bound, so answers stay shorter than they could be",
        "install cmc-mcp again",
    )


def _round_trip() -> Finding:
    """Remember, recall and verify in a temporary store."""
    try:
        with tempfile.TemporaryDirectory(prefix="cmc-doctor-") as folder:
            with Memory.open(Path(folder) / "probe.db", embedder=None) as memory:
                memory.remember("A heron stands in the shallow water at dusk.")
                found = memory.recall("heron water").items
                result = memory.verify()
    except Exception as error:  # whatever it is, it is what the doctor was called for
        return _fault(
            "round trip",
            f"a store in the temporary folder failed: {type(error).__name__}: {error}",
            "check TMPDIR and the disk",
        )
    if len(found) != 1 or not result.holds:
        faults = "; ".join(fault.reason for fault in result.faults) or "full text did not find what was remembered"
        return _fault("round trip", faults, "install cmc-mcp again, with its dependencies")
    return _ok("round trip", "remember, recall by full text and verify work in a temporary store")


# ---------------------------------------------------------------------- the file
def _folder(path: Path) -> Iterator[Finding]:
    folder = next(parent for parent in path.parents if parent.exists())
    if path.parent.exists():
        try:
            prepare_folder(path)
            yield _ok("file system", "local: locks hold")
        except CmcError as error:
            yield _fault("file system", error.message, "put the store on a local disk (--store or CMC_STORE)")
    if not os.access(folder, os.W_OK):
        yield _fault("folder", f"{folder} is not writable by you", f"grant yourself the right: chmod u+w {folder}")
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield _fault("disk", f"the free space cannot be read ({error.strerror})", "check the mount")
        return
    needed = max(_FREE_BYTES_MIN, path.stat().st_size if path.exists() else 0)
    says = f"{free / 1e9:.1f} GB free"
    if free < needed:
        yield _fault(
            "disk", f"{says}, less than a migration's backup may need", "free some space before the next write fails"
        )
    else:
        yield _ok("disk", says)


def _file(path: Path) -> Iterator[Finding]:
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    said = f"{status.st_size / 1e6:.1f} MB, mode {mode:04o}"
    if not os.access(path, os.R_OK):
        yield _fault("file", f"{said}: not readable by you", f"chmod u+rw {path}, or run as its owner")
    elif not os.access(path, os.W_OK) or not mode & stat.S_IWUSR:
        yield _fault(
            "file", f"{said}: read-only, so nothing can be remembered", f"chmod u+w {path}, or run as its owner"
        )
    elif mode & 0o077:
        yield _fault("file", f"{said}: other users can read your memories", f"chmod 600 {path}")
    else:
        yield _ok("file", said)
    wal = Path(f"{path}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    if size > _WAL_BYTES_MAX:
        yield _note("journal", f"{size / 1e6:.0f} MB", "close idle servers: a long-lived reader keeps the journal long")
    else:
        yield _ok("journal", f"{size / 1e6:.1f} MB")


def _copies(path: Path) -> Iterator[Finding]:
    """Name old copies beside the store: they still hold what was erased from the store since."""
    kept = sorted(
        file.name
        for end in ("v*.backup", "before-restore-*", "restoring")
        for file in path.parent.glob(f"{path.name}.{end}")
        if file.is_file()
    )
    if kept:
        yield _note(
            "copies",
            f"old copies beside the store: {', '.join(kept)}; they still hold what was erased since",
            "delete the copies that you no longer need, each with its .objects folder",
        )


def _lock(path: Path) -> Finding:
    lock = Path(f"{path}.lock")
    found = holder_of(lock)
    if found.error:
        return _fault("write lock", f"{lock} {found.error}", f"make the file, or its folder, readable for you: {lock}")
    if found.free:
        return _ok("write lock", "free")
    return _fault(
        "write lock",
        f"held by {found.holder or 'another process'} for over a second",
        "wait for a long import to finish; if the process hangs, end it, and the kernel frees its lock",
    )


# ---------------------------------------------------------------------- the store
def _store(
    session: Session, asked: Configuration, free: bool, *, deep: bool, quick: bool, progress: Progress
) -> Iterator[Finding]:
    try:
        with session.opened(asked, read_only=True) as memory:
            yield from _opened(memory)
            yield from _server(memory.inspect())
            known = asked.workspace in memory.workspaces()
            if known:
                yield from _contents(memory)
            else:
                have = ", ".join(memory.workspaces()) or "none"
                says = f"no workspace {asked.workspace} exists here yet; existing ones: {have}"
                yield _note("contents", says, "the first write creates the workspace")
    except CmcError as error:
        yield _refused(error)
        return
    if quick:
        yield _note("integrity", "left out (--quick)", "run `cmc verify` now and then")
    else:
        yield _integrity(session, asked, free and session.writable(), deep=deep, progress=progress)


def _refused(error: CmcError) -> Finding:
    if isinstance(error, NotFound):
        return _note("contents", error.message, "the first write creates the workspace")
    if isinstance(error, FutureStore):
        do = "upgrade cmc-mcp, or restore the backup that the newer version made"
    elif isinstance(error, WrongKey):
        do = "choose another --store, or set CMC_KEY or CMC_KEY_FILE to its key"
    elif error.code == "integrity" or "is missing: something other" in error.message:
        do = "`cmc restore BACKUP` puts the last backup in its place, and keeps this file aside"
    elif "older version" in error.message:
        return _note(
            "store",
            error.message,
            "the next command that writes, or a server, upgrades the store after making a backup beside it",
        )
    else:
        do = "do what the message says; nothing was changed"
    return _fault("store", error.message, do)


def _opened(memory: Memory) -> Iterator[Finding]:
    settings = memory.inspect()
    pending = settings.pop("erased_pages_pending") == "true"
    indexed = settings.pop("approximate", "")
    yield _ok("store", "opens; " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items()))
    if settings.get("page_checksums") == "off":
        says = "the pages of the file have no checksums, so only `cmc verify` finds damage done by the disk"
        yield _note("bit rot", says, "`cmc rebuild` adds checksums where this installation supports them")
    if "unfinished" in indexed:
        yield _note(
            "index",
            f"{indexed}: one index was not finished and is not used",
            "`cmc index` builds the index again, `cmc index --drop` removes it",
        )
    elif indexed:
        yield _ok("index", f"{indexed}: where no matrix is in memory, the nearest vectors are found approximately")
    if pending:
        yield _note(
            "erasure",
            "erased content is still on the disk: a reader had the store open, or a process ended too early",
            "stop whatever has the store open; the next command that opens the store to write destroys that content",
        )


def _server(settings: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the settings of a database server that break a promise; a file has none."""
    if "database" not in settings:
        return
    if off := [name for name in ("fsync", "full_page_writes") if settings[name] == "off"]:
        yield _fault(
            "durability",
            f"the server runs with {' and '.join(off)} off: a crash of its machine loses acknowledged writes",
            f"set {off[0]} = on in postgresql.conf and restart the server",
        )
    ahead_ms = int(settings["clock_ahead_ms"])
    if abs(ahead_ms) > _SKEW_MS_MAX:
        yield _note(
            "clock",
            f"this machine's clock is {ahead_ms:+,} ms from the server's; times in the ledger still only rise",
            "synchronise both clocks (NTP); until then answers by time may be off by as much",
        )


def _contents(memory: Memory) -> Iterator[Finding]:
    status = memory.status()
    yield _ok(
        "contents",
        f"{status['memories']:,} memories, transaction {status['transaction']}, {status['snapshot']}; "
        f"workspaces: {', '.join(memory.workspaces())}",
    )
    mode = memory.recall("probe", limit=1).mode
    said = mode.retrieval.replace("_", " ") + (f" with {mode.model}" if mode.model else "")
    if mode.degraded:
        yield _note("retrieval", f"{said}; {mode.degraded}", "open the store with the model, if you left the model out")
    else:
        yield _ok("retrieval", said)
    pending = status["pending"]
    if pending:
        yield _note("vectors", f"{pending} memories have no vector yet, so full text alone finds them", "cmc embed")
    kept = len(memory.quarantine())
    if kept:
        yield _note("quarantine", f"{kept} kept back by the gate", "`cmc quarantine list`, then release what is fine")
    else:
        yield _ok("quarantine", "empty")
    try:
        yield from _calibration(memory.calibration())
    except IntegrityError as error:  # what is wrong with the store, the next probe names in full
        yield _note("calibration", error.message, "see the finding about integrity")


def _calibration(found: list[Calibration]) -> Iterator[Finding]:
    """Say of each writer and model how well its confidence fits what was marked right and wrong."""
    for one in found:
        who = one.writer if one.model_id == NO_MODEL else f"{one.writer} with {one.model_id}"
        if not one.judged:
            yield _ok("calibration", f"{who}: {one.unsaid} judged, none with a confidence")
            continue
        says = (
            f"{who}: {one.judged} judged, said {one.confidence:.2f} and was right {one.accuracy:.2f} of the time "
            f"(gap {one.gap:+.2f}), calibration error {one.ece:.2f}"
        )
        if one.ece < ECE_ADVISED:
            yield _ok("calibration", says)
        else:
            yield _note("calibration", says, _recalibrate(one))
    if not found:
        yield _ok("calibration", "nothing has been marked right or wrong yet (`cmc mark`)")


def _recalibrate(one: Calibration) -> str:
    advice = f"have the writer state {'less' if one.gap > 0 else 'more'} confidence"
    if one.judged < _JUDGED_MIN:
        return f"mark more memories first: {_JUDGED_MIN} are the fewest that tell anything; if the gap stays, {advice}"
    if one.temperature is None:
        return advice
    become = ", ".join(f"{tempered(p, one.temperature):.2f}" for p in (0.7, 0.9, 0.99))
    return f"{advice}: divide the logit by {one.temperature:.2f}, so that .70, .90 and .99 become {become}"


def _integrity(session: Session, asked: Configuration, writable: bool, *, deep: bool, progress: Progress) -> Finding:
    try:
        with session.opened(asked, read_only=not writable) as memory:  # the check of full text takes the write lock
            result = memory.verify(deep=deep, progress=progress)
    except CmcError as error:
        return _fault(
            "integrity",
            error.message,
            "`cmc restore BACKUP` puts the last backup in its place, and keeps this file aside",
        )
    if not result.holds:
        named = "; ".join(f"{fault.table} {fault.key}: {fault.reason}" for fault in result.faults[:5])
        return _fault(
            "integrity",
            f"{len(result.faults)} faults: {named}",
            "`cmc verify` names all; `cmc restore BACKUP` puts the last backup in its place",
        )
    left_out = "" if writable else " (without full text, which needs the write lock)"
    return _ok("integrity", f"holds: {result.checked.get('transactions', 0):,} transactions replayed{left_out}")
