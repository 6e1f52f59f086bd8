"""The tables of characters: written once, by Unicode 14, and read alike by every Python."""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from cmc_mcp.terms import characters, emoji
from cmc_mcp.terms.characters import tables

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_unicode.py"
STABLE = "e6dc955899f2037a"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("write_unicode", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_the_script_writes(script: ModuleType) -> None:
    if unicodedata.unidata_version != script.VERSION:
        pytest.skip(f"this Python has Unicode {unicodedata.unidata_version}")
    assert script.FILE.read_text(encoding="utf-8") == script.text()


def test_every_character_is_of_one_kind() -> None:
    kinds = {
        "latin": characters.LATIN,
        "cjk": characters.CJK,
        "hangul": characters.HANGUL,
        "unspaced": characters.UNSPACED,
        "other": tables().other,
        "symbols": tables().symbols,
    }
    patterns = {name: re.compile(f"[{piece}]") for name, piece in kinds.items()}
    every = re.sub(f"[{characters.IGNORED}]", "", "".join(map(chr, range(sys.maxunicode + 1))))
    seen: dict[str, str] = {}
    for name, pattern in patterns.items():
        for sign in pattern.findall(every):
            assert sign not in seen, f"U+{ord(sign):04X} is {seen[sign]} and {name}"
            seen[sign] = name
    left = [sign for sign in every if sign not in seen and unicodedata.category(sign)[0] == "L" and ord(sign) >= 0xAA]
    assert [f"U+{ord(sign):04X}" for sign in left if ord(sign) >= 0x370] == []


def test_what_is_used_of_python_s_unicode_never_changes() -> None:
    """Normal forms, case folding and names, of what Unicode 14 knows: this digest is the same on every Python."""
    unassigned = re.compile(f"[{tables().unassigned}]")
    digest = hashlib.sha256()
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        if not 0xD800 <= code <= 0xDFFF and not unassigned.match(sign):
            made = [unicodedata.normalize(form, sign) for form in ("NFC", "NFD", "NFKC")]
            digest.update("|".join((*made, sign.casefold())).encode())
    digest.update(repr(sorted(emoji.named().items())).encode())
    assert digest.hexdigest()[:16] == STABLE
    blanks = [code for code in range(sys.maxunicode + 1) if not chr(code).split()]
    assert blanks == [*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
                      0x205F, 0x3000]  # fmt: skip


def test_nothing_large_is_compiled_or_read_at_import() -> None:
    import subprocess

    code = (
        "import sys, cmc_mcp.terms.passage, cmc_mcp.terms.query, cmc_mcp.terms.near\n"
        "from cmc_mcp.terms import characters, passage\n"
        "assert 'numpy' not in sys.modules\n"
        "passage.passage_terms('plain English text, and-more of it: 1,250 getUserName')\n"
        "assert characters.tables.cache_info().misses == 0\n"
        "passage.passage_terms('café')\nassert characters.tables.cache_info().misses == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
