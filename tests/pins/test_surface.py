"""What others rely on is what it was."""

from __future__ import annotations

import os

import pytest

from tests.pins import golden, surface, values


def test_error_codes_are_what_they_were() -> None:
    golden.check("errors.txt", surface.error_lines())


def test_commands_flags_and_defaults_are_what_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    golden.check("commands.txt", surface.command_lines())


def test_exit_codes_are_what_they_were(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CMC_") and name != golden.WRITE]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CMC_CONFIG", os.devnull)
    golden.check("exit_codes.txt", surface.exit_codes())


def test_tools_on_the_wire_and_contracts_are_what_they_were() -> None:
    golden.check("tools.txt", {**surface.contract_lines(), **surface.wire_lines()})


def test_public_names_and_signatures_are_what_they_were() -> None:
    golden.check("names.txt", surface.name_lines())


def test_migrations_are_what_they_were() -> None:
    golden.check("migrations.txt", surface.migration_lines())


def test_digests_of_requests_and_what_quarantine_keeps_are_what_they_were() -> None:
    golden.check("requests.txt", values.request_lines())


def test_digests_of_settings_are_what_they_were() -> None:
    golden.check("settings.txt", values.settings_lines())


def test_what_cursors_are_bound_to_is_what_it_was() -> None:
    golden.check("scopes.txt", values.scope_lines())
