"""Each tool through the official client, in both eras: what it does, and that text and structure are each complete."""

from __future__ import annotations

import base64
import json

import jsonschema
import pytest

from cmc_mcp.read.frame import written
from cmc_mcp.server.app import INSTRUCTIONS
from cmc_mcp.tools import TOOLS
from tests.server.rig import MODES, HeldEmbedder, call, data, local, talk, text

DEPLOY = {
    "content": "The deploy target is Fly.io since June",
    "tags": {"topic": "deploy"},
    "claim": {"subject": "shop", "predicate": "deploys to", "object": "Fly.io"},
    "valid_from": "2026-06-01",
    "confidence": 0.95,
}


@pytest.fixture
def session(tmp_path):
    with local(tmp_path, principal="alice") as made:
        yield made


@pytest.mark.parametrize("mode", MODES)
def test_the_main_job_works_in_every_era(session, mode):
    async def body(client):
        first = data(await client.call_tool("remember", DEPLOY))
        snapshot = data(await client.call_tool("snapshot", {"label": f"good {mode}"}))["snapshot"]
        found = data(await client.call_tool("recall", {"query": "where is the deploy target?"}))
        poison = data(await client.call_tool("remember", {"content": f"Poison {mode}: the deploy target is evil"}))
        plan = data(await client.call_tool("rollback", {"to": f"good {mode}", "dry_run": True}))
        done = data(await client.call_tool("rollback", {"to": f"good {mode}", "digest": plan["digest"]}))
        proof = data(await client.call_tool("verify", {}))
        after = data(await client.call_tool("snapshot", {}))
        return first, found, poison, plan, done, proof, snapshot, after

    first, found, poison, plan, done, proof, snapshot, after = talk(session, body, mode)
    id = (first["added"] or first["reaffirmed"])[0]
    assert [item["id"] for item in found["items"]] == [id]
    assert [change["id"] for change in plan["diff"]["removed"]] == poison["added"]
    assert plan["dry_run"] is True
    assert "receipt" not in plan
    assert done["receipt"]["snapshot"]["after"] == snapshot == after["snapshot"]
    assert proof["holds"] is True


def test_the_list_is_the_same_each_time_and_in_each_era(session):
    async def body(client):
        return [tool.model_dump(exclude_none=True) for tool in (await client.list_tools()).tools]

    first, *others = [talk(session, body, mode) for mode in (*MODES, "auto")]
    assert all(other == first for other in others)
    assert [tool["name"] for tool in first] == [spec.name for spec in TOOLS]
    assert all(tool["output_schema"] and tool["annotations"] for tool in first)


def test_the_server_says_who_it_is_and_how_to_use_it(session):
    async def body(client):
        return client.server_info, client.instructions

    info, instructions = talk(session, body)
    assert (info.name, info.version) == ("cmc", "0.1.0")
    assert instructions == INSTRUCTIONS
    assert len(instructions.encode()) <= 2048
    assert "never instructions" in instructions


# ---------------------------------------------------------------------- text and structure
def test_recall_gives_as_text_what_the_budget_counted(session):
    for number in range(12):
        call(session, "remember", {"content": f"Note {number} about the deploy target and its history"})
    asked = {"query": "deploy target", "budget_tokens": 300, "limit": 5}
    result = call(session, "recall", asked)
    structure = data(result)
    memory = session.memory(session.caller())
    items = memory.recall(**asked, detail="concise").items
    body, _, notes = text(result).partition("\n---\n")
    assert body == written(items)
    assert structure["tokens"] <= 300
    assert structure["next_cursor"] in notes
    assert f"read at transaction {structure['read_point']['transaction']}, full text, " in notes
    assert structure["mode"]["degraded"] in notes
    assert f"{structure['tokens']} tokens" in notes


def test_pages_of_recall_follow_each_other_by_cursor(session):
    for number in range(7):
        call(session, "remember", {"content": f"Tea number {number}"})
    seen, cursor = [], None
    while True:
        page = data(call(session, "recall", {"query": "tea", "limit": 3, "cursor": cursor}))
        seen += [item["id"] for item in page["items"]]
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 7


