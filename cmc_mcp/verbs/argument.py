"""Arguments as data: the base of a verb's model, and what each of its fields says to the faces and to the checks.

Nothing here imports more than the standard library's smallest parts, since `cmc --help` reads every model. How a form
is checked stands in `check.py`, how it is published in `tools/schema.py`, how it is typed in `cli/options.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import (
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    Never,
    Self,
    TypeVar,
    cast,
    dataclass_transform,
    get_args,
)

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

    `limit` names a bound of `limits`; a text may be `blank` where that means something; a `choice` is one of `options`,
    which messages call by `called`; a number lies between `least` and `most`. A `fact` is kept among the fields, and its
    `usual` value as an absent field. What is not `scoped` does not change what a question finds. Problems are listed by
    `turn`, then in the model's order.
    """

    form: Form
    tool: str | None = ""
    cli: Option | None = None
    limit: str = ""
    blank: bool = False
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


class _Written(NamedTuple):
    """A field as its model says it, until the class is made."""

    default: object
    argument: Argument


_REQUIRED: Final = object()


def required(
    form: Form, tool: str | None = "", cli: Option | None = None, **more: str | float | bool | tuple[str, ...]
) -> Any:  # of whatever type its field is
    """Return a field that must be given: `query: str = required("question", …)`."""
    return _Written(_REQUIRED, Argument(form, tool, cli, **cast("dict[str, Any]", more)))


def argument(
    default: T,
    form: Form,
    tool: str | None = "",
    cli: Option | None = None,
    **more: str | float | bool | tuple[str, ...],
) -> T:
    """Return a field that may be left out: `limit: int = argument(10, "count", …)`. To its model it is the default."""
    made: object = _Written(default, Argument(form, tool, cli, **cast("dict[str, Any]", more)))
    return cast("T", made)


@dataclass_transform(frozen_default=True, field_specifiers=(required,))
class Verb(Generic[R]):
    """Base of every verb's model: the arguments as a caller gives them, not yet checked. `R` is what the verb answers.

    Type checkers take a model for a frozen dataclass. A real one has its methods generated, which for nine models cost
    every start 8 ms.
    """

    verb: ClassVar[str]
    abouts: ClassVar[Mapping[str, About]] = {}
    """The arguments by name, in the order of the model."""
    in_turn: ClassVar[Sequence[About]] = ()
    """The arguments in the order in which their problems are listed."""
    unscoped: ClassVar[Set[str]] = frozenset()
    """The names of the arguments that do not change what a question finds."""

    def __init_subclass__(cls) -> None:
        found = dict(cls.abouts)
        for name, written in [(n, w) for n, w in vars(cls).items() if isinstance(w, _Written)]:
            required = written.default is _REQUIRED
            found[name] = About(name, written.argument, None if required else written.default, required)
            delattr(cls, name)
        cls.abouts = found
        cls.in_turn = sorted(found.values(), key=lambda about: about.argument.turn)
        cls.unscoped = frozenset(name for name, about in found.items() if not about.argument.scoped)

    def __init__(self, *values: object, **given: object) -> None:
        placed = dict(zip(self.abouts, values, strict=False))
        usual = {name: about.default for name, about in self.abouts.items() if not about.required}
        held = {**usual, **placed, **given}
        if len(values) > len(placed) or placed.keys() & given.keys() or held.keys() != self.abouts.keys():
            raise TypeError(f"{type(self).__name__} takes these arguments, each once: {', '.join(self.abouts)}")
        self.__dict__.update((name, held[name]) for name in self.abouts)

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"a {type(self).__name__} is frozen; make another, with `replaced({name}=…)`")

    def __delattr__(self, name: str) -> Never:
        self.__setattr__(name, None)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """Take the verb's arguments out of what else is given, as `locals()` of a method holds it."""
        return cls(**{name: given[name] for name in cls.abouts})

    def replaced(self, **given: object) -> Self:
        """Return the same arguments but for those given."""
        return type(self)(**{**vars(self), **given})

    def on(self, memory: object, **more: object) -> R:
        """Call the method of the same name with these arguments; `more` are those that are not the verb's."""
        return cast("R", getattr(memory, self.verb)(**vars(self), **more))
