"""Folding hides nothing: what differs in anything that carries meaning, or in who said it and when, stays an item."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_mcp.memory import Memory
from cmc_mcp.model.equality import equality_key
from cmc_mcp.model.names import name_key
from cmc_mcp.model.results import Item
from cmc_mcp.tools.recall import write
from cmc_mcp.verbs.models import Recall
from tests.read.made import opened, without_matrix

EVAL = Path(__file__).parents[2].parent / "shared" / "eval"

APART = [
    # order, who does what to whom
    ("The cat chased the dog", "The dog chased the cat"), ("Ann reports to Bob", "Bob reports to Ann"),
    ("Only Mia has the key", "Mia only has the key"), ("张三欠李四一百元", "李四欠张三一百元"),
    ("Der Hund beißt den Mann", "Den Hund beißt der Mann"), ("Kedi köpeği kovaladı", "Köpek kediyi kovaladı"),
    # negation, modal, quantifier, tense, preposition
    ("服务器已经启动", "服务器尚未启动"), ("会議は中止です", "会議は中止ではない"), ("서버가 켜져 있다", "서버가 꺼져 있다"),
    ("الخادم يعمل", "الخادم لا يعمل"), ("Сервер работает", "Сервер не работает"), ("सर्वर चालू है", "सर्वर चालू नहीं है"),
    ("เซิร์ฟเวอร์เปิดอยู่", "เซิร์ฟเวอร์ไม่เปิดอยู่"), ("Kapı açık", "Kapı açık değil"), ("Die Tür ist zu", "Die Tür war zu"),
    ("Nobody may enter", "Anybody may enter"), ("Ship it by Friday", "Ship it on Friday"), ("Er soll zahlen", "Er will zahlen"),
    ("Я купил дом", "Я куплю дом"), ("Le port est fermé", "Le port est ferme"), ("Many tests fail", "Any tests fail"),
    # words that differ in one sign
    ("Trinke in Maßen", "Trinke in Massen"), ("año nuevo", "ano nuevo"), ("ตากลม", "ตา\u200bกลม"), ("نامه ای", "نامه\u200cای"),
    ("Ilk sıra", "Ilık sıra"), ("вера", "вёра"), ("resume it", "résumé it"), ("カキ", "ガキ"), ("大人", "犬人"),
    # numbers, units, comparisons
    ("The area is 10²", "The area is 102"), ("Pay 1.000 euros", "Pay 1,000 euros"), ("It took 1 000 ms", "It took 1000 ms"),
    ("x is ½", "x is 1/2"), ("Use 5 mW", "Use 5 MW"), ("Send 5 Mb", "Send 5 mb"), ("It weighs 3 g", "It weighs 3 G"),
    ("Between 5 and 7", "Between 5 and 70"), ("Cool to -5 °C", "Cool to 5 °C"), ("Factor is 5!", "Factor is 5"),
    ("at 5′", "at 5″"), ("残り３個", "残り４個"), ("Limit ≤ 5", "Limit ≥ 5"), ("The pH is 7.0", "The pH is 7"),
    ("price is $5", "price is €5"), ("version 1.10", "version 1.1"), ("the ratio is 1:2", "the ratio is 12"),
    # case of identifiers and names
    ("Ask US about it", "Ask us about it"), ("call getUser first", "call getuser first"), ("Turn on IT", "Turn on it"),
    ("read the Polish manual", "read the polish manual"), ("Option A wins here", "Option a wins here"),
    ("set MAX_LEN first", "set max_len first"), ("open Main.java", "open main.java"), ("Ich sehe Sie", "Ich sehe sie"),
    # a first word that may be a name, a month, a noun, an identifier, or another word by its capital
    ("Foo is exported", "foo is exported"), ("May is busy", "may is busy"), ("Polish the table", "polish the table"),
    ("Turkey is on the list", "turkey is on the list"), ("Sie haben zugesagt", "sie haben zugesagt"), ("Will pays", "will pays"),
    ("March on Monday", "march on Monday"), ("Apple pie sells", "apple pie sells"), ("Lei ha ragione", "lei ha ragione"),
    ("Rust is bad for it", "rust is bad for it"), ("An is at home", "an is at home"), ("My is at home", "my is at home"),
    ("Москва ждёт", "москва ждёт"), ("De kommer i morgen", "de kommer i morgen"), ("Ist da", "ist da"),
    ("(Bill is due)", "(bill is due)"),
    ("The Office Is Closed", "the office is closed"), ("Call May Now", "call may now"), ("Weiße Rosen", "weiße Rosen"),
    ("THE plan holds", "the plan holds"), ("The-thing is on", "the-thing is on"), ("The.name is on", "the.name is on"),
    # spaces beside quotes
    ("SELECT 'a  b'", "SELECT 'a b'"), ("say “a\u3000b” twice", "say “a b” twice"), ("「a\u00a0b」と言う", "「a b」と言う"),
    ("key is 'a\u2003b'", "key is 'a b'"), ("it says ‹a  b›", "it says ‹a b›"), ("\"a  b\"", "\"a b\""), ("“a  b”", "a b"),
    ("he said 'a \nb'", "he said 'a\nb'"), ("he said 'a\n\n\nb'", "he said 'a\n\nb'"),
    # symbols, notation, questions, emoji
    ("Run it if !CI", "Run it if CI"), ("use -f", "use --f"), ("delete *.tmp", "delete .tmp"), ("a || b", "a && b"),
    ("cd ..", "cd ."), ("see build/.", "see build/"), ("ls -l", "ls -L"), ("x = 1", "x == 1"), ("key: \"True\"", "key: \"true\""),
    ("mood 👍", "mood 👎"), ("team 👨‍👩‍👧", "team 👨👩👧"), ("flag 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "flag 🏴󠁧󠁢󠁳󠁣󠁴󠁿"), ("He came.", "He came?"), ("来る", "来る？"),
    ("هل انتهى", "هل انتهى؟"), ("Ήρθε", "Ήρθε;"), ("a\tb\t\tc", "a\tb\tc"), ("a:\n  b", "a:\nb"), ("no", "no..."),
    ("He said \"go\" now", "He said go now"), ("- no\n- yes", "- no - yes"), ("`a  b`", "`a b`"), ("A.B", "AB"), ("C", "C#"),
    ("C++", "C"), ("@ann pays", "ann pays"), ("#1 is done", "1 is done"), ("it is done ✓", "it is done ✗"),
]  # fmt: skip

ALIKE = [
    ("Café Zoé opens", unicodedata.normalize("NFD", "Café Zoé opens")),
    ("We deploy daily", "we deploy daily."),
    ("We deploy daily", "We  deploy\u00a0daily "),
    ("the limit is “10”", 'the limit is "10"'),
    ("“We deploy”", "We deploy."),
    ("會議在三點。", "會議在三點"),
    ("ｶﾞｲﾄﾞは必要", "ガイドは必要"),
    ("Port ８０８０", "Port 8080"),
    ("These Are The Rules", "these Are The Rules"),
    ("When it rains, we stay", "when it rains, we stay"),
    ("Please, call Ann", "please, call Ann"),
    ("会議は\u3000三時", "会議は 三時"),
    ("1\u00a0000 ms", "1 000 ms"),
    ("data\u00adbase is up", "database is up"),
    ("\u200bthe server\u200d is up", "the server is up"),
    ("well‑known fact", "well-known fact"),
    ("\ufeffready to go", "ready to go"),
    ("한국어 문장", unicodedata.normalize("NFD", "한국어 문장")),
    ("it’s fine", "it's fine"),
]  # fmt: skip


def key(text: str) -> str:
    return equality_key(text, code=False)


def read_all(memory: Memory, query: str, **more: Any) -> list[Item]:
    answer = memory.recall(query, limit=50, budget_tokens=32_000, **more)
    items = list(answer.items)
    while answer.next_cursor is not None:
        answer = memory.recall(query, limit=50, budget_tokens=32_000, cursor=answer.next_cursor, **more)
        items += answer.items
    return items


def text_of(memory: Memory, query: str) -> str:
    asked = Recall(query=query, limit=50, budget_tokens=32_000)
    return "\n".join(write(memory.recall(query, limit=50, budget_tokens=32_000), asked))


def pairs() -> list[dict[str, Any]]:
    path = EVAL / "lookalikes" / "pairs.jsonl"
    if not path.exists():
        pytest.skip(f"there are no look-alikes at {path.parent}")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("a", "b"), APART)
def test_a_difference_that_carries_meaning_makes_another_key(a: str, b: str) -> None:
    assert key(a) != key(b)


@pytest.mark.parametrize(("a", "b"), ALIKE)
def test_how_a_text_was_typed_makes_no_other_key(a: str, b: str) -> None:
    assert key(a) == key(b)


def test_no_look_alike_has_the_key_of_the_other() -> None:
    assert [pair for pair in pairs() if not pair["same"] and key(pair["a"]) == key(pair["b"])] == []


@given(st.text(max_size=60))
def test_a_key_is_that_of_every_canonical_form_and_of_no_code(text: str) -> None:
    assert key(unicodedata.normalize("NFC", text)) == key(unicodedata.normalize("NFD", text)) == key(text)
    assert equality_key(text, code=True) == text
    assert name_key(text) == name_key(unicodedata.normalize("NFD", text)) == name_key(text.casefold())


_SIGNS = st.characters(
    exclude_categories=["Cf", "Cc", "Cs", "Cn", "Mn", "Mc", "Me", "Zs", "Zl", "Zp", "Pd", "Pi", "Pf", "Ps", "Pe"]
)


@given(
    st.text(st.sampled_from("abc XY1.,?!-\"'(é以。"), max_size=12),
    _SIGNS,
    _SIGNS,
    st.text(st.sampled_from("abc 1"), min_size=1),
)
def test_no_sign_within_a_text_can_be_put_for_another(before: str, one: str, other: str, after: str) -> None:
    alike = {name_key(unicodedata.normalize("NFKC", each)) for each in (one, other)}
    stops = {one, other} <= set(".。।۔։?؟\"'")
    if len(alike) == 2 and not stops:
        assert key(f"{before}{one}{after}") != key(f"{before}{other}{after}")


def _stored(memory: Memory, cases: list[tuple[str, str]], among: int, two: dict[str, Any]) -> None:
    if among:
        memory.remember_many([{"content": f"Shelf {n} holds box {n * 7}"} for n in range(among)])
    memory.remember_many([{"content": a} for a, _ in cases])
    other = memory.as_principal("bob") if two else memory
    other.remember_many([{"content": b, **two} for _, b in cases])  # type: ignore[typeddict-item]


TWO: list[dict[str, Any]] = [
    {}, {"tags": {"team": "red"}, "confidence": 0.95}, {"valid_from": "2026-01-01", "title": "Memo"},
]  # fmt: skip


@pytest.mark.parametrize("two", TWO, ids=str)
@pytest.mark.parametrize("among", [0, 200])
def test_both_of_every_pair_are_items_and_in_the_text(tmp_path: Path, two: dict[str, Any], among: int) -> None:
    cases = [(pair["a"], pair["b"], pair["query"]) for pair in pairs() if not pair["same"]]
    cases += [(a, b, f"{a} {b}") for a, b in APART if "\t" not in a and "\n" not in a]
    with opened(tmp_path) as memory:
        _stored(memory, [(a, b) for a, b, _ in cases], among, two)
        shown = {item.text for item in read_all(memory, "the")}
        assert all({a, b} <= shown for a, b, _ in cases)
    with opened(tmp_path, embedder=None) as memory:  # vectors that say nothing of meaning would bring others first
        for a, b, query in cases[len(two) + among // 40 :: 12]:  # by the way an agent asks
            found = {item.text for item in memory.recall(query, limit=50, budget_tokens=32_000).items}
            text = text_of(memory, query)
            assert {a, b} <= found, (a, b)
            assert a in text and b in text, (a, b)


@pytest.mark.parametrize("among", [0, 200])
def test_who_approved_shows_everybody_who_did(tmp_path: Path, among: int) -> None:
    with opened(tmp_path) as memory:
        if among:
            memory.remember_many([{"content": f"Shelf {n} holds box {n * 7}"} for n in range(among)])
        other = memory.as_principal("bob")
        turns = [
            {"session": "s", "speaker": "Ann"}, {"session": "s", "speaker": "Bob"}, {"session": "t", "speaker": "Ann"},
            {"session": "s", "speaker": "Ann", "occurred_at": "2026-05-01T00:00:00Z"},
            {"session": "s", "speaker": "Ann", "occurred_at": "2026-05-02T00:00:00Z"},
            {"source": "a.md"}, {"source": "b.md"}, {},
        ]  # fmt: skip
        ids = [memory.remember("Approved.", **more).added[0] for more in turns]  # type: ignore[arg-type]
        ids.append(other.remember("Approved.").added[0])
        for reader in (memory, without_matrix(memory)):
            items = [item for item in read_all(reader, "Who approved?") if item.text == "Approved."]
            assert sorted(item.id for item in items) == sorted(ids)
            assert not any(item.duplicates for item in items)


def test_one_stands_only_for_what_is_equal_in_all_that_is_shown(tmp_path: Path) -> None:
    claim = {"subject": "job", "predicate": "is", "object": "done", "many": True}
    with opened(tmp_path) as memory:
        more: list[dict[str, Any]] = [
            {}, {}, {"tags": {"a": "1"}}, {"tags": {"a": "2"}}, {"title": "T"}, {"claim": claim}, {"valid_from": "2026-01-01"},
            {"valid_to": "2099-01-01"}, {"confidence": 0.05}, {"confidence": 0.95}, {"confidence": 0.75},
        ]  # fmt: skip
        for n, each in enumerate(more):
            memory.remember("the job is" + " " * (n + 1) + "done", **each)
        items = read_all(memory, "job done")
        assert sorted(len(item.duplicates) for item in items) == [0] * (len(more) - 2) + [1]
        assert {item.witness.confidence for item in items if item.witness} == {None, 0.05, 0.95, 0.75}


_FIELDS = st.fixed_dictionaries(
    {"content": st.sampled_from(["It is done", "it is done.", "It is  done", "IT is done", "It is done?", "it is not done"])},
    optional={
        "tags": st.sampled_from([{"a": "1"}, {"a": "2"}]), "confidence": st.sampled_from([0.1, 0.2, 0.95]),
        "title": st.sampled_from(["T", "t"]), "valid_from": st.sampled_from(["2026-01-01", "2026-01-02"]),
        "session": st.sampled_from(["s", "t"]), "speaker": st.sampled_from(["Ann", "Bob"]),
    },
)  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_FIELDS, min_size=1, max_size=20))
def test_whatever_folds_is_equal_in_words_and_fields(
    tmp_path_factory: pytest.TempPathFactory, told: list[dict[str, Any]]
) -> None:
    with opened(tmp_path_factory.mktemp("store")) as memory:
        ids: set[str] = set()
        for each in told:
            each = {name: value for name, value in each.items() if name != "speaker" or "session" in each}
            ids.update(memory.remember(**each).added)
        items = read_all(memory, "done")
        names = [name for item in items for name in (item.id, *item.duplicates)]
        assert Counter(names) == Counter(ids)
        for item in items:
            for name in item.duplicates:
                other = memory.history(id=name).memory
                assert other is not None and item.witness is not None and other.witness is not None
                assert key(item.text) == key(other.text)
                for field in (
                    "tags",
                    "title",
                    "session",
                    "speaker",
                    "valid_from",
                    "valid_to",
                    "claim",
                    "occurred_at",
                    "source",
                ):
                    assert getattr(item, field) == getattr(other, field)
                assert (item.witness.writer, item.witness.band) == (other.witness.writer, other.witness.band)


def test_many_equal_texts_do_not_fill_a_page_and_none_is_lost(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        many: list[Any] = [{"content": "ping failed", "session": f"s{n}", "speaker": "bot"} for n in range(300)]
        many += [{"content": f"ping failed because of fan {n}"} for n in range(6)]
        memory.remember_many(many)
        first = memory.recall("ping failed", limit=10, budget_tokens=8_000)
        assert sum(item.text != "ping failed" for item in first.items) >= 5
        for reader in (memory, without_matrix(memory)):  # by the matrix, and by SQL
            items = read_all(reader, "ping failed")
            assert len(items) == len({item.id for item in items}) == 306
        few = memory.recall("ping failed", limit=3, budget_tokens=8_000)
        again = memory.recall("ping failed", limit=3, budget_tokens=8_000, cursor=few.next_cursor)
        assert [item.id for item in (*few.items, *again.items)] == [item.id for item in first.items[:6]]


@pytest.mark.parametrize("language", ["de", "he", "hi", "ja", "ru", "th", "vi", "zh"])
def test_every_fact_of_a_language_is_shown(tmp_path: Path, language: str) -> None:
    path = EVAL / "languages" / f"{language}.json"
    if not path.exists():
        pytest.skip(f"there are no languages at {path.parent}")
    data = json.loads(path.read_text())
    facts = [*data["distractors"], *(needle["text"] for needle in data["needles"])]
    with opened(tmp_path) as memory:
        memory.remember_many([{"content": text} for text in facts])
        assert {item.text for item in read_all(memory, data["needles"][0]["text"])} == set(facts)
