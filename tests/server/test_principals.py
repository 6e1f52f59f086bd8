"""Tokens: read strictly, compared whole, never shown."""

from __future__ import annotations

import json

import anyio
import pytest

from cmc_mcp.clock import FixedClock
from cmc_mcp.environment import Configuration
from cmc_mcp.errors import AccessDenied, InvalidInput, RateLimited, StoreError
from cmc_mcp.limits import CALLS_PER_MINUTE_MAX, PRINCIPAL_CHARS_MAX
from cmc_mcp.server.principals import Principal, StaticTokens, TokenSession, load_principals
from cmc_mcp.server.session import CLIENT, Caller, LocalSession, declared
from tests.support import reach

CONFIGURATION = Configuration(store="memory.db", workspace="home")
ALICE, BOB = "a" * 24, "b" * 24


def load(file=None, **environment):
    return load_principals(CONFIGURATION, environment, file)


def test_without_tokens_there_are_no_principals():
    assert load() == ()


def test_one_token_stands_for_the_configured_workspace():
    (principal,) = load(CMC_TOKEN=ALICE)
    assert principal.caller == Caller("http", "home")


def test_a_toml_file_names_principals_and_workspaces(tmp_path):
    file = tmp_path / "tokens.toml"
    file.write_text(
        f'[[tokens]]\ntoken = "{ALICE}"\nprincipal = "alice"\nworkspace = "acme"\n'
        f'[[tokens]]\ntoken = "{BOB}"\nprincipal = "bob"\nread_only = true\nper_minute = 60\n'
    )
    assert [p.caller for p in load(CMC_TOKENS=str(file))] == [
        Caller("alice", "acme"),
        Caller("bob", "home", read_only=True, per_minute=60),
    ]


def test_a_json_file_does_too_and_a_file_that_is_given_goes_before_the_environment(tmp_path):
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"tokens": [{"token": ALICE, "principal": "alice"}]}))
    assert [p.caller for p in load(file, CMC_TOKENS="nowhere")] == [Caller("alice", "home")]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"principal": "a"}, "at least 16"),
        ({"token": "short", "principal": "a"}, "at least 16"),
        ({"token": "ü" * 24, "principal": "a"}, "ASCII"),
        ({"token": ALICE}, "principal"),
        ({"token": ALICE, "principal": "declared:x"}, "declared:"),
        ({"token": ALICE, "principal": "x" * (PRINCIPAL_CHARS_MAX + 1)}, "at most 256"),
        ({"token": ALICE, "principal": "a", "workspace": "No Such"}, "workspace"),
        ({"token": ALICE, "principal": "a", "read_only": "yes"}, "true or false"),
        ({"token": ALICE, "principal": "a", "admin": True}, "admin"),
        ({"token": ALICE, "principal": "a", "per_minute": CALLS_PER_MINUTE_MAX + 1}, "per_minute"),
        ({"token": ALICE, "principal": "a", "per_minute": -1}, "per_minute"),
        ({"token": ALICE, "principal": "a", "per_minute": True}, "per_minute"),
        ("alice", "is not an entry"),
    ],
)
def test_a_malformed_entry_is_refused_with_what_is_right_and_without_the_token(tmp_path, entry, said):
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"tokens": [entry]}))
    with pytest.raises(InvalidInput) as caught:
        load(file)
    assert said in str(caught.value)
    assert ALICE not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.toml", f"x = {ALICE}"), ("t.json", f"{{{ALICE}"), ("t.json", "[]"), ("t.json", '{"tokens": []}')],
)
def test_a_malformed_file_is_refused_without_quoting_it(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path / name)
    assert ALICE not in str(caught.value)


def test_a_file_that_is_not_there_is_said():
    with pytest.raises(StoreError, match="CMC_TOKENS"):
        load(CMC_TOKENS="/nowhere/tokens.toml")


def test_the_same_token_twice_is_refused(tmp_path):
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"tokens": [{"token": ALICE, "principal": "alice"}]}))
    with pytest.raises(InvalidInput, match="twice"):
        load(file, CMC_TOKEN=ALICE)


def test_a_token_is_shown_nowhere():
    principal = Principal(ALICE, Caller("alice", "acme"))
    tokens = StaticTokens([principal])
    access = anyio.run(tokens.verify_token, ALICE)
    assert ALICE not in repr(principal)
    assert ALICE not in repr(access)
    assert access.client_id in tokens.callers


@pytest.mark.parametrize("token", ["", ALICE[:-1], ALICE + "a", BOB, "ä" * 24])
def test_only_the_whole_token_is_known(token):
    tokens = StaticTokens([Principal(ALICE, Caller("alice", "acme"))])
    assert anyio.run(tokens.verify_token, token) is None


def test_a_request_without_a_token_has_no_caller():
    session = TokenSession(CONFIGURATION, StaticTokens([Principal(ALICE, Caller("alice", "acme"))]))
    with pytest.raises(AccessDenied):
        session.caller()


def test_a_declared_name_is_cleaned_and_bounded():
    assert declared(None) == declared(" ") == "declared:unknown"
    assert declared("cl\nau\x00de") == "declared:cl au de"
    assert len(declared("x" * 1_000)) == PRINCIPAL_CHARS_MAX
    assert declared("a\ud800b").encode()


def test_a_configured_principal_goes_before_the_declared_one():
    token = CLIENT.set("claude-code")
    try:
        assert LocalSession(Configuration("m.db", principal="alice")).caller().principal == "alice"
        assert LocalSession(Configuration("m.db")).caller().principal == "declared:claude-code"
    finally:
        CLIENT.reset(token)


def test_a_limit_of_calls_a_minute_holds_for_its_principal_alone(tmp_path):
    hasty, other = Caller("alice", "home", per_minute=3), Caller("bob", "home")
    session = TokenSession(
        Configuration(store=str(tmp_path / "memory.db")),
        StaticTokens([Principal(ALICE, hasty), Principal(BOB, other)]),
        embedder=None,
    )
    memory = session.memory(other)
    reach.store(memory)._clock = FixedClock(60_000_000)
    for _ in range(3):
        session.memory(hasty)
    with pytest.raises(RateLimited, match="try again in 60 s") as caught:
        session.memory(hasty)
    assert caught.value.fields == {"principal": "alice", "retry_after_s": 60}
    for _ in range(9):
        session.memory(other)
    session.probe()
    reach.store(memory)._clock.set_us(119_999_999)
    with pytest.raises(RateLimited, match="try again in 1 s"):
        session.memory(hasty)
    reach.store(memory)._clock.set_us(120_000_000)
    assert session.memory(hasty).status()
    session.close()
