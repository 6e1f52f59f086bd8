"""What contributors are told is so: the lock satisfies the package, the hooks and the workflow run what CI runs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import cmc_mcp
from tests.docs.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def locked(lock: str) -> dict[str, list[tuple[Requirement, list[str]]]]:
    """Return what a lock names, by name: one requirement for each environment, and its hashes."""
    out: dict[str, list[tuple[Requirement, list[str]]]] = {}
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        first, *rest = entry.replace("\\\n", "\n").split("\n")
        found = Requirement(first.strip())
        hashes = [line.strip().removeprefix("--hash=") for line in rest if line.strip()]
        out.setdefault(canonicalize_name(found.name), []).append((found, hashes))
    return out


def unmet(lock: str, wanted: Iterable[str]) -> list[str]:
    """Return the requirements that a lock does not satisfy."""
    known = locked(lock)
    out = []
    for requirement in map(Requirement, wanted):
        pinned = [next(iter(found.specifier)) for found, _ in known.get(canonicalize_name(requirement.name), [])]
        if not pinned or not all(requirement.specifier.contains(Version(pin.version)) for pin in pinned):
            out.append(str(requirement))
    return out


def wanted() -> list[str]:
    extras = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]
    return [*PROJECT["dependencies"], *extras]


def test_the_lock_satisfies_the_package_and_every_extra() -> None:
    assert unmet(LOCK, wanted()) == []


def test_a_lock_that_is_too_old_or_lacks_something_is_found_out() -> None:
    assert unmet(LOCK, ["pydantic>=999", "no-such-package"]) == ["pydantic>=999", "no-such-package"]


def test_everything_in_the_lock_is_one_version_with_hashes() -> None:
    for entries in locked(LOCK).values():
        for found, hashes in entries:
            (pin,) = found.specifier
            assert pin.operator == "==" and hashes, found
            assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), found


def test_the_lock_names_no_place_to_fetch_from() -> None:
    assert not re.search(r"://| @ |^-", LOCK, re.MULTILINE)


def test_hooks_run_what_ci_runs_and_download_nothing() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    hooks = [hook for repository in repositories for hook in repository["hooks"]]

    assert [repository["repo"] for repository in repositories] == ["local"]
    assert {hook["language"] for hook in hooks} == {"system"}
    for hook in hooks:
        assert f'"$bin/{hook["entry"].split()[0]}"' in ci, hook["id"]


def test_the_workflow_runs_what_a_contributor_runs() -> None:
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"].values()

    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]


@pytest.mark.parametrize("name", ["bug.yml", "change.yml", "config.yml"])
def test_the_forms_for_issues_can_be_read(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text(encoding="utf-8"))

    assert name == "config.yml" or {part["type"] for part in form["body"]} <= {"markdown", "textarea", "checkboxes"}


def test_the_version_is_said_once_and_again() -> None:
    assert PROJECT["version"] == cmc_mcp.__version__


def test_the_changelog_has_something_that_is_not_released() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
