"""What was superseded and is told again stays marked, behind what replaced it; and claims are ordered as the rules say."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.memory import Memory
from cmc_mcp.model.results import RIVALS_NAMED, Item
from tests.read.made import opened

CLAIM = {"subject": "app", "predicate": "runs on"}

FACTS = [
    ("We deploy to Heroku", "We deploy to Fly.io"),
    ("The wifi password is in the safe", "The wifi password is in the vault"),
    ("Maya lives in Oslo", "Maya lives in Bergen"),
    ("The limit is 10 requests", "The limit is 100 requests"),
    ("Invoices go to Lena", "Invoices go to Omar"),
    ("Die Kantine öffnet um 11 Uhr", "Die Kantine öffnet um 12 Uhr"),
    ("会議室は三階です", "会議室は五階です"),
    ("Бюджет на ремонт 4000 рублей", "Бюджет на ремонт 7000 рублей"),
    ("The wiki is open to guests", "The wiki is closed to guests"),
    ("Backups run at night", "Backups run at noon"),
]


def retyped(text: str) -> str:
    """The same words as somebody else would type them."""
    return f"  {text}. ".replace(" is ", "  is ")


def marked(items: list[Item], echo: str, newer: str) -> bool:
    """Whether an echo, where it is shown, says what superseded it, and stands behind that."""
    ids = [item.id for item in items]
    if echo not in ids:
        return True
    return newer in items[ids.index(echo)].superseded_by and newer in ids and ids.index(newer) < ids.index(echo)


@pytest.mark.parametrize("how", ["verbatim", "retyped", "other writer", "in a session"])
def test_none_of_what_was_corrected_comes_back_unmarked(memory: Memory, how: str) -> None:
    tool = memory.as_principal("tool:scraper") if how == "other writer" else memory
    old = [memory.remember(older).added[0] for older, _ in FACTS]
    new = [memory.revise(id, content=newer).added[0] for id, (_, newer) in zip(old, FACTS, strict=True)]
    for n, (older, newer) in enumerate(FACTS):
        text = retyped(older) if how == "retyped" else older
        receipt = tool.remember(text, session="s", speaker="bot") if how == "in a session" else tool.remember(text)
        (echo,) = receipt.added or receipt.restored
        assert receipt.echo_of == [old[n]]
        assert new[n] in [note.with_id for note in receipt.conflicts]
        for query in (older, newer):
            assert marked(memory.recall(query).items, echo, new[n])


def test_an_echo_ends_with_its_last_successor_and_with_the_revision(memory: Memory) -> None:
    old = memory.remember("We deploy to Heroku").added[0]
    before = memory.snapshot().snapshot
    middle = memory.revise(old, content="We deploy to Render").added[0]
    new = memory.revise(middle, content="We deploy to Fly.io").added[0]
    assert memory.remember("We deploy to Heroku").echo_of == [old]
    seq = memory.recall("x").read_point.transaction

    def superseded(**more: object) -> list[str]:
        return {item.id: item for item in memory.recall("deploy Heroku", **more).items}[old].superseded_by  # type: ignore[arg-type]

    assert superseded() == [new]  # however often what replaced it was replaced
    memory.forget(new)
    assert superseded() == [] and superseded(as_of=seq) == [new]
    assert memory.remember("We deploy to Heroku").echo_of == []
    memory.rollback(seq)
    assert superseded() == [new]
    memory.rollback(before)
    assert superseded() == []


def test_going_back_by_revising_the_successor_is_no_echo(memory: Memory) -> None:
    old = memory.remember("We deploy to Heroku").added[0]
    new = memory.revise(old, content="We deploy to Fly.io").added[0]
    back = memory.revise(new, content="We deploy to Heroku")
    assert back.restored == [old] and back.echo_of == []
    assert [item.superseded_by for item in memory.recall("deploy").items] == [[]]
    assert memory.remember("We deploy to Fly.io").echo_of == [new]  # the latest link of the circle wins
    again = memory.revise(old, content="We deploy to Fly.io")
    assert again.echo_of == []
    assert memory.remember("We deploy to Heroku").echo_of == [old]
    found = {item.id: item.superseded_by for item in memory.recall("deploy").items}
    assert found == {new: [], old: [new]}


def test_a_spelling_mended_by_a_revision_is_no_echo_of_itself(memory: Memory) -> None:
    old = memory.remember("the limit is 10").added[0]
    new = memory.revise(old, content="The limit is 10.").added[0]
    assert [item.superseded_by for item in memory.recall("limit").items] == [[]]
    told = memory.remember("The limit  is 10")
    assert told.echo_of == []  # it agrees with what stands
    assert all(not item.superseded_by for item in memory.recall("limit").items)
    assert new in [item.id for item in memory.recall("limit").items]


def test_a_superseded_claim_in_other_words_is_an_echo(memory: Memory) -> None:
    old = memory.remember("It runs on Heroku", claim={**CLAIM, "object": "Heroku"}).added[0]
    new = memory.revise(old, content="It runs on Fly.io", claim={**CLAIM, "object": "Fly.io"}).added[0]
    receipt = memory.remember("Heroku is where the thing lives", claim={**CLAIM, "object": "Heroku"})
    assert receipt.echo_of == [old]
    assert marked(memory.recall("Heroku").items, receipt.added[0], new)
    agrees = memory.remember("Fly.io is where the thing lives", claim={**CLAIM, "object": "Fly.io"})
    assert agrees.echo_of == []


@pytest.mark.parametrize(
    ("older", "newer", "retold"),
    [
        ("shop deploys to Heroku", "shop deploys to Fly.io", "SHOP deploys to HEROKU"),
        ("Die Kantine öffnet um 11 Uhr", "Die Kantine öffnet um 12 Uhr", "DIE KANTINE ÖFFNET UM 11 UHR"),
        ("Cafe\u0301 Zoe\u0301 opens at nine", "Café Zoé opens at ten", "CAFÉ ZOÉ opens at nine"),
        ("Бюджет утвердила Анна", "Бюджет утвердил Олег", "бюджет утвердила АННА"),
    ],
)
def test_what_was_corrected_comes_back_marked_in_any_case(memory: Memory, older: str, newer: str, retold: str) -> None:
    old = memory.remember(older).added[0]
    new = memory.revise(old, content=newer).added[0]
    receipt = memory.as_principal("tool:scraper").remember(retold)
    assert receipt.echo_of == [old]
    assert marked(memory.recall(retold).items, receipt.added[0], new)


def test_a_correction_of_case_alone_is_told_apart_from_what_it_corrects(memory: Memory) -> None:
    old = memory.remember("ask us about it").added[0]
    new = memory.revise(old, content="ask US about it").added[0]
    other = memory.as_principal("bob")
    told = other.remember("ask us about it")
    assert told.echo_of == [old]
    assert marked(memory.recall("ask us about it").items, told.added[0], new)
    assert other.remember("ASK US ABOUT IT").echo_of == []  # it is as near to what stands


def test_the_case_of_code_counts(memory: Memory) -> None:
    old = memory.remember("limit = Max", modality="code").added[0]
    memory.revise(old, content="limit = Min")
    assert memory.remember("LIMIT = MAX", modality="code").echo_of == []


@pytest.mark.parametrize(("one", "other"), [("Heroku", "heroku"), ("Café", "CAFE\u0301"), ("Straße", "STRASSE")])
def test_objects_that_differ_in_spelling_alone_agree(memory: Memory, one: str, other: str) -> None:
    old = memory.remember("told first", claim={**CLAIM, "object": one}, valid_from="2020-01-01").added[0]
    told = memory.remember("told again", claim={**CLAIM, "object": other}, valid_from="2021-01-01")
    assert told.conflicts == []
    assert all(not item.superseded_by and not item.conflicts for item in memory.recall("told").items)
    memory.revise(old, content="told otherwise", claim={**CLAIM, "object": "Fly.io"})
    again = memory.remember("in other words", claim={**CLAIM, "object": other})
    assert again.echo_of == [old]


def test_an_undated_statement_is_never_superseded_by_an_older_dated_one(memory: Memory) -> None:
    dated = memory.remember("on Heroku", claim={**CLAIM, "object": "Heroku"}, valid_from="2020-01-01").added[0]
    plain = memory.remember("on Fly.io", claim={**CLAIM, "object": "Fly.io"}).added[0]
    items = memory.recall("on Heroku").items
    assert [item.id for item in items] == [plain, dated]
    assert all(not item.superseded_by and item.conflicts[0].kind == "claim" for item in items)


def test_a_thousand_rivals_are_counted_and_cost_little(memory: Memory) -> None:
    def rival(n: int) -> dict[str, object]:
        return {"content": f"the app runs on {n}", "claim": {**CLAIM, "object": f"{'a long object ' * 60}{n}"}}

    receipt = memory.remember_many([rival(n) for n in range(1_000)])  # type: ignore[arg-type]
    assert receipt.more_conflicts == 1_000 * (999 - RIVALS_NAMED)
    memory.recall("which app?")
    began = time.process_time()
    answer = memory.recall("the app runs on 500", budget_tokens=2_000)
    assert time.process_time() - began < 5.0  # it was 13 s
    assert len(answer.items) == 10
    for item in answer.items:
        assert len(item.conflicts) == RIVALS_NAMED and item.more_conflicts == 999 - RIVALS_NAMED
        assert all(len(note.reason) < 160 for note in item.conflicts)


@pytest.mark.parametrize("letters", ["value ", "q7Zx", "預算的會議", "бюджет ", "ค่าใช้จ่าย", "🟢🔴🧑‍🚀"])
def test_a_note_has_at_most_forty_tokens_whatever_it_is_written_in(memory: Memory, letters: str) -> None:
    from cmc_mcp.embed import load_token_counter

    count = load_token_counter().count
    about = {"subject": (letters * 80)[:200], "predicate": (letters * 80)[:200]}
    for n in range(5):
        memory.remember(f"told {n}", claim={**about, "object": f"{n}{(letters * 200)[:800]}"}, valid_from="2020-01-01")
    items = memory.recall("told").items
    assert len(items) == 5
    for item in items:
        assert len(item.conflicts) == RIVALS_NAMED and item.more_conflicts == 1
        for note in item.conflicts:
            assert count(f"CONFLICTS with {note.with_id[:17]} ({note.reason})") <= 40


@pytest.mark.parametrize(
    ("older", "newer", "retold"),
    [
        (
            "The wifi password is in the safe",
            "The wifi password is in the vault",
            "Find the password of the wifi in the safe",
        ),
        ("Maya lives in Oslo", "Maya lives in Bergen", "Oslo is where Maya lives"),
        ("The CI uses Jenkins", "The CI uses Buildkite", "Jenkins is what our CI uses"),
    ],
)
def test_what_may_repeat_a_superseded_memory_is_marked_behind_the_newer(
    memory: Memory, older: str, newer: str, retold: str
) -> None:
    new = memory.revise(memory.remember(older).added[0], content=newer).added[0]
    echo = memory.remember(retold)
    assert echo.echo_of == []  # it is possible only
    items = {item.id: item for item in memory.recall(older).items}
    assert list(items) == [new, echo.added[0]]
    assert [(note.with_id, note.kind) for note in items[echo.added[0]].conflicts] == [(new, "possible")]
    assert not items[echo.added[0]].superseded_by


def test_who_tells_the_new_value_or_denies_the_old_one_repeats_nothing(memory: Memory) -> None:
    memory.revise(memory.remember("Maya lives in Oslo").added[0], content="Maya lives in Bergen")
    for text in ("Bergen is where Maya lives", "Maya moved from Oslo to Bergen", "The Oslo office is small"):
        memory.remember(text)
    for item in memory.recall("where does Maya live?").items:
        assert all("repeat" not in note.reason for note in item.conflicts)


# ---------------------------------------------------------------------- against naive oracles
VALUES = st.sampled_from("abc")
HELD = st.lists(st.tuples(VALUES, st.sampled_from([None, 1, 2, 3])), min_size=1, max_size=7)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HELD)
def test_claims_are_judged_pair_by_pair_as_the_rules_say(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[str, int | None]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("claims")
    with opened(folder, embedder=None) as memory:
        ids = []
        for n, (value, month) in enumerate(told):
            more = {} if month is None else {"valid_from": f"2020-0{month}-01"}
            ids.append(memory.remember(f"told {n}", claim={**CLAIM, "object": value}, **more).added[0])  # type: ignore[arg-type]
        found = {item.id: item for item in memory.recall("told", limit=10, budget_tokens=20_000).items}
        latest = {v: max((m or 0) for w, m in told if w == v) for v, _ in told}
        losers = set()
        for n, (value, month) in enumerate(told):
            item = found[ids[n]]
            rivals = {ids[k] for k, (other, _) in enumerate(told) if other != value}
            loses = month is not None and any(latest[v] > latest[value] for v in latest if v != value)
            losers |= {ids[n]} if loses else set()
            assert bool(item.superseded_by) == loses
            assert {note.with_id for note in item.conflicts} <= rivals
            assert len(item.conflicts) + item.more_conflicts == len(rivals)
            assert len(item.conflicts) == min(RIVALS_NAMED, len(rivals))
            if month is None:
                assert all(note.kind == "claim" for note in item.conflicts)
        standing = [item for item in found if item not in losers and found[item].conflicts]
        assert all(ids.index(a) > ids.index(b) for a, b in pairwise(standing))  # the later recorded first


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("revise"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("forget"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("back"), st.integers(0, 3), st.just(0)),
    ),
    max_size=8,
)
TEXTS = ["we deploy to Heroku", "we deploy to Render", "we deploy to Hetzner", "we deploy to Vercel"]


def naive(live: set[int], links: dict[tuple[int, int], int]) -> set[int]:
    """Return the texts that are superseded: take links, latest first, unless they close a circle; then look upwards."""
    above: dict[int, set[int]] = {n: set() for n in range(4)}

    def reach(n: int) -> set[int]:
        seen: set[int] = set()
        left = [n]
        while left:
            for m in above[left.pop()]:
                if m not in seen:
                    seen.add(m)
                    left.append(m)
        return seen

    for (newer, older), _ in sorted(links.items(), key=lambda entry: -entry[1]):
        if older not in reach(newer) and older != newer:
            above[older].add(newer)
    return {n for n in live if reach(n) & live}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_echoes_are_those_of_the_plain_reading(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    with opened(tmp_path_factory.mktemp("echo"), embedder=None) as memory:
        ids: dict[int, str] = {}
        live: set[int] = set()
        links: dict[tuple[int, int], int] = {}
        states = [(memory.snapshot().transaction, set[int](), dict[tuple[int, int], int]())]
        for n, (what, a, b) in enumerate(steps, 1):
            if what == "tell":
                receipt = memory.remember(TEXTS[a])
                ids.setdefault(a, (receipt.added or receipt.restored or receipt.reaffirmed)[0])
                live.add(a)
                assert bool(receipt.echo_of) == (a in naive(live, links))
            elif what == "revise" and a in live and a != b:
                receipt = memory.revise(ids[a], content=TEXTS[b])
                ids.setdefault(b, (receipt.added or receipt.restored or receipt.reaffirmed or [""])[0])
                live = live - {a} | {b}
                links = {**links, (b, a): n}
            elif what == "forget" and a in live:
                memory.forget(ids[a])
                live = live - {a}
            elif what == "back":
                seq, live, links = states[a % len(states)]
                live, links = set(live), dict(links)
                memory.rollback(seq)
            else:
                continue
            states.append((memory.recall("deploy").read_point.transaction, set(live), dict(links)))
        for seq, then, linked in [*states[1:], states[-1]]:
            found = {item.id for item in memory.recall("we deploy", as_of=seq).items if item.superseded_by}
            assert found == {ids[m] for m in naive(then, linked)}
