"""Principals over HTTP: static bearer tokens, each standing for a principal and a workspace. Tokens are never logged."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken

from cmc_mcp.environment import check_workspace, read_small
from cmc_mcp.errors import AccessDenied, InvalidInput, StoreError
from cmc_mcp.limits import CALLS_PER_MINUTE_MAX, PRINCIPAL_CHARS_MAX
from cmc_mcp.server.session import CONFIGURED, DECLARED, Caller, Model, Stores, check_rate, open_memory

if TYPE_CHECKING:
    from cmc_mcp.embed.protocol import Embedder
    from cmc_mcp.environment import Configuration
    from cmc_mcp.memory import Memory

TOKEN_CHARS_MIN: Final = 16
_FIELDS: Final = ("token", "principal", "workspace", "read_only", "per_minute")
_HELP: Final = (
    'each entry is like {"token": "…", "principal": "alice", "workspace": "acme", "read_only": true, "per_minute": 60}'
)


@dataclass(frozen=True, slots=True)
class Principal:
    """One token and whom it stands for. The token does not show in a repr."""

    token: str = field(repr=False)
    caller: Caller


def load_principals(
    configuration: Configuration, environment: Mapping[str, str] | None = None, file: Path | None = None
) -> tuple[Principal, ...]:
    """Read the tokens: a file (TOML or JSON; by default the one that CMC_TOKENS names), and CMC_TOKEN. There may be none.

    A TOML file has a `[[tokens]]` table for each; a JSON file a list under "tokens". CMC_TOKEN stands for the
    configured principal (by default "http") and the configured workspace.

    Raises:
        InvalidInput: an entry is malformed, or two are the same.
        StoreError: the file cannot be read.
    """
    env = os.environ if environment is None else environment
    found: list[Principal] = []
    if file is None and (named := env.get("CMC_TOKENS")):
        file = Path(named)
    if file is not None:
        found += _from_file(file, configuration.workspace)
    if token := env.get("CMC_TOKEN"):
        caller = Caller(configuration.principal or "http", configuration.workspace)
        found.append(Principal(_checked(token, "CMC_TOKEN"), caller))
    if len({principal.token for principal in found}) != len(found):
        raise InvalidInput.at("tokens", "the same token is given twice; each must be its own")
    return tuple(found)


def _from_file(path: Path, workspace: str) -> list[Principal]:
    try:
        text = read_small(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the tokens file {path} cannot be read; CMC_TOKENS must name a TOML or JSON file") from error
    try:
        read: object = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:  # its message could quote the file, and so a token
        raise InvalidInput.at(str(path), f"is not valid {'JSON' if path.suffix == '.json' else 'TOML'}") from error
    entries = cast("Mapping[str, object]", read).get("tokens") if isinstance(read, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InvalidInput.at(str(path), f"has no list of tokens; {_HELP}")
    return [_principal(entry, f"{path}: tokens[{number}]", workspace) for number, entry in enumerate(entries)]


def _principal(entry: object, path: str, workspace: str) -> Principal:
    if not isinstance(entry, dict):
        raise InvalidInput.at(path, f"is not an entry; {_HELP}")
    values = cast("Mapping[str, object]", entry)
    if unknown := sorted(set(values) - set(_FIELDS)):
        raise InvalidInput.at(path, f"{unknown[0]!r:.40} is an unknown field; use one of {', '.join(_FIELDS)}")
    name, read_only = values.get("principal"), values.get("read_only", False)
    if not isinstance(name, str) or not name.strip() or len(name) > PRINCIPAL_CHARS_MAX or name.startswith(DECLARED):
        raise InvalidInput.at(
            path, f"needs a principal: a name of at most {PRINCIPAL_CHARS_MAX} characters, not {DECLARED}…"
        )
    if not isinstance(read_only, bool):
        raise InvalidInput.at(path, "read_only is true or false")
    often = values.get("per_minute", 0)
    if isinstance(often, bool) or not isinstance(often, int) or not 0 <= often <= CALLS_PER_MINUTE_MAX:
        raise InvalidInput.at(
            path, f"per_minute is a number of calls up to {CALLS_PER_MINUTE_MAX:,}; 0, or nothing, sets no limit"
        )
    space = check_workspace(str(values.get("workspace", workspace)))
    return Principal(_checked(values.get("token"), path), Caller(name, space, read_only, often))


def _checked(token: object, path: str) -> str:
    if not isinstance(token, str) or len(token) < TOKEN_CHARS_MIN or not token.isascii() or not token.isprintable():
        raise InvalidInput.at(
            path, f"a token is at least {TOKEN_CHARS_MIN} printable ASCII characters; make a random one"
        )
    return token


class StaticTokens:
    """Verifies bearer tokens against those given: the SDK's TokenVerifier."""

    def __init__(self, principals: Sequence[Principal]) -> None:
        self._principals = tuple(principals)
        self.callers: dict[str, Caller] = {_client_id(p.token): p.caller for p in self._principals}

    def replace(self, principals: Sequence[Principal]) -> None:
        """Know these tokens from now on, and no others.

        Raises:
            InvalidInput: there are none: then anybody could come in, which takes a restart.
        """
        if not principals:
            raise InvalidInput.at("tokens", "are gone; give one, or restart the server without any")
        self._principals = tuple(principals)
        self.callers = {_client_id(p.token): p.caller for p in self._principals}

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the principal of a token, or None. Every known token is compared in constant time."""
        given, found = token.encode(), None
        for principal in self._principals:
            if hmac.compare_digest(given, principal.token.encode()):
                found = principal
        if found is None:
            return None
        # The client's id binds a session to its token; the token itself goes no further than here.
        return AccessToken(token="", client_id=_client_id(found.token), scopes=[], subject=found.caller.principal)


def _client_id(token: str) -> str:
    return hashlib.sha256(b"cmc/token/1\0" + token.encode()).hexdigest()[:32]


class TokenSession:
    """Many principals, each with their workspace: HTTP with tokens."""

    def __init__(
        self, configuration: Configuration, tokens: StaticTokens, *, embedder: Embedder | str | None = CONFIGURED
    ) -> None:
        self.tokens = tokens
        self._model = Model(configuration, embedder)
        self._stores = Stores(lambda caller: open_memory(configuration, caller, self._model.get()))

    def caller(self) -> Caller:
        """Return the caller whose token the present request carries."""
        token = get_access_token()
        caller = None if token is None else self.tokens.callers.get(token.client_id)
        if caller is None:
            raise AccessDenied("this request carries no token that is known here")
        return caller

    def memory(self, caller: Caller) -> Memory:
        """Return the caller's memory, for one call, which counts.

        Raises:
            RateLimited: the caller has used up the calls of this minute.
        """
        memory = self._stores.memory(caller)
        check_rate(caller, memory)
        return memory

    def probe(self) -> None:
        """Read the head from the store as the first principal, opening the store when nobody has yet."""
        self._stores.memory(next(iter(self.tokens.callers.values()))).snapshot()

    def warm(self) -> None:
        """Load the model, and import what the first call imports."""
        self._model.warm()

    def close(self) -> None:
        """Close the store."""
        self._stores.close()
