"""Commands that set a memory up and look after it: serve, config, doctor, demo, version."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from cmc_mcp.cli.app import CARE, DAILY, command
from cmc_mcp.cli.session import NO, session_of
from cmc_mcp.errors import InvalidInput


@command("serve", DAILY, "cmc serve --workspace auto")
def serve(
    context: typer.Context,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve streamable HTTP at this address, under /mcp, instead of stdio."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A Host header to accept; may be repeated. Beyond loopback: required."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="A browser Origin to accept; may be repeated.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who may connect: TOML or JSON with a list of tokens (see SECURITY.md). Beyond loopback: required.",
        ),
    ] = None,
    matrix_bytes: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES",
            help="How much memory a workspace's vectors may take, such as 512M (or CMC_MATRIX_BYTES; default: 2G). Past it, "
            "and with 0, the database finds the nearest: see `cmc index`.",
        ),
    ] = None,
) -> None:
    """Serve the memory to agents over MCP.

    On stdio the client starts this command itself; `cmc config` prints how. Standard output then carries the protocol
    alone. Over HTTP the address is loopback unless tokens and hosts are given.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it serves there is nothing to end in good order
    from cmc_mcp.server import serve_http, serve_stdio

    state = session_of(context)
    if not state.model:
        raise InvalidInput.at(
            "--no-model", "cannot be combined with serve: agents ask in their own words, which needs the model"
        )
    state.matrix_bytes = matrix_bytes
    configuration = state.configuration()
    if http is None:
        for name, value in (("allow-host", allow_host), ("allow-origin", allow_origin), ("token-file", token_file)):
            if value:
                raise InvalidInput.at(f"--{name}", "goes with --http only")
        serve_stdio(configuration)
        return
    host, port = address(http)
    serve_http(
        configuration,
        host=host,
        port=port,
        allowed_hosts=allow_host or (),
        allowed_origins=allow_origin or (),
        tokens=token_file,
    )


def address(text: str) -> tuple[str, int]:
    """Read HOST:PORT; the host of `:8000` and `8000` is loopback.

    Raises:
        InvalidInput: the port is missing or no port.

    >>> address("127.0.0.1:8000"), address("8000"), address("[::1]:8000")
    (('127.0.0.1', 8000), ('127.0.0.1', 8000), ('::1', 8000))
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise InvalidInput.at("--http", f"{text!r:.60} is not of the form HOST:PORT; write one such as 127.0.0.1:8000")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


@command("config", CARE, "cmc config claude-code --workspace auto")
def config(
    context: typer.Context,
    client: Annotated[
        str | None,
        typer.Argument(help="claude-desktop, claude-code, cursor or vscode; all by default.", show_default=False),
    ] = None,
) -> None:
    """Print ready-to-paste configuration for the programs that use the memory.

    The store and the workspace are visible in it: 'auto' is the repository that the client starts the server in.
    """
    from cmc_mcp.cli.clients import snippets
    from cmc_mcp.cli.show import Styled

    state = session_of(context)
    found = snippets(state, client)
    if state.json:
        state.print_json([{"client": s.client, "where": s.where, "text": s.text} for s in found])
        return
    for number, snippet in enumerate(found):
        if number:
            state.out.line()
        state.out.line(Styled(f"# {snippet.client}: ", "bold"), Styled(snippet.where, "dim"))
        state.out.text(snippet.text)


@command("doctor", CARE, "cmc doctor --deep")
def doctor(
    context: typer.Context,
    deep: Annotated[bool, typer.Option("--deep", help="Also embed every text again and compare.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Do not check the integrity of the whole store.")] = False,
) -> None:
    """Check everything, and say what to do about each finding.

    Versions, settings and where they come from, the file, the write lock, the model, the tokenizer, full text, disk
    space, what waits, and integrity. Exits with 1 when something is wrong. Changes nothing.
    """
    from cmc_mcp.cli.doctor import examine
    from cmc_mcp.cli.show import Styled

    state = session_of(context)
    with state.progress("verify") as progress:
        result = examine(state, deep=deep, quick=quick, progress=progress)
    looks = {"ok": ("✓", "green"), "note": ("!", "yellow"), "fault": ("✗", "bold red")}
    if state.json:
        state.print_json(result.lean())
    else:
        for finding in result.findings:
            mark, style = looks[finding.state]
            state.out.line(Styled(f"{mark} ", style), Styled(finding.check, "bold"), f": {finding.says}")
            if finding.do:
                state.out.line(Styled(f"    → {finding.do}", "yellow"))
        faults = sum(finding.state == "fault" for finding in result.findings)
        state.out.line(Styled("Everything is well." if result.healthy else f"{faults} of these need you.", "bold"))
    if not result.healthy:
        raise typer.Exit(NO)


@command("demo", DAILY, "cmc demo --keep ./demo")
def demo(
    context: typer.Context,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Work in this new folder, and keep the folder.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Use fewer memories and questions.")] = False,
) -> None:
    """Watch the whole job: remember, recall, correct, be poisoned, roll back, prove.

    The demo starts the real MCP server on a store of its own and drives it with the official client. Nothing of yours is touched.
    """
    from cmc_mcp.demo import run_demo

    state = session_of(context)
    result = run_demo(keep, fast=fast, quiet=state.json)
    if state.json:
        state.print_json(result.lean())
    if not result.holds:
        raise typer.Exit(NO)


@command("version", CARE, "cmc version")
def version(context: typer.Context) -> None:
    """Print the version."""
    from cmc_mcp import __version__

    state = session_of(context)
    if state.json:
        state.print_json({"version": __version__, "python": sys.version.split()[0]})
        return
    state.out.line(f"cmc {__version__}")
