"""The vector store and the retriever beyond what the suites of LangChain ask."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.load import dumps, loads
from langchain_core.prompts import PromptTemplate, format_document

from cmc_mcp import FixedClock, Memory
from cmc_mcp.adapters.langchain import BadArgument, CMCRetriever, CMCVectorStore
from cmc_mcp.errors import CmcError, DimensionMismatch, EmbedderError, InvalidInput, LimitExceeded, StoreError
from cmc_mcp.model.entries import flatten_witness
from tests.support import reach

START_US = 1_750_000_000_000_000


class Letters(Embeddings):
    """Counts letters; a question is embedded otherwise than a text, and calls are counted."""

    model = "letters-v1"

    def __init__(self, size=16, *, fails=False):
        self.size, self.fails, self.texts, self.asked = size, fails, [], []

    def _row(self, text):
        row = [1.0] * self.size
        for char in text:
            row[ord(char) % self.size] += 1
        return row

    def embed_documents(self, texts):
        if self.fails:
            raise RuntimeError("the endpoint is down")
        self.texts += texts
        return [self._row(text) for text in texts]

    def embed_query(self, text):
        self.asked.append(text)
        return self._row(text)


@pytest.fixture
def memory(tmp_path):
    with Memory.open(
        tmp_path / "memory.db", embedder=None, principal="maya", clock=FixedClock(START_US, step_us=1_000_000)
    ) as memory:
        yield memory


@pytest.fixture
def store(memory):
    return CMCVectorStore(Letters(), memory=memory)


def ids(documents):
    return [document.id for document in documents]


# ---------------------------------------------------------------------- history
def test_an_overwrite_supersedes_and_the_earlier_wording_is_read_as_of_then(memory, store):
    store.add_texts(["The kettle is in the cellar"], [{"n": 1}], ids=["a"])
    before = memory.snapshot("before")
    store.add_texts(["The kettle is in the attic"], [{"n": 2}], ids=["a"])
    assert [d.page_content for d in store.similarity_search("kettle")] == ["The kettle is in the attic"]
    old = store.similarity_search("kettle", as_of="before")
    assert [(d.page_content, d.metadata) for d in old] == [("The kettle is in the cellar", {"n": 1})]
    first, second = store.collection.wordings("a")
    assert memory.history(first).memory.superseded_by == [second] or second in json.dumps(memory.history(first).lean())
    assert memory.verify().holds
    assert before.transaction == 1


def test_other_metadata_revise_the_same_memory(memory, store):
    store.add_texts(["kettle"], [{"n": 1, "gone": True}], ids=["a"])
    store.add_texts(["kettle"], [{"n": 2}], ids=["a"])
    assert store.get_by_ids(["a"])[0].metadata == {"n": 2}
    assert len(store.collection.wordings("a")) == 1
    assert store.similarity_search("kettle", filter={"n": 1}) == []
    assert len(store.similarity_search("kettle", filter={"n": 1}, as_of=1)) == 1
    store.add_texts(["kettle"], ids=["a"])
    assert store.get_by_ids(["a"])[0].metadata == {}


def test_an_entry_that_returns_to_an_earlier_wording_is_what_holds(memory, store):
    for text in ("cellar", "attic", "cellar"):
        store.add_texts([text], ids=["a"])
    assert [d.page_content for d in store.similarity_search("x", k=9)] == ["cellar"]
    answer = memory.recall("cellar")
    assert [item.superseded_by for item in answer.items] == [[]]


def test_delete_ends_belief_and_rollback_brings_it_back(memory, store):
    store.add_texts(["one", "two"], ids=["1", "2"])
    state = memory.snapshot()
    assert store.delete(["1", "nobody"]) is True
    assert ids(store.similarity_search("one", k=9)) == ["2"]
    assert memory.status()["transaction"] == 2
    store.delete(["1"])
    assert memory.status()["transaction"] == 2, "nothing was there, so nothing is written"
    memory.rollback(state)
    assert sorted(ids(store.similarity_search("one", k=9))) == ["1", "2"]
    assert memory.verify().holds


def test_valid_time_limits_a_document(store):
    store.add_texts(["winter hours"], ids=["h"], valid_from="2025-01-01", valid_to="2025-04-01")
    store.add_texts(["summer hours"], ids=["h"], valid_from="2025-04-01")
    assert [d.page_content for d in store.similarity_search("hours", valid_at="2025-02-01")] == ["winter hours"]
    assert [d.page_content for d in store.similarity_search("hours", valid_at="2025-06-01")] == ["summer hours"]
    assert store.similarity_search("hours", valid_at="2024-06-01") == []


def test_a_forgotten_or_erased_document_is_gone_here_too(memory, store):
    store.add_texts(["secret", "public"], ids=["s", "p"])
    atom = store.witness("s")["atom_id"]
    plan = memory.forget([atom], erase=True, dry_run=True)
    memory.forget([atom], erase=True, digest=plan.digest)
    assert ids(store.similarity_search("secret", k=9)) == ["p"]
    assert ids(store.similarity_search("secret", k=9, as_of=1)) == ["p"]
    with pytest.raises(CmcError, match="erased"):
        store.add_texts(["secret"], ids=["s"])
    store.add_texts(["another"], ids=["s"])
    assert sorted(ids(store.similarity_search("secret", k=9))) == ["p", "s"]
    assert memory.verify().holds


def test_mcp_and_the_command_line_find_what_langchain_wrote(memory, store):
    store.add_texts(["The kettle is in the cellar"], [{"room": 1}], ids=["a"])
    item = memory.recall("kettle cellar").items[0]
    assert (item.text, item.source, item.witness.writer) == (
        "The kettle is in the cellar",
        "collection:langchain",
        "maya",
    )
    assert memory.recall("kettle", source="collection:langchain").items[0].id == item.id
    memory.forget(source="collection:langchain")
    assert store.get_by_ids(["a"]) == []


# ---------------------------------------------------------------------- scores, mmr, threshold
def test_scores_are_distances_nearest_first_and_relevance_is_from_0_to_1(store):
    store.add_texts([chr(97 + n) * (n + 1) for n in range(12)])
    found = store.similarity_search_with_score("aaa", k=12)
    assert [score for _, score in found] == sorted(score for _, score in found)
    assert found[0][1] >= 0
    relevant = store.similarity_search_with_relevance_scores("aaa", k=12)
    assert all(0 <= score <= 1 for _, score in relevant)
    bar = relevant[3][1]
    kept = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": bar, "k": 12})
    assert len(kept.invoke("aaa")) == sum(score >= bar for _, score in relevant)


def test_opposite_vectors_have_relevance_0(tmp_path):
    class Signs(Letters):
        def _row(self, text):
            return [1.0, 0.0] if text == "yes" else [-1.0, 0.0]

    with CMCVectorStore(Signs(2), path=tmp_path / "m.db") as store:
        store.add_texts(["no"])
        assert store.similarity_search_with_relevance_scores("yes")[0][1] == 0.0
        assert store.similarity_search_with_score("yes")[0][1] == 2.0


def test_mmr_equals_the_textbook(store):
    import numpy as np
    from langchain_core.vectorstores.utils import maximal_marginal_relevance

    texts = ["".join(chr(97 + (n * step) % 26) for step in range(1, 9)) for n in range(30)]
    store.add_texts(texts, ids=[str(n) for n in range(30)])
    query = store.embeddings.embed_query("abcdef")
    near = store.similarity_search_by_vector(query, k=12)
    rows = [store.embeddings.embed_documents([document.page_content])[0] for document in near]
    for share in (0.0, 0.3, 0.5, 1.0):
        wanted = maximal_marginal_relevance(np.array(query), rows, lambda_mult=share, k=5)
        found = store.max_marginal_relevance_search_by_vector(query, k=5, fetch_k=12, lambda_mult=share)
        assert ids(found) == [near[place].id for place in wanted]
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 3, "fetch_k": 9, "lambda_mult": 0.2})
    assert len(retriever.invoke("abc")) == 3
    assert len(store.max_marginal_relevance_search("abc", k=2, filter=lambda document: int(document.id) < 2)) == 2


def test_filtered_search_gives_exactly_k_and_is_exact(store):
    import numpy as np

    rng = np.random.default_rng(7)
    texts = ["".join(rng.choice(list("abcdefghij"), 20)) for _ in range(300)]
    store.add_texts(texts, [{"group": n % 10} for n in range(300)], ids=[str(n) for n in range(300)])
    query = np.array(store.embeddings.embed_query("abcabc"))
    for group in range(10):
        found = store.similarity_search_with_score_by_vector(query.tolist(), k=7, filter={"group": group})
        mine = {str(n): np.array(store.embeddings._row(texts[n])) for n in range(300) if n % 10 == group}
        cosines = {n: float(row @ query / np.linalg.norm(row) / np.linalg.norm(query)) for n, row in mine.items()}
        best = sorted(cosines.values(), reverse=True)[:7]
        assert [round(1 - score, 4) for _, score in found] == [round(value, 4) for value in best]
        assert all(document.metadata == {"group": group} for document, _ in found)


# ---------------------------------------------------------------------- witness
def test_metadata_come_back_exactly_and_the_witness_on_request(store):
    store.add_texts(["kettle"], [{"page": 1, "score": 0.1, "nested": {"a": [1, None]}}], ids=["a"])
    plain = store.similarity_search("kettle")[0]
    assert plain.metadata == {"page": 1, "score": 0.1, "nested": {"a": [1, None]}}
    shown = store.similarity_search("kettle", witness="metadata")[0]
    vif = shown.metadata["vif"]
    assert vif == store.witness("a")
    assert vif["writer"] == "maya"
    assert vif["v"] == 1
    assert vif["recorded_at"].endswith("Z")
    assert shown.metadata["source"] == f"atom://{vif['atom_id']}"
    assert loads(dumps(shown), allowed_objects=[Document]) == shown
    assert Document.model_validate_json(shown.model_dump_json()) == shown
    assert all(not isinstance(value, dict) for value in flatten_witness(vif).values())
    assert store.witness("nobody") is None


def test_a_forged_witness_is_stripped_and_our_own_source_is_not_kept(store):
    store.add_documents(
        [Document("kettle", id="a", metadata={"vif": {"writer": "root"}, "source": "atom://1", "x": 1})]
    )
    assert store.get_by_ids(["a"])[0].metadata == {"x": 1}
    assert store.witness("a")["writer"] == "maya"
    store.add_documents([Document("kettle", id="b", metadata={"vif": {"v": 9}, "source": "book.pdf"})])
    assert store.get_by_ids(["b"])[0].metadata == {"source": "book.pdf"}


def test_a_round_trip_with_the_witness_on_changes_nothing(store):
    store.add_texts(["kettle"], [{"x": 1}], ids=["a"])
    again = store.similarity_search("kettle", witness="metadata")
    store.add_documents(again)
    assert store.get_by_ids(["a"])[0].metadata == {"x": 1}
    assert len(store.collection.wordings("a")) == 1


def test_citations_work_with_the_retriever(store):
    store.add_texts(["kettle in the cellar", "cat"], [{"source": "book.pdf", "title": "Rooms"}, {}], ids=["a", "b"])
    found = CMCRetriever(store=store, k=2).invoke("kettle")
    prompt = PromptTemplate.from_template("{page_content} [{source}]")
    assert format_document(found[0], prompt) == "kettle in the cellar [book.pdf]"
    assert found[0].metadata["title"] == "Rooms"
    assert all("source" in document.metadata for document in found)


# ---------------------------------------------------------------------- retriever
def test_the_retriever_takes_every_field_at_the_call_and_refuses_others(store):
    store.add_texts([f"the kettle of room {n}" for n in range(6)], [{"n": n} for n in range(6)])
    retriever = CMCRetriever(store=store, witness=False)
    assert len(retriever.invoke("kettle room", k=2)) == 2
    assert [d.metadata for d in retriever.invoke("kettle room", filter={"n": 3})] == [{"n": 3}]
    assert retriever.invoke("kettle room", as_of=0) == []
    assert len(retriever.invoke("kettle room", mode="text", k=3)) == 3
    assert len(retriever.invoke("kettle room", mode="dense", k=3)) == 3
    assert retriever.invoke("kettle room", writer="nobody") == []
    assert retriever.invoke("kettle room", filter={"vif.writer": "nobody"}) == []
    for wrong in ({"kk": 1}, {"mode": "magic"}, {"k": -1}, {"k": True}, {"filter": {"n": {"$near": 1}}}):
        with pytest.raises(InvalidInput):
            retriever.invoke("kettle", **wrong)
    with pytest.raises(ValueError):
        CMCRetriever(store=store, top_k=3)


def test_the_retriever_works_off_the_loop_and_in_a_chain(store):
    store.add_texts(["the kettle is in the cellar"])
    chain = CMCRetriever(store=store) | (lambda found: found[0].page_content)
    assert chain.invoke("kettle") == "the kettle is in the cellar"
    assert asyncio.run(chain.ainvoke("kettle")) == "the kettle is in the cellar"


# ---------------------------------------------------------------------- embeddings
def test_a_text_that_has_its_vector_is_not_embedded_again(store):
    letters = store.embeddings
    store.add_texts(["one", "two"], ids=["1", "2"])
    store.add_texts(["one", "two", "three"], ids=["1", "2", "3"])
    store.add_texts(["one"], [{"x": 1}], ids=["1"])
    assert letters.texts == ["one", "two", "three"]


def test_a_question_is_embedded_as_a_question(store):
    store.add_texts(["one"])
    store.similarity_search("first?")
    CMCRetriever(store=store).invoke("second?")
    assert store.embeddings.asked == ["first?", "second?"]


def test_the_model_is_recorded_and_another_one_is_refused(memory, store):
    store.add_texts(["one"])
    with reach.reader(memory) as view:
        assert [(row[1], row[4]) for row in view.models()] == [("Letters:letters-v1", 16)]
    for other in (Letters(8), DeterministicFakeEmbedding(size=16)):
        wrong = CMCVectorStore(other, memory=memory)
        with pytest.raises(DimensionMismatch):
            wrong.similarity_search("one")
        with pytest.raises(DimensionMismatch):
            wrong.add_texts(["two"])
    CMCVectorStore(DeterministicFakeEmbedding(size=16), memory=memory, collection="other").add_texts(["two"])
    assert len(store.similarity_search("one", k=9)) == 1


def test_a_vector_of_another_length_or_that_holds_no_numbers_is_refused(store):
    store.add_texts(["one"])
    for vector in ([1.0] * 3, [1.0] * 17):
        with pytest.raises(DimensionMismatch, match="dimensions"):
            store.similarity_search_by_vector(vector)
    for vector in ([float("nan")] * 16, ["a"] * 16, [[1.0] * 16]):
        with pytest.raises(InvalidInput):
            store.similarity_search_by_vector(vector)


def test_an_embedding_that_fails_leaves_nothing_behind(tmp_path):
    with CMCVectorStore(Letters(fails=True), path=tmp_path / "m.db") as store:
        with pytest.raises(EmbedderError, match="endpoint is down"):
            store.add_texts(["one"], ids=["1"])
        assert store.get_by_ids(["1"]) == []
        assert store.memory.status()["transaction"] == 0


def test_without_an_embedding_the_model_of_the_memory_answers(tmp_path):
    from cmc_mcp.embed.external import ExternalEmbedder

    letters = Letters()
    with Memory.open(tmp_path / "m.db", embedder=ExternalEmbedder("own", letters.embed_documents)) as memory:
        store = CMCVectorStore(memory=memory)
        store.add_texts(["one"])
        assert store.similarity_search("one")[0].page_content == "one"
        assert len(store.embeddings.embed_query("x")) == 16
        assert len(store.embeddings.embed_documents(["x", "y"])) == 2


# ---------------------------------------------------------------------- bad input
def test_arguments_that_are_none_are_refused(store):
    for call in (
        lambda: store.add_texts(["a"], ids=["1", "2"]),
        lambda: store.add_documents([Document("a")], ids="a"),
        lambda: store.add_documents([Document("a")], namespace="x"),
        lambda: store.similarity_search("a", where={"x": 1}),
        lambda: store.similarity_search("a", witness="loud"),
        lambda: store.delete(),
        lambda: CMCVectorStore(Letters()),
        lambda: CMCVectorStore(object(), memory=store.memory),
        lambda: CMCVectorStore(Letters(), memory=store.memory, principal="x"),
    ):
        with pytest.raises(ValueError):
            call()
    for k in (-1, True, 1.5, None, 10_001):
        with pytest.raises(InvalidInput):
            store.similarity_search("a", k=k)


def test_what_cannot_be_stored_is_refused_and_nothing_of_the_batch_is_kept(store):
    for document in (
        Document("a\0b", id="x"),
        Document("\ud800", id="x"),
        Document("a", id=""),
        Document("a", id="\0"),
        Document("a", id="x" * 3_000),
        Document("a", id="x", metadata={"o": object()}),
        Document("a", id="x", metadata={"o": "\ud800"}),
        Document("a", id="x", metadata={"big": "x" * 17_000_000}),
    ):
        with pytest.raises(InvalidInput) as caught:
            store.add_documents([Document("fine", id="fine"), document])
        assert caught.value.problems[0].path.startswith("entries[1].") or isinstance(caught.value, LimitExceeded)
    assert store.get_by_ids(["fine", "x"]) == []


def test_metadata_are_coerced_to_json_once(store):
    from datetime import UTC, date, datetime
    from uuid import UUID

    import numpy as np

    given = {
        "when": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), "day": date(2025, 1, 2), "pair": (1, 2), "set": {3},
        "nan": float("nan"), "id": UUID(int=1), "np": np.float64(0.5), "row": np.array([1, 2]), 7: "seven", "é": "ü",
    }  # fmt: skip
    store.add_documents([Document("a", id="x", metadata={**given})])
    expected = {
        "when": "2025-01-02T03:04:05+00:00", "day": "2025-01-02", "pair": [1, 2], "set": [3], "nan": None,
        "id": str(UUID(int=1)), "np": 0.5, "row": [1, 2], "7": "seven", "é": "ü",
    }  # fmt: skip
    assert store.get_by_ids(["x"])[0].metadata == expected
    assert len(store.similarity_search("a", filter={"when": given["when"]})) == 1


def test_empty_lists_duplicates_and_empty_texts(store):
    assert store.add_documents([]) == []
    assert store.add_texts([]) == []
    assert store.delete([]) is True
    assert store.get_by_ids([]) == []
    assert store.similarity_search("x") == []
    assert store.add_texts(["first", "last"], ids=["a", "a"]) == ["a", "a"]
    assert [d.page_content for d in store.get_by_ids(["a", "a"])] == ["last"]
    store.add_texts(["", "same", "same"], ids=["e", "s1", "s2"])
    assert store.get_by_ids(["e"])[0].page_content == ""
    assert sorted(ids(store.similarity_search("same", k=9))) == ["a", "e", "s1", "s2"]


def test_a_huge_batch_goes_in_by_the_thousand(store):
    store.add_texts([f"text {n}" for n in range(2_500)], ids=[str(n) for n in range(2_500)])
    assert store.collection.count() == 2_500
    assert store.memory.status()["transaction"] == 3
    assert store.clear() == 2_500
    assert store.collection.count() == 0


def test_what_the_caller_holds_is_not_changed(store):
    document = Document("a", metadata={"x": [1]})
    (id,) = store.add_documents([document])
    assert document == Document("a", metadata={"x": [1]})
    first = store.get_by_ids([id])[0]
    first.metadata["x"].append(2)
    assert store.get_by_ids([id])[0].metadata == {"x": [1]}


def test_a_closed_store_says_so(tmp_path):
    store = CMCVectorStore(Letters(), path=tmp_path / "m.db")
    store.add_texts(["one"])
    store.close()
    store.close()
    for call in (lambda: store.similarity_search("one"), lambda: store.add_texts(["two"]), lambda: store.delete(["1"])):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_a_store_that_is_closed_under_a_running_query_ends_in_an_answer_or_a_typed_error(tmp_path):
    store = CMCVectorStore(Letters(), path=tmp_path / "m.db")
    store.add_texts([f"text {n}" for n in range(500)])
    said, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                said.append(len(store.similarity_search("text", k=3)))
            except StoreError:
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while not said:
        time.sleep(0.001)
    store.close()
    for thread in threads:
        thread.join(10)
    stop.set()
    assert not any(thread.is_alive() for thread in threads)
    assert set(said) == {3}


# ---------------------------------------------------------------------- loops, threads, processes, reopening
class Waiting(Letters):
    """Answers only after the event loop has done something: on the loop itself it would wait for ever."""

    def __init__(self):
        super().__init__()
        self.asked_for, self.loop_moved = threading.Event(), threading.Event()

    def _row(self, text):
        self.asked_for.set()
        assert self.loop_moved.wait(20), "the event loop stood still while this ran"
        return super()._row(text)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.aadd_texts(["two"]),
        lambda store: store.aadd_documents([Document("three")]),
        lambda store: store.asimilarity_search("one"),
        lambda store: store.asimilarity_search_with_score("one"),
        lambda store: store.asimilarity_search_with_relevance_scores("one"),
        lambda store: store.amax_marginal_relevance_search("one"),
        lambda store: CMCRetriever(store=store).ainvoke("one"),
        lambda store: store.as_retriever(search_type="mmr").ainvoke("one"),
    ],
)
async def test_the_event_loop_goes_on_while_a_call_runs(tmp_path, call):
    waiting = Waiting()
    with CMCVectorStore(waiting, path=tmp_path / "m.db") as store:
        waiting.loop_moved.set()
        store.add_texts(["one"], ids=["1"])
        waiting.loop_moved.clear()
        waiting.asked_for.clear()
        running = asyncio.create_task(call(store))
        while not waiting.asked_for.is_set():
            await asyncio.sleep(0.001)
        waiting.loop_moved.set()
        assert len(await running) >= 1


async def test_the_other_asynchronous_calls_do_as_their_twins(store):
    await store.aadd_texts(["one"], ids=["1"])
    assert [document.page_content for document in await store.aget_by_ids(["1"])] == ["one"]
    assert len(await store.asimilarity_search_by_vector(store.embeddings.embed_query("one"))) == 1
    assert await store.adelete(["1"]) is True
    assert await store.aget_by_ids(["1"]) == []


def test_two_event_loops_share_a_store(store):
    for n in range(2):
        asyncio.run(store.aadd_texts([f"text {n}"]))
    assert len(asyncio.run(store.asimilarity_search("text"))) == 2


def test_eight_threads_write_and_read_at_once(store):
    def work(n):
        for step in range(10):
            store.add_texts([f"thread {n} step {step}"], [{"n": n}], ids=[f"{n}-{step}"])
            assert len(store.similarity_search("thread", k=step + 1, filter={"n": n})) == step + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert store.collection.count() == 80
    assert store.memory.verify().holds


WRITER = """
import sys
from langchain_core.embeddings import Embeddings
from cmc_mcp.adapters.langchain import CMCVectorStore

