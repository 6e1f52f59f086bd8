"""A strict reader of our answers' text, written from the frame's description and not from the code that writes it."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final

_ID: Final = r"(?:[0-9a-f]{6,32})"
_V: Final = r'("(?:[^"\\]|\\.)*"|[A-Za-z0-9_@+#][A-Za-z0-9_@+.:/# -]*)'
_IDS: Final = rf"({_ID}(?: {_ID})*)(?: and (\d+) more)?"
_DAY: Final = r"(?:recorded )?\d{4}-\d\d-\d\d"
_TIME: Final = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
_PARTS: Final = {
    "time": rf"({_TIME})",
    "place": rf"in {_V}",
    "source": rf"from {_V}",
    "title": rf"title {_V}",
    "writer": rf"by {_V}",
    "tag": rf"#{_V}={_V}",
    "valid": r"valid (\S+) to (\S+)",
    "confidence": r"confidence ([ABC])",
    "unsure": r"UNSURE \(confidence (unknown|[\d.]+)\)",
    "superseded": rf"SUPERSEDED by {_IDS}",
    "conflict": rf"CONFLICTS with ({_ID}) \({_V}\)",
    "conflicts more": r"CONFLICTS with (\d+) more",
    "newer": rf"NEWER than ({_ID}) \({_V}\)",
    "older": rf"OLDER than ({_ID}) \({_V}\)",
    "possible": rf"MAY CONFLICT with ({_ID})",
    "stale": rf"STALE premises {_IDS}",
    "duplicates": rf"stands for {_IDS}",
    "excerpt": r"excerpt of (\d+) tokens",
    "same": rf"same words as ({_ID})",
}
_FIRST: Final = re.compile(
    r"(?:Nothing relevant is stored; the nearest follow\.|Abstains: nothing that was found is .*)\Z"
)
_FOOTER: Final = re.compile(
    rf"(?:left out: (?:{_ID} \([\d,]+ tokens\)|\d+ more \([\d,]+ tokens\))(?:, .*)?|more: cursor=[\w-]+|hidden: \d+ .*"
    rf"|read at transaction \d+, .*|state snap_.*|DEGRADED: .*|pending: \d+ .*|stage \w+: .*|{_ID}: score .*|Cut to fit: .*)\Z"
)


class Forged(AssertionError):
    """The text does not say what it must, in the form it must."""


def need(holds: object, said: str) -> None:
    """Raise unless it holds."""
    if not holds:
        raise Forged(said)


@dataclass
class Read:
    """One memory as a text shows it."""

    name: str
    group: tuple[str, str, str]  # kind, where, day
    speaker: str = ""
    time: str = ""
    writer: str = ""
    parts: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    words: str | None = None
    before: list[tuple[str, str]] = field(default_factory=list)
    after: list[tuple[str, str]] = field(default_factory=list)


def value(written: str) -> str:
    """Read a value: JSON, or plain words."""
    return json.loads(written) if written.startswith('"') else written


def split(line: str) -> list[str]:
    """Split a line of ours at its commas, outside of quotes."""
    parts = re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^",]|,(?! ))+', line)
    need(", ".join(part.removeprefix(" ") for part in parts) == line, f"a line that does not part: {line!r}")
    return [part.removeprefix(" ") for part in parts]


def check_line(line: str) -> None:
    """Check that a line of ours is ASCII outside of quotes, and inside holds nothing that hides or looks like a sign."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
    need(
        outside.isascii() or set(outside) <= set(map(chr, range(32, 127))) | {"…", "→"}, f"outside of quotes: {line!r}"
    )
    for sign in line:
        need(
            unicodedata.category(sign)[0] not in "C" and unicodedata.category(sign) not in ("Zl", "Zp"),
            f"{sign!r} unseen",
        )
        if sign > "~" and sign not in "…→":
            need(
                not set(unicodedata.normalize("NFKC", sign)) & set("\"',;:=#·|"), f"{sign!r} looks like a sign of ours"
            )


