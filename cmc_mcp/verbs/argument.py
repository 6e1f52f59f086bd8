"""Arguments as data: the base of a verb's model, and what each of its fields says to the faces and to the checks.

Nothing here imports more than the standard library's smallest parts, since `cmc --help` reads every model. How a form
is checked stands in `check.py`, how it is published in `tools/schema.py`, how it is typed in `cli/options.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar, cast, get_args

Form = Literal[
    "text", "content", "time", "number", "seconds", "count", "flag", "choice", "media type", "origin", "question",
    "texts", "any", "tags", "tag set", "matching", "claim", "map", "point", "checkpoint",
]  # fmt: skip
"""The forms of an argument. The less obvious ones: `any` is a text or several, one of which must match; `tags` are
merged, where None removes one; a `tag set` replaces all tags; `matching` tags must all be there; a `point` is a state."""

FORMS: tuple[Form, ...] = get_args(Form)
R = TypeVar("R", covariant=True)
T = TypeVar("T")


class Option(NamedTuple):
    """An argument on the command line: an option, or with `place` an argument by position.

    `flags` are its spellings where they are not the name's own, `more` is the help of a second option that gives the
    same (`--file` for content, the name itself for a place), `before` names the argument that it stands before.
    """

    help: str
    metavar: str | None = None
    flags: tuple[str, ...] = ()
    place: bool = False
    shows_default: bool = True
    more: str = ""
    before: str = ""


class Argument(NamedTuple):
    """An argument of a verb.

    `tool` is its description in the tool's schema, None where the tool does not take it, and `tool_default` what the
    tool takes it for when it is absent. `cli` is None where the command does not take it.

    `limit` names a bound of `limits`; a `choice` is one of `options`, which messages call by `called`; a number lies
    between `least` and `most`. A `fact` is kept among the fields, and its `usual` value as an absent field. What
    is not `scoped` does not change what a question finds. Problems are listed by `turn`, then in the model's order.
    """

    form: Form
    tool: str | None = ""
    cli: Option | None = None
    limit: str = ""
    options: tuple[str, ...] = ()
    called: str = ""
    least: int = 0
    most: float = 1.0
    fact: bool = False
    usual: float | None = None
    scoped: bool = True
    turn: int = 0
    tool_default: str | None = None


class About(NamedTuple):
    """An argument with its name and default, which is None for the `required` ones too."""

    name: str
    argument: Argument
    default: object
    required: bool


def about(
    form: Form, tool: str | None = "", cli: Option | None = None, **more: str | float | bool | tuple[str, ...]
) -> Mapping[str, Argument]:
    """Return the metadata of a required field: `query: str = field(metadata=about("question", …))`."""
    return {"argument": Argument(form, tool, cli, **cast("dict[str, Any]", more))}


def argument(
    default: T,
    form: Form,
    tool: str | None = "",
    cli: Option | None = None,
    **more: str | float | bool | tuple[str, ...],
) -> T:
    """Return a field that may be left out: `limit: int = argument(10, "count", …)`. To its model it is the default."""
    made: object = field(default=default, metadata=about(form, tool, cli, **more))
    return cast("T", made)


@dataclass(frozen=True)
class Verb(Generic[R]):
    """Base of every verb's model: the arguments as a caller gives them, not yet checked. `R` is what the verb answers."""

    verb: ClassVar[str]

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """Take the verb's arguments out of what else is given, as `locals()` of a method holds it."""
        return cls(**{name: given[name] for name in abouts(cls)})

    def on(self, memory: object, **more: object) -> R:
        """Call the method of the same name with these arguments, and with what is no argument of the verb."""
        return cast("R", getattr(memory, self.verb)(**vars(self), **more))


def abouts(verb: type[Verb[Any]]) -> Mapping[str, About]:
    """Return the arguments of a verb by name, in the order of its model."""
    return _abouts(cast("Hashable", verb))[0]


def in_turn(verb: type[Verb[Any]]) -> Sequence[About]:
    """Return the arguments of a verb in the order in which their problems are listed."""
    return _abouts(cast("Hashable", verb))[1]


def unscoped(verb: type[Verb[Any]]) -> Set[str]:
    """Return the names of the arguments that do not change what a question finds."""
    return _abouts(cast("Hashable", verb))[2]


@cache
def _abouts(verb: Hashable) -> tuple[Mapping[str, About], Sequence[About], Set[str]]:
    by_name = {found.name: _about(found) for found in fields(cast("type[Verb[Any]]", verb))}
    turns = sorted(by_name.values(), key=lambda about: about.argument.turn)
    return by_name, turns, frozenset(name for name, about in by_name.items() if not about.argument.scoped)


def _about(found: Field[Any]) -> About:
    required = found.default is MISSING
    return About(found.name, found.metadata["argument"], None if required else found.default, required)