class Letters(Embeddings):
    model = "letters-v1"
    def embed_documents(self, texts):
        return [[1.0 + sum(ord(char) % 16 == n for char in text) for n in range(16)] for text in texts]
    def embed_query(self, text):
        return self.embed_documents([text])[0]

path, n = sys.argv[1], int(sys.argv[2])
with CMCVectorStore(Letters(), path=path) as store:
    for step in range(20):
        store.add_texts([f"process {n} step {step}"], [{"n": n}], ids=[f"{n}-{step}"])
"""


def test_two_processes_write_to_one_file_and_a_third_reads_them(tmp_path):
    path = tmp_path / "m.db"
    with CMCVectorStore(Letters(), path=path) as store:
        assert store.similarity_search("process") == []
        workers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(n)]) for n in range(2)]
        assert [worker.wait(60) for worker in workers] == [0, 0]
        assert len(store.similarity_search("process", k=50)) == 40
        assert len(store.similarity_search("process", k=50, filter={"n": 1})) == 20


def test_a_store_is_read_again_after_it_was_closed(tmp_path):
    with CMCVectorStore.from_texts(["one", "two"], Letters(), [{"x": 1}, {"x": 2}], path=tmp_path / "m.db") as store:
        found = store.similarity_search_with_score("one", filter={"x": 1})
    with CMCVectorStore(Letters(), path=tmp_path / "m.db") as store:
        assert store.similarity_search_with_score("one", filter={"x": 1}) == found


def test_the_sql_path_gives_the_answers_of_the_matrix(tmp_path):
    from cmc_mcp import Settings

    answers = []
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        CMCVectorStore(Letters(), memory=memory).add_texts(
            [f"text {n} {'ab' * (n % 7)}" for n in range(80)],
            [{"n": n} for n in range(80)],
            ids=[str(n) for n in range(80)],
        )
    for settings in (Settings(), Settings(matrix_bytes_max=0)):
        with Memory.open(tmp_path / "m.db", embedder=None, settings=settings) as memory:
            store = CMCVectorStore(Letters(), memory=memory)
            found = store.similarity_search_with_score("abab", k=20, filter={"n": {"$lt": 50}})
            mmr = store.max_marginal_relevance_search("abab", k=5, filter={"n": {"$lt": 50}})
            words = CMCRetriever(store=store, filter={"n": {"$lt": 50}}, witness=False).invoke("text abab", k=5)
            answers.append((found, mmr, words))
    assert answers[0] == answers[1]
    assert len(answers[0][0]) == 20


def test_equal_read_points_give_equal_answers_whatever_is_written_later(memory, store):
    store.add_texts([f"text {n}" for n in range(20)], [{"n": n} for n in range(20)], ids=[str(n) for n in range(20)])
    memory.snapshot("then")

    def ask():
        return [
            store.similarity_search_with_score(
                "text 3", k=5, filter={"n": {"$gt": 2}}, as_of="then", witness="metadata"
            ),
            CMCRetriever(store=store).invoke("text 3", as_of="then", filter={"vif.writer": "maya"}),
        ]

    before = ask()
    store.add_texts(
        [f"other {n}" for n in range(20)], [{"n": 50 + n} for n in range(20)], ids=[str(n) for n in range(20)]
    )
    store.delete(["3"])
    assert ask() == before


def test_the_package_loads_no_framework():
    code = (
        "import sys, cmc_mcp, cmc_mcp.memory, cmc_mcp.adapters;"
        " assert not {'langchain_core', 'llama_index', 'langgraph'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_sees_the_history_of_a_document(tmp_path):
    with CMCVectorStore(Letters(), path=tmp_path / "memory.db", principal="maya") as store:
        store.add_texts(["The kettle is in the cellar"], ids=["a"])
        atom = store.witness("a")["atom_id"]
        store.add_texts(["The kettle is in the attic"], ids=["a"])
    environment = {**os.environ, "CMC_STORE": str(tmp_path / "memory.db"), "CMC_CONFIG": str(tmp_path / "none.toml")}

    def cmc(*arguments):
        command = [sys.executable, "-m", "cmc_mcp", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return " ".join(done.stdout.split())

    assert "maya" in cmc("log")
    assert "cellar" in cmc("show", atom)
    assert "attic" in cmc("--no-model", "recall", "kettle")
    cmc("rollback", "1")
    with CMCVectorStore(Letters(), path=tmp_path / "memory.db") as store:
        assert [document.page_content for document in store.similarity_search("kettle")] == [
            "The kettle is in the cellar"
        ]


def test_bad_arguments_are_value_errors_and_ours():
    assert issubclass(BadArgument, ValueError)
    assert issubclass(BadArgument, CmcError)
