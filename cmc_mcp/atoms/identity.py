"""Identity: an atom is what its id says, computed again from its parts before a reader sees anything of it."""

from __future__ import annotations

from collections.abc import Mapping

from cmc_mcp.errors import IntegrityError
from cmc_mcp.ids import Pid
from cmc_mcp.kernel.identity import atom_name
from cmc_mcp.store.rows import AtomRow, PayloadRow, checked, made_id


def parts_of(row: AtomRow) -> tuple[Pid, ...]:
    """Return the numbers of the payloads that an atom's id covers."""
    return tuple(pid for pid in row[3:8] if pid)


def prove(row: AtomRow, payloads: Mapping[Pid, PayloadRow]) -> None:
    """Compute an atom's id again from its parts (kernel.md §2), and compare.

    `payloads` has the rows of `parts_of`. What is left of an erased part is its hash, which is what the id covers.
    Whoever reads the bytes of a payload compares them with its hash (`checked`); here only the media type is read.

    Raises:
        IntegrityError: the parts are not those that the id was made of, or one is missing.
    """
    media_type = payloads.get(row.media_type)
    try:
        made = made_id(row, payloads, (media_type and checked(media_type)) or b"")
    except (LookupError, TypeError, UnicodeDecodeError):
        made = b""
    if made != row.key:
        name = atom_name(row.key)
        raise IntegrityError(
            f"{name} is not what was recorded under its id: content, origin, discriminator, witness, media type or"
            " modality was changed; run `cmc verify`",
            table="atoms",
            key=name,
            id=name,
        )
