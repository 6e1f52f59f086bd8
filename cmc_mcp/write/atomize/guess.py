"""The language of code that came without a media type: what it looks like, confirmed by what parses."""

from __future__ import annotations

import re
from typing import Final

_START_BYTES: Final = 65_536  # of a longer text, so much is looked at
_C_TYPES: Final = rb"(?:(?:static|const|unsigned)[ \t]+)*(?:void|int|char|long|double|float|bool|size_t)"
_SCRIPT_TYPES: Final = rb"(?:string|number|boolean|void|any|unknown)\b"
_PYTHON: Final = rb"^[ \t]*(?:async[ \t]+)?(?:def[ \t]+\w+[ \t]*\(|class[ \t]+\w+[^{;]*:)|^(?:import|from)[ \t]+[\w.]+"
_LOOKS: Final = tuple(
    (media_type, re.compile(pattern, re.MULTILINE))
    for media_type, pattern in (
        ("text/x-python", _PYTHON),
        ("text/x-go", rb"^package[ \t]+\w+|^func[ \t]+[\w(]"),
        ("text/x-rust", rb"\bfn[ \t]+\w+[ \t]*[<(]|^use[ \t]+\w+::|^[ \t]*impl\b"),
        ("text/x-java", rb"\b(?:public|private|protected)[ \t]+[\w<>\[\] \t]+[({]|^import[ \t]+java"),
        ("text/x-c++", rb"\b(?:std::|namespace[ \t]+\w|template[ \t]*<)"),
        ("text/x-c", rb"^[ \t]*#[ \t]*include\b|^" + _C_TYPES + rb"[ \t*]+\w+[ \t]*\("),
        (
            "text/x-typescript",
            rb"\w\)?[ \t]*:[ \t]*" + _SCRIPT_TYPES + rb"|^(?:export[ \t]+)?(?:interface|type)[ \t]+\w+",
        ),
        ("text/javascript", rb"\bfunction\b|=>|^(?:export[ \t]+)?(?:const|let|var|class|async)[ \t]+\w"),
    )
)


def media_type_of_code(data: bytes) -> str | None:
    """Return the media type of code by its text, None for what looks like no language that there is a grammar for.

    The first language that it looks like and that parses without an error is taken, else the first it looks like.

    >>> media_type_of_code(b"def f(x):\\n    return x\\n"), media_type_of_code(b"fn f() -> u8 { 1 }")
    ('text/x-python', 'text/x-rust')
    >>> media_type_of_code(b"10 PRINT 1") is None
    True
    """
    from cmc_mcp.write.atomize.grammar import grammar_of, parse  # tree-sitter is loaded for code alone
    from cmc_mcp.write.atomize.media import language_of

    looks = [media_type for media_type, pattern in _LOOKS if pattern.search(data[:_START_BYTES])]
    for media_type in looks if len(looks) > 1 else ():
        grammar = grammar_of(language_of(media_type), data)
        root = None if grammar is None else parse(data, grammar)
        if root is not None and not root.has_error:
            return media_type
    return looks[0] if looks else None
