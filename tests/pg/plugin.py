"""The backend of a test run: `--backend postgres` keeps every store in a database. For the suites too: `-p tests.pg.plugin`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import settings

POSTGRES_ONLY = ("tests/pg/",)
VARIABLE = "CMC_TEST_POSTGRES"
_EXAMPLES_MAX = 5
_STACK = pytest.StashKey[ExitStack]()
_DATABASES = pytest.StashKey[object]()


def examples(many: int, few: int) -> int:
    """Return how often something random is tried: few times where each makes a database and each look is a round trip."""
    return few if VARIABLE in os.environ else many


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", choices=("sqlite", "postgres"), default="sqlite", help="what keeps the stores")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--backend") != "postgres":
        return
    from tests.pg import backend, server

    stack = config.stash[_STACK] = ExitStack()
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if VARIABLE not in os.environ:  # by the first process; its workers inherit it
        os.environ[VARIABLE] = stack.enter_context(server.running()).url()
        stack.callback(os.environ.pop, VARIABLE)
    if worker or not config.getoption("numprocesses", None):
        prefix = f"cmc_test_{os.getppid() if worker else os.getpid()}_{worker or 'one'}"
        databases = backend.Databases(os.environ[VARIABLE], prefix)
        stack.callback(databases.close)
        backend.divert(databases)
        config.stash[_DATABASES] = databases
        config.pluginmanager.register(_PerTest(databases), "cmc-databases")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _STACK in config.stash:
        config.stash[_STACK].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--backend") != "postgres":
        _keep(config, items, lambda item: not item.nodeid.startswith(POSTGRES_ONLY))
    else:
        from tests.pg.backend import is_for_postgres

        _keep(config, items, is_for_postgres)
        _with_fewer_examples(items)
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        items[:] = slow_first(items, int(workers))


def slow_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return the tests in an order in which each worker's share begins with slow ones, so that all end together.

    `--dist worksteal` cuts the list into equal shares, and moves quick tests from the end of a share later. The slow
    tests of a module stay together: they may share what is made once.
    """
    quick = [item for item in items if item.get_closest_marker("slow") is None]
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow") is not None:
            modules.setdefault(item.path, []).append(item)
    ordered: list[pytest.Item] = []
    for number in range(workers):
        ordered += chain.from_iterable(list(modules.values())[number::workers])
        room = max(0, len(items) * (number + 1) // workers - len(ordered))
        ordered += quick[:room]
        del quick[:room]
    return ordered


def _keep(config: pytest.Config, items: list[pytest.Item], wanted: Callable[[pytest.Item], bool]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


def _with_fewer_examples(items: list[pytest.Item]) -> None:
    """Try fewer examples where each makes a database: what they are about is tried at length on the other backend."""
    for item in items:
        function = getattr(item, "obj", None)
        chosen = getattr(function, "_hypothesis_internal_use_settings", None)
        if chosen is not None:
            fewer = settings(chosen, max_examples=min(chosen.max_examples, _EXAMPLES_MAX))
            function._hypothesis_internal_use_settings = fewer  # type: ignore[union-attr]


@pytest.fixture(scope="session")
def databases(pytestconfig: pytest.Config) -> object:
    """Databases by path, for the tests that ask for them beside the seam (`tests/pg`)."""
    return pytestconfig.stash[_DATABASES]


class _PerTest:
    """Drops the databases of a test's own folder when it ends."""

    def __init__(self, databases: object) -> None:
        from tests.pg.backend import Databases

        assert isinstance(databases, Databases)
        self._databases = databases

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        try:
            return (yield)
        finally:
            if folder is not None:
                self._databases.drop(self._databases.under(folder))
