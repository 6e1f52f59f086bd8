"""The shared statements in PostgreSQL's words: everything that it reads otherwise than SQLite, phrase by phrase."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count
from typing import Final

_LETTERS: Final = r"convert_from(CASE WHEN position('\\x00'::bytea IN \1) > 0 THEN ''::bytea ELSE \1 END, 'LATIN1')"
_PHRASES: Final = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r" INDEXED BY \w+", ""),
        (r"\bCROSS JOIN\b", "JOIN"),
        (r"(?<=[ (])\+(?=[a-z])", ""),
        # a list of integers as JSON is an array but for its brackets; as rows, since an array would be searched for each row
        (r"\bSELECT value FROM json_each\((\?\d*)\)", r"SELECT unnest(translate(\1, '[]', '{}')::bigint[])"),
        (
            r"\bSELECT unhex\(value\) FROM json_each\((\?\d*)\)",
            r"SELECT decode(value, 'hex') FROM json_array_elements_text(\1::json) AS value",
        ),
        # of a term: each as a line of bytes; both in the order of the rows
        (r"\bCAST\(group_concat\((\w+), x'0a'\) AS BLOB\)", r"string_agg(\1, '\\x0a'::bytea)"),
        (r"\bgroup_concat\((\w+)\)", r"string_agg(\1::text, ',')"),
        (r"\binstr\((\w+), (\?\d*)\)", r"position(\2 IN \1)"),
        # bytes as letters one by one, which none but NUL is refused for, and what holds one is no name; those past ASCII
        # become two
        (r"\blower\(CAST\(([\w.]+) AS TEXT\)\)", rf"""lower({_LETTERS} COLLATE "C")"""),
        (
            r"\blength\(([\w.]+)\) > length\(CAST\(\1 AS TEXT\)\)",
            rf"octet_length(convert_to({_LETTERS}, 'UTF8')) > octet_length(\1)",
        ),
        (r"\blength\(CAST\((\w+) AS BLOB\)\) > length\(\1\)", r"octet_length(\1) > char_length(\1)"),
    )
)
_PLACEHOLDER: Final = re.compile(r"\?(\d*)")


@lru_cache(maxsize=1024)
def translated(statement: str) -> str:
    """Return a statement as PostgreSQL reads it.

    >>> translated("SELECT rid FROM atoms a INDEXED BY x WHERE +a.ws = ?1 AND rid IN (SELECT value FROM json_each(?2))")
    "SELECT rid FROM atoms a WHERE a.ws = $1 AND rid IN (SELECT unnest(translate($2, '[]', '{}')::bigint[]))"
    >>> translated("SELECT 1 FROM tags WHERE ws = ? AND name = ?")
    'SELECT 1 FROM tags WHERE ws = $1 AND name = $2'
    """
    for pattern, words in _PHRASES:
        statement = pattern.sub(words, statement)
    numbers = count(1)
    return _PLACEHOLDER.sub(lambda found: f"${found[1] or next(numbers)}", statement)