def test_left_out_ids_are_in_both_forms(session):
    call(session, "remember", {"content": "Tea " + "leaf " * 300})
    call(session, "remember", {"content": "Tea is short"})
    call(session, "remember", {"content": "Tea is " + "very " * 50 + "hot"})
    result = call(session, "recall", {"query": "tea", "budget_tokens": 100})
    (left_out,) = data(result)["left_out"]
    size = data(result)["left_out_tokens"][left_out]
    assert f"left out: {left_out[5:11]} ({size} tokens)" in text(result)


def test_a_detailed_answer_says_in_both_forms_where_a_memory_comes_from(session):
    call(session, "remember", {**DEPLOY, "model_id": "opus", "title": "Targets"})
    result = call(session, "recall", {"query": "deploy", "detail": "detailed", "explain": True})
    item = data(result)["items"][0]
    assert item["witness"] == {"writer": "alice", "model_id": "opus", "confidence": 0.95, "band": "A"}
    for said in (
        "writer alice",
        "model_id opus",
        "title Targets",
        "#topic=deploy",
        'claim shop | "deploys to" | Fly.io',
    ):
        assert said in text(result)
    assert "stage " in text(result)
    assert data(result)["trace"]


def test_a_concise_answer_is_lean(session):
    call(session, "remember", DEPLOY)
    structure = data(call(session, "recall", {"query": "deploy"}))
    assert set(structure["items"][0]) <= {
        "id",
        "text",
        "score",
        "tags",
        "claim",
        "valid_from",
        "recorded_at",
        "witness",
    }
    assert "null" not in json.dumps(structure)
    assert "trace" not in structure


def test_conflicts_are_in_both_forms(session):
    first = data(call(session, "remember", DEPLOY))["added"][0]
    other = {**DEPLOY, "content": "The deploy target is Heroku", "claim": {**DEPLOY["claim"], "object": "Heroku"}}
    result = call(session, "remember", other)
    assert [note["with_id"] for note in data(result)["conflicts"]] == [first]
    assert first in text(result)
    result = call(session, "recall", {"query": "deploy target"})
    assert all(item["conflicts"] for item in data(result)["items"])
    assert text(result).count("CONFLICTS with") == 2


def test_a_correction_is_shown_as_one(session):
    first = data(call(session, "remember", DEPLOY))["added"][0]
    result = call(
        session,
        "revise",
        {"id": first[:12], "content": "The deploy target is Render", "valid_from": "2026-09-01", "reason": "moved"},
    )
    new = data(result)["added"][0]
    assert new in text(result)
    history = call(session, "history", {"id": first})
    assert new in data(history)["superseded_by"]
    assert f"superseded by: {new}" in text(history)
    assert "believed since transaction 1 until 2" in text(history)


def test_outcomes_of_many_are_reported_at_once_and_what_is_wrong_is_still_believed(session):
    ids = [data(call(session, "remember", {"content": f"Heron {n}"}))["added"][0] for n in range(2)]
    result = call(session, "mark", {"ids": ids, "outcome": "wrong", "reason": "a joke"})
    assert data(result)["revised"] == ids
    assert all(id in text(result) for id in ids)
    assert "still believed" in text(result)
    assert "mark:" in text(call(session, "history", {"id": ids[0]}))
    assert len(data(call(session, "recall", {"query": "heron"}))["items"]) == 2


def test_forget_by_selection_shows_its_plan_then_does_it(session):
    ids = [
        data(call(session, "remember", {"content": f"Noise {n}", "tags": {"kind": "noise"}}))["added"][0]
        for n in range(3)
    ]
    plan = call(session, "forget", {"tags": {"kind": "noise"}, "dry_run": True})
    assert sorted(data(plan)["ids"]) == sorted(ids)
    assert data(plan)["digest"] in text(plan)
    assert all(id in text(plan) for id in ids)
    done = call(session, "forget", {"tags": {"kind": "noise"}, "digest": data(plan)["digest"], "reason": "noise"})
    assert data(done)["receipt"]["snapshot"]["before"] in text(done)
    assert data(call(session, "recall", {"query": "noise"}))["items"] == []


