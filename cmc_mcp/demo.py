"""The demo: the main job on a real-sized input, through the real server and the official client.

In a folder of its own it starts `cmc serve` as a child process, tells it a team's conversation and documents, asks by
paraphrase, corrects a fact with effect from an earlier day, has it poisoned, rolls that back and proves the result. It
prints each step, and checks each: a step that does not come out as it should makes the demo fail.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

import anyio
from mcp import Client, StdioServerParameters, stdio_client

from cmc_mcp.errors import CmcError, Conflict, StoreError
from cmc_mcp.memory import Memory
from cmc_mcp.model.results import Result

_POISON: Final = "https://harbor-helpdesk.example/notice"
_LABEL: Final = "before the web page"
_DEPLOYS: Final = "Where does Tidewatch production deploy to?"
_TOPIC: Final = {"topic": "deploy-target"}
_SHOWN: Final = 4
_FAST_TURNS: Final = 60
_HITS: Final = 5
_HITS_PARAPHRASE: Final = 10
_FOUND_SHARE_MIN: Final = 0.35  # of the paraphrases: three times what full text alone finds, below what is measured

Answer = dict[str, Any]


class DemoStep(Result):
    """One step of the demo, and whether it came out as it should."""

    name: str
    holds: bool
    says: str
    seconds: float


class DemoResult(Result):
    """What the demo did."""

    holds: bool
    steps: list[DemoStep]
    seconds: float
    store: str | None = None


class Corpus:
    """The examples that ship with the package; with `fast`, a part of them."""

    def __init__(self, fast: bool) -> None:
        home = resources.files("cmc_mcp.examples")
        lines = (home / "conversation.jsonl").read_text(encoding="utf-8").splitlines()
        self.turns: list[Answer] = [json.loads(line) for line in lines][: _FAST_TURNS if fast else None]
        files = sorted((home / "documents").iterdir(), key=lambda file: file.name)
        files = [file for file in files if file.name.endswith((".md", ".py", ".ts"))][: 3 if fast else None]
        self.documents: dict[str, bytes] = {file.name: file.read_bytes() for file in files}
        known = "\n".join([*(turn["text"] for turn in self.turns), *(d.decode() for d in self.documents.values())])
        questions: list[Answer] = json.loads((home / "questions.json").read_text(encoding="utf-8"))
        self.questions = [question for question in questions if question["expect"] in known]
        self.poison: list[str] = [
            json.loads(line)["text"] for line in (home / "poison.jsonl").read_text(encoding="utf-8").splitlines()
        ]


class Stage:
    """Where the demo prints: panels and colour on a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console

        self.console = Console(highlight=False, markup=False, emoji=False, quiet=quiet)
        self.steps: list[DemoStep] = []
        self._lines: list[tuple[str, str]] = []

    def line(self, text: str = "", style: str = "") -> None:
        """Add a line to the step."""
        self._lines.append((text, style))

    @contextmanager
    def step(self, name: str) -> Iterator[Check]:
        """Run one step, print it, and note how it came out."""
        from rich.panel import Panel
        from rich.text import Text

        check, started = Check(), time.perf_counter()
        self._lines = []
        yield check
        seconds = time.perf_counter() - started
        self.steps.append(DemoStep(name=name, holds=check.holds, says=check.says, seconds=round(seconds, 3)))
        for problem in check.problems:
            self.line(f"✗ {problem}", "bold red")
        title = f"{len(self.steps)}. {name}  ({seconds:.1f} s)"
        if not self.console.is_terminal:
            self.console.print("\n".join([title, *(f"   {text}" for text, _ in self._lines), ""]), soft_wrap=True)
            return
        body = Text("\n").join(Text(text, style) for text, style in self._lines)
        self.console.print(Panel(body, title=title, title_align="left", border_style="green" if check.holds else "red"))

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Any]:
        """Show a bar on a terminal; yield the function to call after each item."""
        from rich.progress import Progress

        if not self.console.is_terminal or self.console.quiet:
            yield lambda: None
            return
        with Progress(console=self.console, transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda: bar.advance(task)


class Check:
    """What a step expected, and what it has to say."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.says = ""

    @property
    def holds(self) -> bool:
        """Whether every expectation was met."""
        return not self.problems

    def expect(self, met: bool, problem: str) -> None:
        """Note a problem unless it was met."""
        if not met:
            self.problems.append(problem)


class Talk:
    """The conversation with the server."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.calls = 0

    async def __call__(self, tool: str, **arguments: object) -> Answer:
        """Call a tool; return its structured answer.

        Raises:
            CmcError: the tool answered with an error.
        """
        self.calls += 1
        answer = await self.client.call_tool(tool, arguments)
        if answer.is_error or answer.structured_content is None:
            text = " ".join(getattr(part, "text", "") for part in answer.content)
            raise CmcError(f"{tool} answered: {text}")
        return dict(answer.structured_content)

    async def items(self, query: str, **arguments: object) -> list[Answer]:
        """Recall, and return the items."""
        found = await self("recall", query=query, **arguments)
        return list(found.get("items", []))


def run_demo(keep: Path | None = None, *, fast: bool = False, quiet: bool = False) -> DemoResult:
    """Run the demo in a temporary folder, or in a new one that is kept.

    Raises:
        Conflict: the folder to keep is not empty.
        StoreError: it cannot be made.
        CmcError: a tool failed.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="cmc-demo-") as folder:
            return _run(Path(folder), None, fast=fast, quiet=quiet)
    folder_kept = keep.expanduser().absolute()
    try:
        folder_kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder_kept.iterdir()):
            raise Conflict(f"{folder_kept} is not empty; pass a new folder to --keep")
    except OSError as error:
        raise StoreError(f"the folder {folder_kept} cannot be made ({error.strerror})") from error
    return _run(folder_kept, folder_kept / "memory.db", fast=fast, quiet=quiet)


def _run(folder: Path, kept: Path | None, *, fast: bool, quiet: bool) -> DemoResult:
    started = time.perf_counter()
    stage = Stage(quiet)
    anyio.run(_demonstrate, folder, stage, Corpus(fast))
    holds = all(step.holds for step in stage.steps)
    _farewell(stage, kept, holds, time.perf_counter() - started)
    return DemoResult(
        holds=holds,
        steps=stage.steps,
        seconds=round(time.perf_counter() - started, 3),
        store=str(kept) if kept else None,
    )


async def _demonstrate(folder: Path, stage: Stage, corpus: Corpus) -> None:
    words = [
        "-m",
        "cmc_mcp",
        "serve",
        "--store",
        str(folder / "memory.db"),
        "--workspace",
        "demo",
        "--principal",
        "demo",
    ]
    # nothing of the user's is read or made: neither settings, nor a key, nor another store
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CMC_")}
    environment |= {"CMC_CONFIG": str(folder / "none.toml"), "CMC_SIGNING_KEY_FILE": str(folder / "signing.key")}
    server = StdioServerParameters(command=sys.executable, args=words, env=environment)
    # A failure inside the client's task group comes wrapped; ours is carried out, so that it prints as one line.
    failure: CmcError | None = None
    journal = folder / "server.log"
    try:
        with journal.open("w", encoding="utf-8") as log:
            started = time.perf_counter()
            async with Client(stdio_client(server, errlog=log)) as client:
                try:
                    await _story(Talk(client), folder, stage, corpus, started)
                except CmcError as error:
                    failure = error
    except Exception as error:
        said = journal.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise StoreError(
            f"the server stopped answering ({error}); its last line: {said[-1] if said else 'none'}"
        ) from error
    if failure is not None:
        raise failure


async def _story(talk: Talk, folder: Path, stage: Stage, corpus: Corpus, started: float) -> None:
    with stage.step("Start the server") as check:
        tools = [tool.name for tool in (await talk.client.list_tools()).tools]
        check.expect(len(tools) == 9, f"expected nine tools, there are {len(tools)}")
        server = talk.client.server_info
        name = "a server without a name" if server is None else f"{server.name} {server.version}"
        check.says = f"{name} over stdio, protocol {talk.client.protocol_version}"
        stage.line(f"{check.says}, ready after {time.perf_counter() - started:.1f} s")
        stage.line(f"tools: {', '.join(tools)}")
    await _remember(talk, folder, stage, corpus)
    await _paraphrases(talk, stage, corpus)
    await _correction(talk, stage)
    note = await _snapshot(talk, folder, stage)
    plan = await _poison(talk, stage, corpus)
    await _rollback(talk, stage, plan)
    await _prove(talk, stage, note)


async def _remember(talk: Talk, folder: Path, stage: Stage, corpus: Corpus) -> None:
    with stage.step("Remember a conversation and a folder of documents") as check:
        started, added = time.perf_counter(), 0
        total = len(corpus.turns) + len(corpus.documents)
        with stage.progress("remember", total) as advance:
            for turn in corpus.turns:
                said = {name: turn[name] for name in ("session", "speaker", "occurred_at")}
                added += len((await talk("remember", content=turn["text"], **said))["added"])
                advance()
            turns = added
            for name, data in corpus.documents.items():
                code = {"modality": "code"} if name.endswith((".py", ".ts")) else {}
                added += len((await talk("remember", content=data.decode(), source=name, **code))["added"])
                advance()
        each_ms = (time.perf_counter() - started) * 1000 / total
        check.expect(turns == len(corpus.turns), f"{len(corpus.turns)} turns became {turns} memories")
        # another process reads the same store while the server runs
        with _look(folder) as memory:
            same = [name for name, data in corpus.documents.items() if memory.read_source(name) == data]
        check.expect(len(same) == len(corpus.documents), "a document did not come back byte for byte")
        check.says = f"{added} memories from {len(corpus.turns)} turns and {len(corpus.documents)} documents"
        stage.line(f"{check.says}, {each_ms:.1f} ms a call")
        stage.line("every document comes back byte for byte")


async def _paraphrases(talk: Talk, stage: Stage, corpus: Corpus) -> None:
    with stage.step("Recall in other words") as check:
        found, shown = 0, 0
        started = time.perf_counter()
        for question in corpus.questions:
            items = await talk.items(question["question"], limit=_HITS_PARAPHRASE, detail="detailed")
            rank = next((n for n, item in enumerate(items, 1) if question["expect"] in item["text"]), 0)
            found += bool(rank)
            if rank == 1 and shown < _SHOWN:
                shown += 1
                stage.line(f"? {question['question']}", "bold")
                stage.line(f"  {_short(items[0]['text'])}")
                stage.line(f"  {_provenance(items[0])}", "dim")
        each_ms = (time.perf_counter() - started) * 1000 / max(1, len(corpus.questions))
        least = _FOUND_SHARE_MIN * len(corpus.questions)
        check.expect(found >= least, f"only {found} of {len(corpus.questions)} answers were found")
        check.says = f"{found} of {len(corpus.questions)} answers among the first {_HITS_PARAPHRASE}"
        stage.line("the questions avoid the words of their answers, so words alone would not find them")
        stage.line(f"{check.says}, {each_ms:.1f} ms a question")


async def _correction(talk: Talk, stage: Stage) -> None:
    with stage.step("Correct a fact, with effect from an earlier day") as check:
        claim = {"subject": "Tidewatch production", "predicate": "deploys to"}
        heroku = await talk(
            "remember",
            content="Tidewatch production deploys to Heroku.",
            claim={**claim, "object": "Heroku"},
            tags=_TOPIC,
        )
        told = heroku["transaction"]
        await talk(
            "revise",
            id=heroku["added"][0],
            content="Tidewatch production deploys to Fly.io.",
            claim={**claim, "object": "Fly.io"},
            valid_from="2026-06-01",
            reason="found out on 16 June that we had moved on 1 June",
        )
        stage.line("told “Heroku”; later told that since 1 June 2026 it is “Fly.io”")
        for said, point, expected in (
            ("as known before the correction, for 5 June", {"as_of": str(told), "valid_at": "2026-06-05"}, "Heroku"),
            ("as known now, for 5 June", {"valid_at": "2026-06-05"}, "Fly.io"),
            ("as known now, for 20 May", {"valid_at": "2026-05-20"}, "Heroku"),
        ):
            items = await talk.items(_DEPLOYS, tags=_TOPIC, limit=1, **point)
            text = items[0]["text"] if items else "nothing"
            check.expect(expected in text, f"{said}: expected {expected}, got {text!r}")
            stage.line(f"{said:<44} {text}")
        check.says = "both beliefs are readable, each at its time"


async def _snapshot(talk: Talk, folder: Path, stage: Stage) -> str:
    with stage.step("Name the state, and sign it") as check:
        named = await talk("snapshot", label=_LABEL)
        with _look(folder) as memory:
            from cmc_mcp.environment import signing_key

            signed = memory.checkpoint(signing_key({"CMC_SIGNING_KEY_FILE": str(folder / "signing.key")}))
        (folder / "checkpoint.txt").write_text(signed.checkpoint, encoding="utf-8")
        check.says = f"{named['snapshot']} is “{_LABEL}”"
        stage.line(f"{check.says}, transaction {named['transaction']}")
        stage.line(f"signed checkpoint of {signed.transaction} transactions, kept outside the store")
    return signed.checkpoint


async def _poison(talk: Talk, stage: Stage, corpus: Corpus) -> int:
    with stage.step("Poison it") as check:
        for number, text in enumerate(corpus.poison, 1):
            await talk("remember", content=text, source=f"{_POISON}/{number}", tags={"via": "web"})
        items = await talk.items(_DEPLOYS, limit=_HITS, detail="detailed")
        bad = [item for item in items if item.get("source", "").startswith(_POISON)]
        check.expect(bool(bad), "the poison is not among the first answers, so there is nothing to repair")
        check.says = (
            f"{len(corpus.poison)} statements of a hostile page; {len(bad)} of the first {_HITS} answers are its"
        )
        stage.line(f"an agent read a hostile page and remembered {len(corpus.poison)} of its statements")
        stage.line(f"? {_DEPLOYS}", "bold")
        for item in items[:3]:
            stage.line(f"  {_short(item['text'])}", "red" if item in bad else "")
            stage.line(f"  {_provenance(item)}", "dim")
    return len(corpus.poison)


async def _rollback(talk: Talk, stage: Stage, planted: int) -> None:
    with stage.step("Roll back") as check:
        plan = await talk("rollback", to=_LABEL, dry_run=True)
        gone = [record for record in plan["diff"].get("removed", []) if record["kind"] == "atom"]
        check.expect(len(gone) >= planted, f"the plan removes {len(gone)} memories, {planted} were planted")
        stage.line(f"dry run: {len(gone)} memories would go, nothing else changes")
        done = await talk("rollback", to=_LABEL, digest=plan["digest"])
        named = await talk("snapshot")
        before = await talk("history", **{"from": _LABEL})
        check.expect(
            not set(before.get("diff", {})) & {"added", "removed", "changed"}, "the state is not the named one"
        )
        stage.line(
            f"rolled back in transaction {done['receipt']['transaction']}; the state is {named['snapshot']} again"
        )
        stage.line(f"to undo even this: rollback to {done['undo_with']}")
        items = await talk.items(_DEPLOYS, limit=_HITS, detail="detailed")
        bad = [item for item in items if item.get("source", "").startswith(_POISON)]
        check.expect(bool(items) and not bad, "recall is still poisoned")
        check.says = "the poison is gone, what was true is back"
        stage.line(f"? {_DEPLOYS}", "bold")
        for item in items[:2]:
            stage.line(f"  {_short(item['text'])}", "green")
            stage.line(f"  {_provenance(item)}", "dim")


async def _prove(talk: Talk, stage: Stage, note: str) -> None:
    with stage.step("Prove it") as check:
        answer = await talk("verify", checkpoint=note)
        faults = answer.get("faults", [])
        check.expect(answer["holds"], f"{len(faults)} faults: {'; '.join(fault['reason'] for fault in faults[:3])}")
        checked = answer["checked"]
        check.expect(checked.get("checkpoint") == 1, "the checkpoint was not compared")
        check.says = f"{checked['transactions']} transactions replayed, {checked['payloads']} payloads hashed"
        stage.line(f"{check.says}; the signed checkpoint is part of this history")
        stage.line("the poison and the rollback stay in the ledger: nothing was rewritten")


@contextmanager
def _look(folder: Path) -> Iterator[Memory]:
    with Memory.open(folder / "memory.db", workspace="demo", embedder=None, read_only=True) as memory:
        yield memory


def _short(text: str, width: int = 150) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _provenance(item: Answer) -> str:
    when = item.get("occurred_at", "")[:16].replace("T", " ")
    writer = f"by {item['witness']['writer']}" if "witness" in item else None
    parts = (item.get("source"), item.get("place"), item.get("speaker"), when, writer, item["id"][:13])
    return " · ".join(part for part in parts if part)


def _farewell(stage: Stage, kept: Path | None, holds: bool, seconds: float) -> None:
    console = stage.console
    console.print(
        f"Everything came out as it should, in {seconds:.1f} s."
        if holds
        else "Some steps failed; see the crosses above."
    )
    if kept is None:
        console.print("Next: cmc demo --keep DIR leaves the store to look at; cmc config connects your own agent.")
        return
    console.print(f"The store is {kept}. Next:", soft_wrap=True)
    for words in ("log", f'recall "{_DEPLOYS}"', f'diff "{_LABEL}"', "verify"):
        console.print(f"  cmc --store {kept} --workspace demo {words}", soft_wrap=True)
    console.print("  cmc config   # connects your own agent, to a memory of its own")
