"""Every text can be cut, in every script and of every kind, and never where a reader is misled."""

from __future__ import annotations

import base64
import json
import random
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.embed.tokens import cl100k
from cmc_mcp.read.compress import ELLIPSIS, Outline, compress
from cmc_mcp.read.units import UNIT_CHARS_MAX, is_boundary, pieces, units

COUNT = cl100k().count
RNG = random.Random(5)
NEEDLE = "zebrafish"
WORDS = ("alpha", "beta", "gamma", "delta", "run", "stop", "deploy", "error", "port", "config", "user")
CLUSTERS = ("नमस्ते", "👩🏽‍💻", "e\u0301", "🇩🇪", "กำ", "\r\n", "한글", " ", "12", "a", "。", ",", "不", "\u200d")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def said(text: str) -> list[str]:
    return [text[a:b] for a, b in units(text)]


@pytest.mark.parametrize(
    "sentences",
    [
        ["今天部署到东京。", "明天不部署！", "谁批准的？"],
        ["今日は雨です。", "彼は「行く？」と聞いた。", "「もう…」って言った。", "終わり…", "そして次"],
        ["版本是３．１４。", "预算是１０００元．", "完"],
        ["오늘 배포합니다…", "내일은 안 합니다.", "누가 승인했나요?"],
        ["هل أنت هنا؟", "نعم۔", "لا نعرف."],
        ["यह परीक्षा है।", "वह नहीं है॥", "क्या हुआ?"],
        ["Բարեւ։", "Ինչ կա։"],
        ["ሰላም።", "እንዴት ነህ፧", "ደህና።"],
        ["ကောင်းပါတယ်။", "သွားမယ်၊", "လာမယ်။"],
        ["សួស្តី។", "ល្អណាស់៕", "បាទ។"],
        ["བཀྲ་ཤིས༎", "བདེ་ལེགས༎"],
        ["Dr. Smith costs 3.14, e.g. here.", "¿Qué pasa?", "Ja, z.B. so!"],
        ["Это не так.", "Кто одобрил?", "Никто…"],
        ["תאריך היעד הוא יום שני.", "מי אישר?"],
    ],
)
def test_sentences_end_where_their_script_ends_them(sentences: list[str]) -> None:
    joint = "" if any("぀" <= char <= "鿿" for char in sentences[0]) else " "
    assert said(joint.join(sentences)) == sentences


@pytest.mark.parametrize(
    "run",
    [
        "เราตกลงกันว่าจะไม่ติดตั้งระบบในวันศุกร์",
        "ພວກເຮົາຕົກລົງກັນວ່າຈະບໍ່ຕິດຕັ້ງ",
        "យើងបានព្រមព្រៀងគ្នាថានឹងមិនដំឡើង",
        "ང་ཚོས་གཏན་འབེབས་བྱས་པ་",
        "ဒီစနစ်ကိုသောကြာနေ့မှာမတပ်ဆင်ဖို့",
    ],
)
def test_long_runs_of_scripts_without_ends_are_cut_at_spaces_else_between_graphemes(run: str) -> None:
    spaced = " ".join([run] * 40)
    assert all(len(part) <= UNIT_CHARS_MAX for part in said(spaced))
    assert all(set(part.split(" ")) == {run} for part in said(spaced))
    solid = run * 40
    spans = units(solid)
    assert len(spans) > 1 and all(is_boundary(solid, a) and b - a <= UNIT_CHARS_MAX for a, b in spans)
    assert "".join(solid[a:b] for a, b in spans) == solid


def filler(n: int) -> str:
    return " ".join(RNG.choice(WORDS) for _ in range(n))


def among(parts: list[str], needle: str, joint: str) -> str:
    place = len(parts) * 2 // 3
    return joint.join([*parts[:place], needle, *parts[place:]])


def within(text: str) -> str:
    place = len(text) // 2
    while not is_boundary(text, place):
        place += 1
    return text[:place] + NEEDLE + text[place:]


