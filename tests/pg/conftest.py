"""Databases for a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.pg.backend import Databases, with_database


@pytest.fixture
def url(databases: Databases, tmp_path: Path) -> str:
    """A database with tables and nothing in them."""
    return databases.of(tmp_path / "pg")


@pytest.fixture
def bare(databases: Databases) -> Iterator[str]:
    """A database with nothing in it at all."""
    name = f"cmc_bare_{os.getpid()}"
    with psycopg.connect(databases.url, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
        yield with_database(databases.url, name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
