"""Rekey: give a store another key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cmc_mcp.cli.app import PROOF, command
from cmc_mcp.cli.session import session_of, whole_file
from cmc_mcp.errors import InvalidInput


@command("rekey", PROOF, "cmc rekey --new-key-file ~/keys/memory-2027.key")
def rekey(
    context: typer.Context,
    new_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The new key: 64 hex digits or a passphrase (or CMC_NEW_KEY[_FILE])."),
    ] = None,
    decrypt: Annotated[bool, typer.Option("--decrypt", help="No key from now on: everything in the clear.")] = False,
) -> None:
    """Encrypt the store, its objects included, with another key; or for the first time.

    CMC_KEY or CMC_KEY_FILE is the present key. End the servers that use the store first. A copy under the new key is made
    beside the store and takes its place, so it needs as much space again. Cut short, the store opens with the old key, or,
    from the moment the copy was whole, with the new one. Backups made earlier keep their key; so may old blocks of a
    flash disk.
    """
    from cmc_mcp.cli.show import Styled
    from cmc_mcp.config import key_from
    from cmc_mcp.memory import Memory

    state = session_of(context)
    environment = (
        {**os.environ, "CMC_NEW_KEY": "", "CMC_NEW_KEY_FILE": str(new_key_file.expanduser())}
        if new_key_file
        else os.environ
    )
    new = key_from(environment, "CMC_NEW_KEY")
    if decrypt == (new is not None):
        raise InvalidInput.at(
            "--new-key-file",
            "give the new key (or CMC_NEW_KEY, CMC_NEW_KEY_FILE), or --decrypt for none, one of the two",
        )
    asked = state.configuration()
    path = whole_file(asked)
    with state.progress("rekey") as progress:
        Memory.rekey(path, key=asked.key, new_key=new, progress=progress)
    if state.json:
        state.print_json({"store": str(path), "encrypted": new is not None})
        return
    said = "is encrypted with the new key; the old one opens nothing" if new else "is in the clear now"
    state.out.line(Styled("✓ ", "green"), f"{path} {said}")