def test_erase_needs_the_digest_of_its_plan(session):
    id = data(call(session, "remember", {"content": "A secret"}))["added"][0]
    refused = call(session, "forget", {"ids": [id], "erase": True})
    assert refused.is_error
    assert "dry_run" in text(refused)
    plan = data(call(session, "forget", {"ids": [id], "erase": True, "dry_run": True}))
    assert data(call(session, "forget", {"ids": [id], "erase": True, "digest": plan["digest"]}))["erase"] is True
    assert data(call(session, "verify"))["holds"] is True


def test_history_answers_its_four_questions_in_both_forms(session):
    call(session, "remember", {"content": "# Plan\n\nFirst step.\n", "source": "docs/plan.md", "modality": "text"})
    call(session, "snapshot", {"label": "one"})
    call(session, "remember", {"content": "# Plan\n\nFirst step, done.\n", "source": "docs/plan.md"})
    log = call(session, "history", {"limit": 1})
    assert data(log)["next_cursor"] in text(log)
    older = data(call(session, "history", {"limit": 5, "cursor": data(log)["next_cursor"]}))["transactions"]
    assert [entry["transaction"] for entry in older] == [2, 1]
    versions = call(session, "history", {"source": "docs/plan.md"})
    assert len(data(versions)["source_versions"]) == 2
    assert all(version["version"] in text(versions) for version in data(versions)["source_versions"])
    diff = call(session, "history", {"from": "one"})
    changed = data(diff)["diff"]
    assert "First step, done." in text(diff)
    assert all(entry["id"] in text(diff) for entry in (*changed["added"], *changed["removed"]))
    assert data(call(session, "history", {"from": 0, "to": 1}))["diff"]["to_transaction"] == 1


def test_verify_proves_that_a_memory_is_included_in_both_forms(session):
    id = data(call(session, "remember", DEPLOY))["added"][0]
    result = call(session, "verify", {"id": id})
    proof = data(result)["proof"]
    assert proof["id"] == id
    assert proof["log_root"] in text(result)
    assert proof["state_root"] in text(result)


def test_an_image_comes_as_base64_and_is_found_by_its_title(session):
    picture = base64.b64encode(b"\x89PNG" + bytes(range(256))).decode()
    made = {"content": picture, "modality": "image", "media_type": "image/png", "title": "Whiteboard of the sprint"}
    id = data(call(session, "remember", made))["added"][0]
    assert data(call(session, "recall", {"query": "whiteboard"}))["items"][0]["id"] == id


def test_structures_keep_to_the_published_schemas(session):
    call(session, "remember", DEPLOY)
    calls = {
        "remember": {"content": "More"}, "recall": {"query": "deploy", "detail": "detailed", "explain": True},
        "revise": {"id": data(call(session, "remember", {"content": "Less"}))["added"][0], "priority": 0.9},
        "mark": {"ids": [data(call(session, "remember", DEPLOY))["reaffirmed"][0]], "outcome": "used"},
        "forget": {"tags": {"topic": "deploy"}, "dry_run": True}, "snapshot": {"label": "here"},
        "rollback": {"to": 1, "dry_run": True}, "history": {"from": 0}, "verify": {},
    }  # fmt: skip
    for tool in TOOLS:
        structure = data(call(session, tool.name, calls[tool.name]))
        jsonschema.validate(structure, tool.output_schema)


def test_an_unsaid_principal_is_the_declared_name_of_the_client(tmp_path):
    with local(tmp_path) as session:
        call(session, "remember", DEPLOY)
        writer = data(call(session, "recall", {"query": "deploy"}))["items"][0]["witness"]["writer"]
    assert writer.startswith("declared:")
    assert writer != "declared:unknown"


def test_with_a_model_nothing_is_degraded(tmp_path):
    embedder = HeldEmbedder()
    embedder.release.set()
    with local(tmp_path, embedder=embedder) as session:
        call(session, "remember", DEPLOY)
        mode = data(call(session, "recall", {"query": "deploy"}))["mode"]
    assert mode == {"retrieval": "hybrid", "model": "held"}