KINDS: dict[str, Callable[[], str]] = {
    "log lines": lambda: among(
        [f"2024-05-01 12:{n:02d} INFO worker {filler(5)}" for n in range(60)], f"12:59 ERROR {NEEDLE} failed", "\n"
    ),
    "one-line JSON": lambda: json.dumps([{"id": n, "name": filler(3)} for n in range(60)] + [{"name": NEEDLE}]),
    "packed JSON": lambda: json.dumps(
        [{"id": n, "v": "x" * 9} for n in range(90)] + [{"v": NEEDLE}], separators=(",", ":")
    ),
    "CSV": lambda: among([f"{n},{n / 7:.3f},name{n}" for n in range(120)], f"0,1.5,{NEEDLE}", "\n"),
    "base64": lambda: within(base64.b64encode(RNG.randbytes(2400)).decode()),
    "minified code": lambda: among(
        [f"function f{n}(a,b){{return a+{n}*b}}" for n in range(90)], f"function {NEEDLE}(q){{}}", ";"
    ),
    "emoji": lambda: within("👨‍👩‍👧‍👦🙂🏽🇩🇪🇫🇷❤️" * 90),
    "minutes without line ends": lambda: among(
        [filler(9) for _ in range(50)], f"we agreed that {NEEDLE} is not shipped", " "
    ),
    "code": lambda: (
        "```py\n"
        + among([f"def f{n}(a):\n    return a * {n}" for n in range(60)], f"def {NEEDLE}(): ...", "\n")
        + "\n```"
    ),
    "XML": lambda: among([f"<row id='{n}'><v>{filler(3)}</v></row>" for n in range(60)], f"<v>{NEEDLE}</v>", ""),
    "a table": lambda: (
        "| a | b |\n|---|---|\n" + among([f"| {n} | {filler(4)} |" for n in range(60)], f"| 0 | {NEEDLE} |", "\n")
    ),
    "one letter": lambda: within("a" * 3000),
    "hex": lambda: within(RNG.randbytes(1500).hex()),
    "combining marks": lambda: within("e\u0301" * 1200),
    "Chinese without stops": lambda: among(["我们讨论了新的部署目标和预算"] * 90, f"{NEEDLE}项目", ""),
    "Thai": lambda: among(["เราได้พูดคุยเกี่ยวกับการติดตั้งระบบใหม่"] * 60, NEEDLE, " "),
    "spaces": lambda: "x" + " " * 3000 + NEEDLE + " " * 3000 + filler(400),
    "quotes": lambda: "「" * 900 + NEEDLE + "」" * 900,
    "dots": lambda: ". " * 900 + NEEDLE + " … " * 900,
    "windows lines": lambda: among([filler(6) for _ in range(90)], NEEDLE, "\r\n"),
    "a stack trace": lambda: among(
        [f'  File "a/b{n}.py", line {n}, in run\n    step({n})' for n in range(60)], f"ValueError: {NEEDLE}", "\n"
    ),
    "a URL": lambda: "https://example.org/?" + among([f"k{n}=v{n}" for n in range(300)], f"q={NEEDLE}", "&"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", [12, 40, 150])
def test_an_excerpt_of_any_kind_of_text_holds_the_match_and_keeps_to_its_target(kind: str, target: int) -> None:
    text = KINDS[kind]()
    made = compress(text, target, COUNT, words, {"where": "where", "is": "is", NEEDLE: NEEDLE})
    assert COUNT(text) > 200, "the test is about texts that are too long"
    assert NEEDLE in made.text
    assert made.tokens == COUNT(made.text) <= max(target, 30 if kind == "emoji" else 16)
    assert ELLIPSIS in made.text or made.text in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", [20, 60, 400])
def test_a_window_in_any_kind_of_text_holds_the_match_and_never_passes_its_target(kind: str, target: int) -> None:
    text = KINDS[kind]()
    asked = {"where": "where", "is": "is", NEEDLE: NEEDLE}
    made = Outline(text, COUNT, words, asked).window(target)
    assert NEEDLE in made and COUNT(made) <= target
    assert Outline(text, COUNT, words, asked).window(COUNT(text)) == text
    for least in range(1, 20):
        assert COUNT(Outline(text[:999], COUNT, words, asked).window(least)) <= least


@settings(max_examples=60, deadline=None)
@given(
    text=st.one_of(
        st.text(min_size=1, max_size=2000),
        st.lists(st.sampled_from(CLUSTERS), max_size=500).map("".join),
    ),
    size=st.integers(1, 60),
    target=st.integers(0, 80),
)  # fmt: skip
def test_cuts_are_in_order_lose_nothing_and_tear_no_grapheme(text: str, size: int, target: int) -> None:
    for spans in (units(text), units(text, code=True), pieces(text, 0, len(text), size)):
        assert all(a < b <= c < d for (a, b), (c, d) in pairwise(spans))
        outside = "".join(text[b:c] for (_, b), (c, _) in pairwise([(0, 0), *spans, (len(text), len(text))]))
        assert not outside.strip() or outside.strip() == "\ufeff" * len(outside.strip())
    for spans in (units(text), units(text, code=True)):
        assert all(is_boundary(text, b) or text[b].isspace() for _, b in spans[:-1] if len(text) < UNIT_CHARS_MAX)
    made = compress(text, target, COUNT, words, ["a", "नमस"])
    assert made.tokens == COUNT(made.text) <= made.original


def naive_boundary(text: str, place: int) -> bool:
    """Where the simplest rules of UAX 29 allow a break: not before a mark, not beside a joiner, not within a line end."""
    before, after = text[place - 1], text[place]
    return not (
        unicodedata.category(after) in ("Mn", "Me", "Mc") or "\u200d" in (before, after) or before + after == "\r\n"
    )


@given(st.lists(st.sampled_from("ae\u0301\u200d👩💻\r\nनमस्त १🇩🏽"), min_size=2, max_size=12).map("".join))
def test_a_boundary_is_never_where_the_simplest_rules_forbid_one(text: str) -> None:
    for place in range(1, len(text)):
        assert not is_boundary(text, place) or naive_boundary(text, place)


@pytest.mark.parametrize(
    "phrase",
    ["not deploy", "never deploy", "can't deploy", "ohne Freigabe", "kein Deploy", "не деплоить", "no desplegar",
     "ne déploie", "New York", "1 250 000", "5 ms", "$ 12", "不部署", "ไม่ติดตั้ง", "لا ننشر", "नहीं करते", "안 합니다"],
)  # fmt: skip
def test_a_negation_a_name_and_a_number_stay_whole(phrase: str) -> None:
    for before in range(UNIT_CHARS_MAX - 20, UNIT_CHARS_MAX):
        text = ("padding " * 80)[:before].rstrip() + " " + phrase + " later words " * 60
        start = text.index(phrase)
        inside = [b for _, b in units(text) if start < b < start + len(phrase)]
        assert not inside, text[inside[0] - 20 : inside[0] + 10]


def test_what_is_read_and_counted_grows_with_the_text_and_not_faster() -> None:
    def cost(text: str) -> float:
        seen = [0, 0]

        def count(part: str) -> int:
            seen[0] += len(part)
            return len(part) // 4 + 1

        def terms(part: str) -> list[str]:
            seen[1] += len(part)
            return words(part)

        outline = Outline(text, count, terms, [NEEDLE], original=len(text))
        for target in (10, 200, len(text) // 20):
            outline.excerpt(target)
        return sum(seen) / len(text)

    for kind, make in KINDS.items():
        text = make()
        assert cost(text * 40) < 2 * cost(text) + 12, kind
        assert len(units(text * 400)) <= 12_000, kind


def test_the_unit_that_answers_is_kept_before_more_central_ones() -> None:
    centre = "The deploy of the team was good and the team was good and the deploy was fine. "
    text = centre * 6 + "Invoice 4711 was paid by Bo. " + centre * 6
    made = compress(text, 14, COUNT, words, words("was invoice 4711 paid?"))
    assert "Invoice 4711 was paid by Bo." in made.text


def test_in_scripts_without_spaces_a_question_finds_its_sentence_by_its_letters() -> None:
    filler_ = "我们在会议上讨论了天气和午餐。大家都很高兴。时间过得很快。"
    text = filler_ * 12 + "新项目的部署目标是东京机房。" + filler_ * 12
    made = compress(text, 40, COUNT, words, ["部署目标在哪里"])
    assert "部署目标是东京机房" in made.text
