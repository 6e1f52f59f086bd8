"""What a tool is: a name, words for a new colleague, arguments, hints, a handler, and how its answer is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mcp_types import CallToolResult, ToolAnnotations

from cmc_mcp.model.calls import Progress
from cmc_mcp.model.results import Result
from cmc_mcp.model.shown import flat
from cmc_mcp.tools import respond
from cmc_mcp.tools.schema import Schema, input_schema, output_schema, parse, published
from cmc_mcp.verbs.argument import Verb

if TYPE_CHECKING:
    from cmc_mcp.memory import Memory

A = TypeVar("A", bound=Verb[Any])
R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool, as its handler sees it.

    `cancelled` is asked right before a commit; `progress` takes what is done and the total (0: unknown).
    """

    memory: Memory
    cancelled: Callable[[], bool] = lambda: False
    progress: Progress = lambda done, total: None


def ask(call: Call, asked: Verb[R]) -> R:
    """Do what a verb does: call the library's method with the arguments of the tool."""
    return asked.on(call.memory)


def change(call: Call, asked: Verb[R]) -> R:
    """Do what a verb does that writes; a call that is cancelled before its commit changes nothing."""
    return asked.on(call.memory, cancel=call.cancelled)


@dataclass(frozen=True, slots=True)
class Hints:
    """The four hints of the protocol, each said explicitly. A memory's world is closed, so the fourth is always no."""

    read_only: bool
    destructive: bool
    idempotent: bool

    def annotations(self) -> ToolAnnotations:
        """Return the hints in the protocol's form."""
        return ToolAnnotations(
            read_only_hint=self.read_only,
            destructive_hint=self.destructive,
            idempotent_hint=self.idempotent,
            open_world_hint=False,
        )


@dataclass(frozen=True, slots=True)
class ToolSpec(Generic[A, R]):
    """A tool. `handle` runs in a worker thread; `write` turns a (bounded) result into
    lines; whatever they quote stays on its line.

    `always` names fields that stay in the structure even when empty, `long` says that a call can take seconds, `depth`
    how deep the published schema of the answer goes. `reads` says of the arguments of a writing tool that this call only
    reads, as a dry run does, so that it is allowed to who may only read.
    """

    title: str
    description: str
    verb: type[A]
    result: type[R]
    hints: Hints
    handle: Callable[[Call, A], R]
    write: Callable[[R, A], list[str]]
    always: tuple[str, ...] = ()
    long: bool = False
    depth: int = 1
    shape: Callable[[R, A], R] = lambda result, asked: result
    reads: Callable[[A], bool] | None = None

    @property
    def name(self) -> str:
        """The verb's name."""
        return self.verb.verb

    @property
    def input_schema(self) -> Schema:
        """The schema of the arguments, as published."""
        return input_schema(published(self.verb))

    @property
    def output_schema(self) -> Schema:
        """The schema of the structured answer, as published: additive, so unknown fields are allowed."""
        return output_schema(self.result, self.depth)

    @property
    def always_writes(self) -> bool:
        """Return whether a call may change something whatever its arguments are."""
        return not self.hints.read_only and self.reads is None

    def writes(self, asked: A) -> bool:
        """Return whether a call with these arguments may change anything."""
        return self.always_writes or not (self.hints.read_only or (self.reads is not None and self.reads(asked)))

    def read(self, raw: Mapping[str, object]) -> A:
        """Check the arguments.

        Raises:
            InvalidInput: every problem is listed.
        """
        return parse(self.verb, raw)

    def run(self, call: Call, asked: A) -> CallToolResult:
        """Run the tool and return its answer, blocking."""
        result, structure, cut = respond.bounded(self.shape(self.handle(call, asked), asked), self.always)
        return respond.answer(structure, "\n".join(map(flat, [*self.write(result, asked), *cut])))
