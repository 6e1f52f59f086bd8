"""A new argument is named in two places: here a test widens two verbs' models by one, and every part follows.

The facade's own signature is the other place; `test_models.py` fails when it is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cmc_mcp import Memory
from cmc_mcp.cli import options
from cmc_mcp.cli.session import Session
from cmc_mcp.errors import InvalidInput
from cmc_mcp.model.results import RecallResult
from cmc_mcp.read.query import question
from cmc_mcp.tools.schema import input_schema, parse, published
from cmc_mcp.verbs.argument import Option, argument
from cmc_mcp.verbs.models import Recall, Remember
from cmc_mcp.write.gate import decode_request, encode_request
from cmc_mcp.write.validate import validate

SHADES = ("red", "green")


class WiderRecall(Recall):
    """`recall` with one more argument."""

    shade: str = argument(
        "red", "choice", "The shade", Option("Only this shade.", "SHADE"), options=SHADES, called="shade"
    )


class WiderRemember(Remember):
    """`remember` with one more argument, and one more fact."""

    kin: str | None = argument(None, "text", "Whose", Option("Whose it is.", "NAME"), limit="SPEAKER_CHARS_MAX")
    weight: float | None = argument(None, "number", "0 to 1", Option("Its weight."), fact=True, usual=0.5)


def remembered(**given: Any) -> Any:
    return validate({"content": "a note", **given}, WiderRemember)  # type: ignore[typeddict-item]


def test_it_is_validated_with_the_others_under_its_path() -> None:
    with pytest.raises(InvalidInput) as refused:
        remembered(kin=" ", weight=7, confidence=8)
    assert refused.value.fields["paths"] == ["kin", "weight", "confidence"]
    with pytest.raises(InvalidInput, match="shade: 'blue' is not a valid shade; use one of red, green"):
        question(WiderRecall("tea", shade="blue"))
    with pytest.raises(InvalidInput, match="kin: is an unknown argument"):
        validate({"content": "a note", "kin": "maya"})  # type: ignore[typeddict-unknown-key]


def test_it_enters_digest_and_quarantine_only_when_it_is_not_the_default() -> None:
    plain = validate({"content": "a note"})
    assert remembered() == remembered(kin=None) == plain
    assert remembered().digest() == plain.digest()
    assert encode_request(remembered(kin=None), "me") == encode_request(plain, "me")
    set_ = remembered(kin="maya")
    assert len({plain.digest(), set_.digest(), remembered(kin="zoe").digest()}) == 3
    assert remembered(derived_from=["maya"]).digest() != set_.digest()
    back, writer = decode_request(encode_request(set_, "me"))
    assert (back, writer, back.further) == (set_, "me", {"kin": "maya"})


def test_a_fact_is_a_register_and_its_usual_value_an_absent_one() -> None:
    assert remembered(weight=0.25).fields == {"weight": "0.250000"}
    assert remembered(weight=0.5).fields == {"weight": None}
    assert remembered().fields == {}


def test_it_binds_a_cursor_only_when_it_is_not_the_default() -> None:
    today = question(Recall("tea")).scope("w", "s")
    assert (
        question(WiderRecall("tea")).scope("w", "s")
        == question(WiderRecall("tea", shade="red")).scope("w", "s")
        == today
    )
    assert question(WiderRecall("tea", shade="green")).scope("w", "s") == [*today, '{"shade":"green"}']


def test_the_tool_publishes_it_reads_it_and_guesses_it() -> None:
    schema: Any = deepcopy(input_schema(published(WiderRecall)))
    assert schema["properties"].pop("shade") == {
        "default": "red", "description": "The shade", "enum": ["red", "green"], "type": "string",
    }  # fmt: skip
    assert json.dumps(schema) == json.dumps(input_schema(published(Recall)))
    assert parse(WiderRecall, {"query": "tea", "shade": "green"}) == WiderRecall("tea", shade="green", detail="concise")
    with pytest.raises(InvalidInput, match="did you mean shade"):
        parse(WiderRecall, {"query": "tea", "shad": "green"})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[typer.Typer, list[WiderRecall]]]:
    """A command line of one command, that of the wider verb; and what it was asked."""
    app, seen = typer.Typer(), []
    monkeypatch.setattr(options, "command", lambda name, panel, example: app.command(name))
    options.verb(WiderRecall, "panel", "example")(lambda session, asked: seen.append(asked))

    @app.callback()
    def main(context: typer.Context) -> None:
        context.obj = Session()

    yield app, seen


def test_the_command_line_shows_it_and_hands_it_on(asked: tuple[typer.Typer, list[WiderRecall]]) -> None:
    app, seen = asked
    shown = (
        CliRunner().invoke(app, ["recall", "--help"], env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}).output
    )
    assert "--shade" in shown
    assert "Only this shade." in shown
    assert CliRunner().invoke(app, ["recall", "tea", "--shade", "green", "--limit", "3"]).exit_code == 0
    assert CliRunner().invoke(app, ["recall", "tea"]).exit_code == 0
    assert seen == [WiderRecall("tea", limit=3, shade="green"), WiderRecall("tea")]


def test_every_face_forwards_it_to_the_facade(tmp_path: Path) -> None:
    class Wider(Memory):
        def recall(self, query: str, *, shade: str = "red", **more: Any) -> RecallResult:  # type: ignore[override]
            return super().recall(f"{query} {shade}", **more)

    with Wider.open(tmp_path / "m.db", embedder=None) as memory:
        memory.remember("a green cup")
        memory.remember("a red cup")
        found = WiderRecall("cup", limit=1, shade="green").on(memory)
    assert [item.text for item in found.items] == ["a green cup"]
