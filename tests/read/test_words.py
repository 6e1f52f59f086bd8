"""The lists of words: what the files must be for the code to find its words in them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from cmc_mcp.read.words import words

ROOT = Path(__file__).resolve().parents[2]


def test_every_listed_word_is_in_lower_case_and_no_list_is_empty() -> None:
    for field in fields(words()):
        found = getattr(words(), field.name)
        listed = [word for pair in found for word in pair] if field.name == "opposites" else list(found)
        assert listed and [word for word in listed if word != word.casefold()] == [], field.name


def test_a_negation_of_every_language_that_has_a_file_is_known() -> None:
    signs = {
        "en": "not",
        "de": "nicht",
        "fr": "pas",
        "es": "nunca",
        "pt": "não",
        "it": "senza",
        "ru": "нет",
        "zh": "没",
    }
    signs["ja"] = "無"
    folder = ROOT / "cmc_mcp" / "read" / "words"
    assert {file.stem for file in folder.glob("*.toml")} == set(signs)
    assert set(signs.values()) <= words().negations


def test_a_word_that_is_a_month_or_a_day_too_is_one() -> None:
    known = words()
    assert known.months_too <= set(known.months)
    assert known.dates_too <= {*known.months, *known.days}


def test_the_lists_are_read_when_they_are_asked_for_and_not_before() -> None:
    code = (
        "import cmc_mcp.memory, cmc_mcp.read.words as lists\n"
        "assert lists.words.cache_info().misses == 0\nlists.words(), lists.words()\n"
        "assert lists.words.cache_info().misses == 1"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
