"""A LangGraph agent with a long-term store: what it learns in one conversation it knows in the next, by user.

`python -m cmc_mcp.examples.langgraph_agent` runs it with fake models, offline; put your own embedding and chat model in
their place. The checkpointer holds one conversation, the store holds what outlives it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore

from cmc_mcp.adapters.langgraph import CMCStore


def node(model: BaseChatModel) -> Callable[..., dict[str, list[AnyMessage]]]:
    """Make the one step of the agent: recall, note what is to be remembered, answer."""

    def answer(state: MessagesState, config: RunnableConfig, *, store: BaseStore) -> dict[str, list[AnyMessage]]:
        namespace = ("memories", str(config.get("configurable", {})["user"]))
        said = str(state["messages"][-1].content)
        known = [str(item.value["text"]) for item in store.search(namespace, query=said, limit=3)]
        if said.lower().startswith("remember"):
            store.put(namespace, str(uuid4()), {"text": said.partition(" ")[2], "kind": "wish"})
        notes = SystemMessage("You know: " + ("; ".join(known) or "nothing yet"))
        return {"messages": [notes, model.invoke([notes, *state["messages"]])]}

    return answer


def run(folder: Path, embedding: Embeddings, model: BaseChatModel) -> list[str]:
    """Run the example in a folder; return what the agent knew at each step."""
    with CMCStore(folder / "memory.db", index={"embed": embedding, "dims": 64, "fields": ["text"]}) as store:
        builder = StateGraph(MessagesState)
        builder.add_node("answer", node(model))
        builder.add_edge(START, "answer")
        graph = builder.compile(checkpointer=InMemorySaver(), store=store)

        def say(user: str, thread: str, text: str) -> str:
            config: Any = {"configurable": {"thread_id": thread, "user": user}}
            return str(graph.invoke({"messages": [HumanMessage(text)]}, config)["messages"][-2].content)

        steps = [
            say("ana", "monday", "Remember I am allergic to walnuts"),
            say("ana", "tuesday", "What may I eat?"),
            say("anabel", "tuesday-2", "What may I eat?"),
        ]
        good = store.memory.snapshot("good")
        say("ana", "wednesday", "Remember walnuts are my favourite")  # somebody else at the keyboard
        store.memory.rollback(good.transaction)
        steps.append(say("ana", "thursday", "What may I eat?"))
        (item,) = store.search(("memories", "ana"), filter={"kind": "wish"})
        witness = store.witness(item.namespace, item.key)
        return [*steps, f"{item.value['text']}: written by {witness['writer'] if witness else 'nobody'}"]


def main() -> None:
    """Run the example with fake models and print what it says."""
    with tempfile.TemporaryDirectory() as folder:
        model = FakeListChatModel(responses=["Noted.", "Figs, but no walnuts."])
        print("\n".join(run(Path(folder), DeterministicFakeEmbedding(size=64), model)))


if __name__ == "__main__":
    main()
