"""Nothing that is tracked names what only one machine has, or leaves something for later."""

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

# Written in two parts, so that this file does not name them either.
FORBIDDEN = {
    "a path of one machine": re.compile(rb"/" + rb"work/"),
    "something left for later": re.compile(rb"\b(TO" + rb"DO|FIX" + rb"ME)\b"),
    "a home directory": re.compile(rb"/(home|Users)/[a-z]+/"),
}
LOCK_FILES = {"requirements.txt", "requirements-dev.txt", "sandbox/azurite/package-lock.json"}
URL = re.compile(rb"https?://([A-Za-z0-9.-]+)")
REGISTRY = re.compile(rb"(pypi|npmjs|registry|files\.pythonhosted|artifactory|nexus|verdaccio|devpi)", re.I)


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True
    ).stdout.decode()
    return [path for name in listed.split("\0") if name and (path := REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    return {path.relative_to(REPOSITORY).as_posix(): path.read_bytes() for path in tracked()}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_has(contents: dict[str, bytes], what: str) -> None:
    assert contents
    assert [name for name, content in contents.items() if FORBIDDEN[what].search(content)] == []


def test_no_file_names_the_host_of_a_registry(contents: dict[str, bytes]) -> None:
    """Packages come from wherever pip and npm are configured to look."""
    found = {
        name: hosts
        for name, content in contents.items()
        if (hosts := {host for host in URL.findall(content) if REGISTRY.search(host)})
    }
    assert found == {}


@pytest.mark.parametrize("name", sorted(LOCK_FILES))
def test_lock_files_pin_by_hash(contents: dict[str, bytes], name: str) -> None:
    text = contents[name].decode()
    if name.endswith(".json"):
        assert text.count('"integrity"') > 50
        return
    pins = re.findall(r"^[A-Za-z0-9_.-]+(?:\[[^]]*\])?==\S+.*\\$", text, re.MULTILINE)
    assert len(pins) > 20
    assert text.count("--hash=sha256:") >= len(pins)
    assert "index-url" not in text
