"""Resources, completion and prompts through the official client."""

from __future__ import annotations

import json

import anyio
import pytest
from mcp_types import ResourceTemplateReference

from cmc_mcp.prompts import NAMES, load_prompts, parse
from tests.server.rig import MODES, call, data, local, refused, talk


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with local(tmp_path_factory.mktemp("resources"), principal="alice", workspace="acme") as made:
        call(made, "remember", {"content": "# Plan\r\n\r\nDrink tea. ☕\r\n", "source": "docs/a plan.md"})
        call(
            made,
            "remember",
            {"content": "Tea is from https://tea.example/?q=1", "source": "https://tea.example/a/../b?x=1#y"},
        )
        call(made, "remember", {"content": "A path of another machine", "source": "/etc/hosts"})
        yield made


def read(session, uri, mode="auto"):
    async def body(client):
        (content,) = (await client.read_resource(uri)).contents
        return content

    return talk(session, body, mode)


@pytest.mark.parametrize("mode", MODES)
def test_the_status_says_which_workspace_and_who(session, mode):
    status = json.loads(read(session, "cmc://status", mode).text)
    assert (status["workspace"], status["principal"], status["access"]) == ("acme", "alice", "read and write")
    assert status["transaction"] == 3


def test_a_memory_is_read_by_its_id(session):
    id = data(call(session, "recall", {"query": "drink tea"}))["items"][0]["id"]
    read_back = json.loads(read(session, f"cmc://atoms/{id}").text)
    assert read_back["memory"]["id"] == id
    assert read_back["versions"]


def test_a_snapshot_is_read_with_what_changed_since(session):
    first = data(call(session, "history", {}))["transactions"][-1]["snapshot"]
    read_back = json.loads(read(session, f"cmc://snapshots/{first}").text)
    assert read_back["diff"]["from_transaction"] == 1
    assert read_back["diff"]["added"]


@pytest.mark.parametrize(
    ("uri", "content"),
    [
        ("cmc://sources/docs/a%20plan.md", "# Plan\r\n\r\nDrink tea. ☕\r\n"),
        ("cmc://sources/https://tea.example/a/../b%3Fx=1%23y", "Tea is from https://tea.example/?q=1"),
        ("cmc://sources//etc/hosts", "A path of another machine"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_a_source_is_read_as_it_came_whatever_its_name(session, uri, content, mode):
    assert read(session, uri, mode).text == content


@pytest.mark.parametrize(
    "uri", ["cmc://atoms/atom_00000000", "cmc://snapshots/none", "cmc://sources/none", "cmc://none"]
)
def test_what_is_not_there_is_an_error_that_names_it(session, uri):
    error = refused(session, lambda client: client.read_resource(uri)).error
    assert error.code == -32602
    assert uri in error.message


def test_a_source_that_no_answer_can_hold_is_refused_with_another_way(session):
    call(session, "remember", {"content": "tea " * 60_000, "source": "long.txt"})
    assert "cmc show" in refused(session, lambda client: client.read_resource("cmc://sources/long.txt")).error.message


def test_the_templates_are_listed_and_the_memories_are_not(session):
    async def body(client):
        templates = (await client.list_resource_templates()).resource_templates
        return [t.uri_template for t in templates], [str(r.uri) for r in (await client.list_resources()).resources]

    assert talk(session, body) == (
        ["cmc://atoms/{id}", "cmc://snapshots/{id}", "cmc://sources/{+origin}"],
        ["cmc://status"],
    )


def test_origins_are_completed(session):
    async def body(client):
        reference = ResourceTemplateReference(type="ref/resource", uri="cmc://sources/{+origin}")
        return (await client.complete(reference, {"name": "origin", "value": "doc"})).completion.values

    assert talk(session, body) == ["docs/a plan.md"]


# ---------------------------------------------------------------------- prompts
@pytest.mark.parametrize("mode", MODES)
def test_prompts_are_listed_with_their_arguments(session, mode):
    async def body(client):
        return {
            p.name: [(a.name, a.required) for a in p.arguments or []] for p in (await client.list_prompts()).prompts
        }

    assert talk(session, body, mode) == {
        "recall_context": [("task", True)],
        "session_handoff": [("focus", False)],
        "resolve_conflict": [("first", True), ("second", True)],
        "review_changes": [("since", True)],
    }


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("recall_context", {"task": "move the shop {{since}}"}),
        ("session_handoff", {}),
        ("session_handoff", {"focus": "the move"}),
        ("resolve_conflict", {"first": "atom_1", "second": "atom_2"}),
        ("review_changes", {"since": "before the move"}),
    ],
)
def test_a_prompt_holds_its_arguments_as_they_are(session, name, arguments):
    async def body(client):
        (message,) = (await client.get_prompt(name, arguments)).messages
        return message.role, message.content.text

    role, text = talk(session, body)
    assert role == "user"
    assert all(value in text for value in arguments.values())
    places = text.count("{{") - sum(value.count("{{") for value in arguments.values())
    assert places == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("given", "said"),
    [({}, "task is required"), ({"task": " "}, "task is required"), ({"task": "x", "tsak": "y"}, "tsak")],
)
def test_a_prompt_with_wrong_arguments_is_refused_with_the_right_ones(session, given, said, mode):
    error = refused(session, lambda client: client.get_prompt("recall_context", given), mode).error
    assert error.code == -32602
    assert said in error.message


def test_every_prompt_file_is_loaded_and_names_only_tools_that_exist():
    assert [prompt.name for prompt in load_prompts()] == list(NAMES)


def test_an_argument_is_never_read_as_a_place():
    prompt = parse(
        "p",
        '+++\ntitle = "t"\ndescription = "d"\n[[arguments]]\nname = "a"\ndescription = "x"\nrequired = true\n'
        '[[arguments]]\nname = "b"\ndescription = "x"\nrequired = false\ndefault = "B"\n+++\n{{a}} and {{b}}',
    )
    messages = anyio.run(prompt.render, {"a": "{{b}}"}, None)
    assert messages[0].content.text == '"{{b}}" and B'
