"""Code that came without a media type is divided as with one, and recorded as it was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmc_mcp.memory import Memory
from cmc_mcp.write.atomize import atomize
from cmc_mcp.write.atomize.guess import media_type_of_code

PYTHON = "import os\n\n\ndef first(x):\n    a = 1\n\n    return a + x\n\n\ndef second():\n    return os.name\n"
SAMPLES = {
    "text/x-python": PYTHON,
    "text/javascript": "const a = 1;\n\nfunction f(x) {\n  let y = 1;\n\n  return x + y;\n}\n",
    "text/x-typescript": "interface A { x: string }\n\nexport const f = (a: number): void => {\n  g();\n\n  h();\n};\n",
    "text/x-go": "package main\n\nfunc main() {\n\ta := 1\n\n\tprintln(a)\n}\n",
    "text/x-rust": "use std::io;\n\nfn f() -> u8 {\n    let a = 1;\n\n    a\n}\n",
    "text/x-java": "public class A {\n    public int f() {\n        int a = 1;\n\n        return a;\n    }\n}\n",
    "text/x-c": "#include <stdio.h>\n\nint main(void) {\n    int a = 0;\n\n    return a;\n}\n",
    "text/x-c++": "template <typename T>\nT f(T a) {\n    T b = a;\n\n    return b;\n}\n",
}


@pytest.mark.parametrize("media_type", SAMPLES)
def test_a_language_is_told_by_its_text(media_type: str) -> None:
    assert media_type_of_code(SAMPLES[media_type].encode()) == media_type


@pytest.mark.parametrize("text", ["", "SELECT 1;", "10 PRINT 1", "\0\xff", "nothing of the kind", "((((" * 500])
def test_what_looks_like_no_language_stays_unknown(text: str) -> None:
    assert media_type_of_code(text.encode()) is None


@pytest.mark.parametrize("media_type", SAMPLES)
def test_code_is_divided_as_with_its_media_type(tmp_path: Path, media_type: str) -> None:
    text = SAMPLES[media_type]
    blocks = atomize(text.encode(), modality="code", media_type=media_type, origin="note:1")
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        for source in (None, "snippet"):
            added = memory.remember(text, modality="code", source=source).added
            said = [kept.text for name in added if (kept := memory.history(name).memory) is not None]
            assert said == [text.encode()[b.start : b.end].decode() for b in blocks] or len(blocks) == 1
            assert memory.remember(text, modality="code", source=source).added == []
        assert memory.verify().holds


def test_what_was_divided_at_blank_lines_stays_when_it_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Memory.open(tmp_path / "m.db", embedder=None) as memory:
        monkeypatch.setattr("cmc_mcp.write.draft.media_type_of_code", lambda _: None)  # as before there was a guess
        before = memory.remember(PYTHON, modality="code", source="snippet").added
        monkeypatch.undo()
        again = memory.remember(PYTHON, modality="code", source="snippet")
        assert again.added == [] and again.retracted == []
        assert memory.read_source("snippet") == PYTHON.encode()
        assert len(before) > 1 and memory.verify().holds
