"""What the models that run here share: files that are checked before they are used, and onnxruntime on one thread."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol, cast

from cmc_mcp.errors import EmbedderError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

READ_CHARS_MAX: Final = 65_536
"""The most of a text that is read while looking for its first word pieces."""

_ORT_ERROR = 3  # severity of the runtime's log: it is silent below errors


class InferenceSession(Protocol):
    """The one method that we use of ``onnxruntime.InferenceSession``, which ships without types."""

    def run(self, outputs: list[str] | None, feed: Mapping[str, Array]) -> list[npt.NDArray[np.float32]]:
        """Run the graph once."""
        ...


def read_checked(folder: Traversable, name: str, expected: str) -> bytes:
    """Read a model file whose SHA-256 is known.

    Raises:
        EmbedderError: the file is missing, or is not the one that was built.
    """
    try:
        data = folder.joinpath(name).read_bytes()
    except OSError as error:
        raise EmbedderError(
            f"the model file {name} cannot be read ({type(error).__name__}); "
            "reinstall the package, or build the file with scripts/build_model.py",
            file=name,
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise EmbedderError(
            f"the model file {name} is not the one that was built: its SHA-256 is {found[:16]}…, not {expected[:16]}…; "
            "reinstall the package, or build the file with scripts/build_model.py",
            file=name,
            found=found,
            expected=expected,
        )
    return data


def open_session(model: bytes, outside: Mapping[str, Array] | None = None) -> InferenceSession:
    """Open a model from the bytes that were checked, so that nothing can change them in between.

    `outside` are constants of the graph that are not in the file, by their names; they must live as long as the session.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, which else writes a device id below ~/.cache
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a second thread was measured to cost ten times the CPU on a busy machine
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it keeps a plan of the memory for each length of text that it meets
    options.log_severity_level = _ORT_ERROR
    if outside:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in outside.values()]
        options.add_external_initializers(list(outside), values)
    return cast("InferenceSession", onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))
