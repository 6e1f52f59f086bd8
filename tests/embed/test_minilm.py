"""The bundled model: what its vectors mean, that they are the same everywhere, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from cmc_mcp.embed import EmbeddingIdentity, MiniLM
from cmc_mcp.embed.minilm import MODEL_FILE, READ_CHARS_MAX, TOKENIZER_FILE
from cmc_mcp.errors import EmbedderError, InvalidInput
from tests.support.together import together

REFERENCE = Path(__file__).with_name("reference.json")
"""Vectors of the original fp32 weights, computed by an implementation of its own in numpy, to four places."""

TRIPLES = [
    ("Where do we deploy?", "The deploy target is Fly.io since June.", "The cat sleeps on the warm windowsill."),
    ("She adopted a puppy.", "A young dog was taken home by her.", "Interest rates rose by half a point."),
    ("How can I reset my password?", "Steps to recover a forgotten login secret", "Bake the bread for forty minutes."),
    ("The meeting was moved to Tuesday.", "We now meet on Tuesday instead.", "A prime has two divisors."),
]


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM()


def package_data() -> Path:
    with resources.as_file(resources.files("cmc_mcp.embed.data").joinpath(MODEL_FILE)) as path:
        return path.parent


def test_vectors_are_float32_rows_of_unit_length(model: MiniLM) -> None:
    rows = model.embed(["one", "two words", ""])
    assert rows.shape == (3, 384)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_no_texts_give_no_rows(model: MiniLM) -> None:
    assert model.embed([]).shape == (0, 384)


@pytest.mark.parametrize(("text", "paraphrase", "unrelated"), TRIPLES)
def test_a_paraphrase_is_nearer_than_an_unrelated_sentence(
    model: MiniLM, text: str, paraphrase: str, unrelated: str
) -> None:
    query, near, far = model.embed([text, paraphrase, unrelated])
    assert query @ near > query @ far + 0.2


def test_vectors_agree_with_those_of_the_full_precision_weights(model: MiniLM) -> None:
    reference: dict[str, list[float]] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    expected = np.array(list(reference.values()))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    cosines = (model.embed(list(reference)) * expected).sum(axis=1)
    assert cosines.min() >= 0.998


def test_a_vector_is_the_same_bytes_alone_and_in_a_batch(model: MiniLM) -> None:
    texts = [f"note {number}: " + "the build went green again " * (number % 9) for number in range(64)]
    together = model.embed(texts)
    alone = np.concatenate([model.embed([text]) for text in texts])
    assert together.tobytes() == alone.tobytes()


def test_rows_stand_in_the_order_of_the_texts(model: MiniLM) -> None:
    texts = ["a long sentence about the weather in the mountains " * 4, "short", "a middle one about weather"]
    assert (model.embed(texts)[::-1] == model.embed(texts[::-1])).all()


def test_what_stands_past_256_word_pieces_changes_nothing(model: MiniLM) -> None:
    beginning = "word " * 254
    first, second = model.embed([beginning + "cat", beginning + "dog and " * 20_000])
    assert (first == second).all()
    shorter, other = model.embed(["word " * 253 + "cat", "word " * 253 + "dog"])
    assert (shorter != other).any()


@pytest.mark.parametrize(
    "unit", ["antidisestablishmentarianism ", "語", "é́ ", "x" * 150 + " ", " \n\t word", "안녕하세요"]
)
def test_reading_only_the_beginning_of_a_long_text_gives_the_pieces_of_the_whole(model: MiniLM, unit: str) -> None:
    short = unit * (4_000 // len(unit))  # within the first window: read whole
    long = short + unit * 3_000
    padded = " " * 6_000 + long
    pieces = model.embed([unit * 2_000, long, padded])
    assert (pieces[0] == pieces[1]).all()
    assert (pieces[1] == pieces[2]).all()


def test_a_text_of_blanks_is_read_to_a_bound(model: MiniLM) -> None:
    blank, far, near = model.embed(["", " " * 20_000_000 + "x", " " * (READ_CHARS_MAX - 1) + "x"])
    assert (blank == far).all()
    assert (blank != near).any()


def test_the_tokenizers_own_marks_in_a_text_are_ordinary_words(model: MiniLM) -> None:
    marked, spaced = model.embed(["the [SEP] mark and [PAD]", "the [ SEP ] mark and [ PAD ]"])
    assert (marked == spaced).all()


def test_the_identity_is_known_before_anything_is_loaded(tmp_path: Path) -> None:
    identity = MiniLM(tmp_path).identity
    assert identity == EmbeddingIdentity(
        "sentence-transformers/all-MiniLM-L6-v2", identity.weights_digest, "int8-weights", 384, 256
    )
    assert len(identity.weights_digest) == 64


def test_a_missing_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"cannot be read .*; reinstall the package"):
        MiniLM(tmp_path).embed(["x"])


@pytest.mark.parametrize("name", [MODEL_FILE, TOKENIZER_FILE])
def test_a_file_with_one_changed_byte_is_refused(tmp_path: Path, name: str) -> None:
    for file in (MODEL_FILE, TOKENIZER_FILE):
        shutil.copyfile(package_data() / file, tmp_path / file)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(EmbedderError, match=f"{name} is not the one that was built") as caught:
        MiniLM(tmp_path).embed(["x"])
    assert caught.value.code == "embedder_unavailable"
    assert caught.value.fields["file"] == name


def test_threads_that_meet_at_the_first_call_get_the_same_vectors() -> None:
    fresh, results = MiniLM(), []
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        results.append(fresh.embed(["shared"]).tobytes())

    together(work, [()] * 4)
    assert len(results) == 4
    assert len(set(results)) == 1


def test_a_closed_model_embeds_no_more() -> None:
    model = MiniLM()
    model.embed(["x"])
    model.close()
    model.close()
    with pytest.raises(EmbedderError, match="closed"):
        model.embed(["x"])


def test_one_string_in_place_of_a_list_is_refused(model: MiniLM) -> None:
    with pytest.raises(InvalidInput, match="pass a list"):
        model.embed("abc")


def test_every_text_that_is_not_unicode_is_named(model: MiniLM) -> None:
    with pytest.raises(InvalidInput) as caught:
        model.embed(["\udc80", "fine", "naïve \ud800"])
    assert [problem.path for problem in caught.value.problems] == ["texts[0]", "texts[2]"]


def test_importing_the_package_loads_no_runtime_and_embedding_writes_nothing_to_the_terminal() -> None:
    program = (
        "import sys, cmc_mcp.embed as embed\n"
        "heavy = {'numpy', 'onnxruntime', 'tokenizers', 'tiktoken', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "embed.MiniLM().embed(['x'])\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
