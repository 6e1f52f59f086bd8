"""Arguments: strict, forgiving where clients are known to be odd, and never explained in pydantic's words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmc_mcp.embed import cl100k
from cmc_mcp.errors import InvalidInput
from cmc_mcp.tools import TOOLS
from cmc_mcp.tools.tool import ToolSpec

BY_NAME = {tool.name: tool for tool in TOOLS}
# What each tool may at most take, by these names (docs/design/faces.md §1).
ALLOWED = {
    "remember": "content modality media_type source session speaker title occurred_at tags claim valid_from valid_to "
    "confidence model_id prompt_template_id tool_ids derived_from priority idempotency_key",
    "recall": "query budget_tokens limit as_of valid_at modality source writer tags min_confidence around detail explain cursor",
    "revise": "id content claim tags valid_from valid_to confidence priority reason",
    "mark": "ids outcome reason",
    "forget": "ids source tags writer since reason dry_run erase digest",
    "snapshot": "label note force",
    "rollback": "to dry_run since writer source tags digest",
    "history": "id source place from to limit cursor",
    "verify": "checkpoint id deep",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def properties(tool: ToolSpec) -> set[str]:
    return set(tool.input_schema["properties"])


def test_the_tools_and_their_arguments_are_those_of_the_contract():
    assert {tool.name: properties(tool) for tool in TOOLS} == {n: set(a.split()) for n, a in ALLOWED.items()}


def test_an_unknown_argument_is_refused_by_name_with_the_valid_ones_and_a_guess():
    with pytest.raises(InvalidInput) as caught:
        BY_NAME["recall"].read({"query": "tea", "limt": 2})
    message = str(caught.value)
    assert "limt: is an unknown argument of recall" in message
    assert "did you mean limit?" in message
    assert "budget_tokens, limit, as_of" in message


def test_an_unknown_part_of_a_claim_is_refused_with_the_parts_of_a_claim():
    with pytest.raises(InvalidInput, match="subject, predicate, object, many"):
        BY_NAME["remember"].read(
            {"content": "x", "claim": {"subject": "a", "predicate": "b", "objekt": "c", "object": "d"}}
        )


def test_every_problem_is_reported_at_once():
    with pytest.raises(InvalidInput) as caught:
        BY_NAME["recall"].read({"limit": "many", "detail": "everything", "query": 7})
    assert {problem.path for problem in caught.value.problems} == {"limit", "detail", "query"}


def test_a_missing_argument_is_said_to_be_required():
    with pytest.raises(InvalidInput, match="content: is required"):
        BY_NAME["remember"].read({})


def test_objects_and_lists_that_come_as_json_text_are_read():
    asked = BY_NAME["remember"].read({"content": "[1, 2]", "tags": '{"topic": "tea"}', "tool_ids": '["a"]'})
    assert (asked.content, asked.tags, asked.tool_ids) == ("[1, 2]", {"topic": "tea"}, ["a"])


def test_null_is_the_same_as_absent():
    assert BY_NAME["recall"].read({"query": "tea", "limit": None, "tags": None}) == BY_NAME["recall"].read(
        {"query": "tea"}
    )


def test_a_bare_number_as_a_reference_stays_a_transaction():
    assert BY_NAME["rollback"].read({"to": 5}).to == 5
    assert BY_NAME["rollback"].read({"to": "5"}).to == "5"
    assert BY_NAME["history"].read({"from": 0}).from_ == 0


@given(
    st.sampled_from(TOOLS),
    st.dictionaries(st.sampled_from(sorted(set(" ".join(ALLOWED.values()).split()))), JSON, max_size=6),
)
def test_whatever_is_sent_is_read_or_refused_in_our_words(tool, raw):
    try:
        tool.read(raw)
    except InvalidInput as error:
        assert error.problems
        assert "pydantic" not in str(error)
        assert "validation error" not in str(error)


def test_schemas_are_lean_and_closed():
    for tool in TOOLS:
        text = json.dumps(tool.input_schema)
        assert '"title": "' not in text
        assert "null" not in text
        assert "$ref" not in text
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema["type"] == "object"


def test_descriptions_say_when_and_when_not_and_give_an_example_that_is_valid():
    for tool in TOOLS:
        assert len(tool.description.encode()) <= 2048
        example = json.loads(tool.description.rpartition("Example: ")[2])
        tool.read(example)


def test_all_four_hints_are_said_and_reading_tools_are_marked_as_such():
    for tool in TOOLS:
        hints = tool.hints.annotations()
        assert None not in (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint)
    assert {t.name for t in TOOLS if t.hints.read_only} == {"recall", "history", "verify"}
    assert {t.name for t in TOOLS if t.hints.destructive} == {"forget", "rollback"}


def test_the_list_of_tools_costs_few_tokens():
    counter = cl100k()

    def cost(*parts: str) -> int:
        listed = [{part: getattr(tool, part) for part in parts} for tool in TOOLS]
        return counter.count(json.dumps(listed, ensure_ascii=False, separators=(",", ":")))

    assert cost("name", "description", "input_schema") <= 2_600
    assert cost("name", "description", "input_schema", "output_schema") <= 4_400