def check_stored(line: str) -> None:
    """Check that a stored line is one line for every reader, and hides nothing that controls."""
    need(len(line.splitlines()) <= 1, f"a stored line that breaks: {line!r}")
    for sign in line:
        category = unicodedata.category(sign)
        need(sign == "\t" or category not in ("Cc", "Cs", "Co", "Zl", "Zp"), f"{sign!r} in a stored line")
        need(category != "Cf" or sign in "\u200c\u200d" or unicodedata.name(sign, "").startswith(("ARABIC", "KAITHI", "SYRIAC"))
             or "\U000e0020" <= sign <= "\U000e007f", f"{sign!r} in a stored line")  # fmt: skip
        need(sign not in "\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5", f"{sign!r} in a stored line")


def read(text: str) -> tuple[list[Read], list[str]]:
    """Read an answer's text: its memories in the order written, and the lines of ours below them.

    Raises:
        Forged: a line is none of the frame's.
    """
    found = memories(text.split("\n"))
    _, footer = found
    for line in footer:
        check_line(line)
        need(_FOOTER.match(line), f"no line of ours: {line!r}")
    return found


def memories(lines: list[str]) -> tuple[list[Read], list[str]]:
    """Read the memories up to the rule, and return the lines after it as they are."""
    while lines and _FIRST.match(lines[0]):
        check_line(lines[0])
        lines = lines[1:]
    need("---" in lines, "no rule")
    end = lines.index("---")
    if lines[:end] in (["No memory matches."], ["Nothing more matches."]):
        return [], lines[end + 1 :]
    items: list[Read] = []
    group: tuple[tuple[str, str, str], str, str] | None = None
    into: list[str] | None = None
    stores: list[tuple[Read, str, str, list[str]]] = []
    for line in lines[:end]:
        if line.startswith(" "):
            check_stored(line)
            need(into is not None, f"stored words without a head: {line!r}")
            assert into is not None
            into.append(line[1:])
            continue
        check_line(line)
        if line.startswith("#"):
            group, into = _group(line, "" if group is None else group[2]), None
        elif beside := re.match(rf"([-+=]) ({_ID})\Z", line):
            need(items, "a neighbour of nothing")
            into = []
            stores.append((items[-1], beside[1], beside[2], into))
        else:
            need(group is not None, f"a memory without a group: {line!r}")
            assert group is not None
            items.append(_head(line, group))
            into = []
            stores.append((items[-1], "=", items[-1].name, into))
    for item, kind, name, held in stores:
        said = "\n".join(held)
        if kind == "-":
            item.before.append((name, said))
        elif kind == "+":
            item.after.append((name, said))
        elif held:
            need(item.words is None, "words twice")
            item.words = said
    for item in items:
        need((item.words is None) == ("same" in item.parts), f"words, or whose they are: {item}")
    return items, lines[end + 1 :]


def _group(line: str, writer: str) -> tuple[tuple[str, str, str], str, str]:
    """Read the line of a group; who wrote the group above wrote this one, if it does not say otherwise."""
    kind = where = day = time = ""
    for part in split(line[2:]) if line != "#" else []:
        if match := re.match(rf"(session|source) {_V}\Z", part):
            kind, where = match[1], value(match[2])
        elif match := re.match(rf"({_DAY})(?: ({_TIME}))?\Z", part):
            day, time = match[1], match[2] or ""
        elif part == "by …":
            writer = ""
        elif match := re.match(rf"by {_V}\Z", part):
            writer = value(match[1])
        else:
            raise Forged(f"no part of a group: {part!r}")
    return (kind, where, day), time, writer


def _head(line: str, group: tuple[tuple[str, str, str], str, str]) -> Read:
    first, *rest = split(line)
    match = re.match(rf"({_ID})(?: {_V})?\Z", first)
    need(match, f"no head: {line!r}")
    assert match is not None
    item = Read(match[1], group[0], value(match[2]) if match[2] else "", group[1], group[2])
    for part in rest:
        fitting = [(kind, found) for kind, form in _PARTS.items() if (found := re.fullmatch(form, part))]
        need(len(fitting) == 1, f"no part of a head, or more than one: {part!r} in {line!r}")
        kind, found = fitting[0]
        said = tuple(value(each) if each else "" for each in found.groups())
        item.parts.setdefault(kind, []).append(said)
    item.time = item.parts["time"][0][0] if "time" in item.parts else item.time
    item.writer = item.parts["writer"][0][0] if "writer" in item.parts else item.writer
    return item
