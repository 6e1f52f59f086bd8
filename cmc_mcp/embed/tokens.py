"""Counting tokens for a budget, offline.

A budget must hold, so every counter errs on one side only: it returns the true count or more, never less.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from cmc_mcp.errors import CmcError, IntegrityError, NotFound

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import tiktoken

VOCABULARY_FILE: Final = "cl100k_base.tiktoken"
VOCABULARY_SHA256: Final = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"

CACHED_TEXTS_MAX: Final = 4_096
CACHED_CHARS_MAX: Final = 4_096  # a longer text is counted anew each time, so that the cache stays small

# How cl100k cuts a text into the pieces that it then encodes one by one. Source: tiktoken, `cl100k_base` (MIT).
_PIECES: Final = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)

# Places that are the end of one piece and the start of the next whatever stands around them, so that the counts of the
# two sides add up exactly: a space after any other character, a line's first character, a mark after a letter or digit.
# No alternative of `_PIECES` matches across one, and none looks ahead past one.
_CUT: Final = re.compile(
    r"(?<=\S)(?= )|(?<=\n)(?=\S)|(?<=[^\W_])(?=[!-/:-@\[-`{-~\u2026\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])"
)
_STRETCH_CHARS: Final = 2_048


class TokenCounter(Protocol):
    """A counter of tokens. Counts do not add up: the count of two joined texts may differ from the sum of their counts."""

    @property
    def name(self) -> str:
        """The name of the tokenizer, as answers report it."""
        ...

    @property
    def exact(self) -> bool:
        """Whether counts are a tokenizer's own; otherwise they are an upper bound."""
        ...

    def count(self, text: str) -> int:
        """Return the number of tokens of `text` or an upper bound, never less."""
        ...


class UpperBound:
    """A counter that bounds the tokens of a text by its UTF-8 bytes, without a vocabulary.

    The bound holds for every byte-level BPE vocabulary (cl100k and its relatives): each token stands for at least one
    byte. English prose has about four bytes to a token, so answers then fill about a quarter of a budget.

    >>> UpperBound().count("naïve")
    6
    """

    name = "bytes-upper-bound"
    exact = False

    def count(self, text: str) -> int:
        """Return the number of UTF-8 bytes; a lone surrogate counts as the three of its replacement."""
        return _byte_count(text)


class Cl100k:
    """A counter with OpenAI's cl100k_base vocabulary (`tiktoken`); call `cl100k` to make one.

    The text of a special token (``<|endoftext|>``) is ordinary text here. Counts are cached by text, for the latest
    `CACHED_TEXTS_MAX` short texts. Threads may share an instance.

    Counts are exact for all text that has a word boundary in every thousand characters. A longer unbroken run (a
    million of one letter, a megabyte of blanks) would cost the tokenizer far more than its length, so it counts as one
    token per byte: an upper bound, like `UpperBound`.
    """

    name = "cl100k_base"
    exact = True

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encoding = encoding
        self._cached = lru_cache(maxsize=CACHED_TEXTS_MAX)(self._measure)

    def count(self, text: str) -> int:
        """Return the number of tokens of `text` (more for unbroken runs; see the class)."""
        return self._cached(text) if len(text) <= CACHED_CHARS_MAX else self._measure(text)

    def _measure(self, text: str) -> int:
        total, start = 0, 0
        while len(text) - start > _STRETCH_CHARS:
            middle, end = start + _STRETCH_CHARS // 2, start + _STRETCH_CHARS
            cut = _CUT.search(text, middle, end)
            if cut is not None:
                total += self._encoded(text[start : cut.start()])
                start = cut.start()
                continue
            # An unbroken run: up to its first boundary it is ordinary text, up to the next one it is bounded.
            run = max((found.start() for found in _CUT.finditer(text, start + 1, middle)), default=start)
            after = _CUT.search(text, end)
            stop = after.start() if after is not None else len(text)
            total += self._encoded(text[start:run]) + _byte_count(text[run:stop])
            start = stop
        return total + self._encoded(text[start:])

    def _encoded(self, text: str) -> int:
        return len(self._encoding.encode_ordinary(text)) if text else 0


def cl100k(data_dir: Path | None = None) -> Cl100k:
    """Return the cl100k_base counter with the packaged vocabulary: about 0.1 s the first time, no network.

    Counters share the vocabulary but never their caches: the time of an answer must not tell one reader about another
    reader's texts.

    Args:
        data_dir: a folder with the vocabulary, in place of the package's own.

    Raises:
        NotFound: the vocabulary file cannot be read.
        IntegrityError: the vocabulary differs from the published one.

    >>> cl100k().count("hello world")
    2
    """
    return Cl100k(_bundled() if data_dir is None else _encoding(data_dir))


@lru_cache(maxsize=1)
def _bundled() -> tiktoken.Encoding:
    from importlib import resources

    return _encoding(resources.files("cmc_mcp.embed.data"))


def _encoding(folder: Traversable) -> tiktoken.Encoding:
    advice = "reinstall the package, or fetch the file with scripts/build_vocabulary.py"
    try:
        data = folder.joinpath(VOCABULARY_FILE).read_bytes()
    except OSError as error:
        kind = type(error).__name__
        raise NotFound(f"the vocabulary {VOCABULARY_FILE} cannot be read ({kind}); {advice}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != VOCABULARY_SHA256:
        message = f"the vocabulary {VOCABULARY_FILE} has the SHA-256 {found[:16]}…, not {VOCABULARY_SHA256[:16]}…"
        raise IntegrityError(f"{message}; {advice}", found=found, expected=VOCABULARY_SHA256)

    import tiktoken

    # Built here and not by `tiktoken.get_encoding`, which would look for its own copy on the network.
    return tiktoken.Encoding("cl100k_base", pat_str=_PIECES, mergeable_ranks=_ranks(data), special_tokens={})


def load_token_counter(data_dir: Path | None = None) -> TokenCounter:
    """Return the cl100k counter, or the bound by bytes if it cannot be loaded; `name` and `exact` tell which.

    >>> load_token_counter().name
    'cl100k_base'
    """
    try:
        return cl100k(data_dir)
    except (CmcError, ImportError):
        return UpperBound()


def _ranks(data: bytes) -> dict[bytes, int]:
    # One token a line: base64, a space, the rank.
    return {
        binascii.a2b_base64(token): int(rank) for token, _, rank in (line.partition(b" ") for line in data.splitlines())
    }


def _byte_count(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
