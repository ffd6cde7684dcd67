"""What a deployment sends to Azure, and that it runs there by itself."""

import os
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from infra.package import ROOT, PackageError, Trial, build, packaged_files, try_out

LARGEST_PACKAGE = 320 * 1024
MOST_MODULES = 300
"""Loaded at a cold start by `import function_app`; nearly all are of azure.functions and the library."""
LARGEST_DEPENDENCIES = 250 * 2**20


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package") / "app.zip")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the files of the app, and what lies about on a developer's machine."""
    for path in packaged_files():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tmp_path / path)
    shutil.copyfile(ROOT / ".funcignore", tmp_path / ".funcignore")
    return tmp_path


def test_package_has_the_app_and_nothing_else(package: Path) -> None:
    names = zipfile.ZipFile(package).namelist()
    assert {name.split("/")[0] for name in names} == {
        "LICENSE",
        "function_app.py",
        "functions",
        "host.json",
        "requirements.txt",
        "shared",
    }
    assert [name for name in names if not name.startswith(("functions/", "shared/")) and "/" in name] == []
    for part in ("functions", "shared"):
        sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / part).rglob("*.py")}
        assert sources <= set(names)


def test_package_has_the_data_that_the_code_reads(package: Path) -> None:
    assert "shared/credentials/aadsts.csv" in zipfile.ZipFile(package).namelist()


def test_package_is_small(package: Path) -> None:
    assert package.stat().st_size < LARGEST_PACKAGE


def test_package_is_the_same_byte_for_byte_whenever_it_is_built(package: Path, copy: Path) -> None:
    for path in copy.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    again = build(copy / ".package/app.zip", copy)
    assert again.read_bytes() == package.read_bytes()


@pytest.mark.parametrize(
    "stray",
    [
        "local.settings.json",
        ".env",
        ".azure/dev/.env",
        ".venv/lib/secret.py",
        "shared/__pycache__/errors.cpython-313.pyc",
        "tests/test_x.py",
        "infra/main.parameters.json",
        "azure.yaml",
    ],
)
def test_what_lies_about_is_left_out(copy: Path, stray: str) -> None:
    (copy / stray).parent.mkdir(parents=True, exist_ok=True)
    (copy / stray).write_text("x")
    assert packaged_files(copy) == packaged_files()


def test_local_settings_are_left_out_whatever_funcignore_says(copy: Path) -> None:
    (copy / ".funcignore").write_text(".*\n")
    (copy / "local.settings.json").write_text("{}")
    assert "local.settings.json" not in packaged_files(copy)


# Slow, and with a network or pip's cache: requirements.txt is installed anew.


@pytest.fixture(scope="module")
def trial(package: Path) -> Trial:
    return try_out(package)


@pytest.mark.slow
def test_worker_finds_the_functions_of_the_package_by_itself(trial: Trial) -> None:
    sources = [path.read_text() for path in (ROOT / "functions").glob("*.py")]
    written = {name for text in sources for name in re.findall(r'\.function_name\("(\w+)"\)', text)}
    assert len(written) > 3
    assert set(trial.functions) == written


@pytest.mark.slow
def test_no_dependency_takes_the_place_of_a_package_of_ours(trial: Trial) -> None:
    assert trial.top_level & {"shared", "functions", "function_app", "tests", "sandbox", "infra"} == set()


@pytest.mark.slow
def test_cold_start_loads_few_modules(trial: Trial) -> None:
    assert trial.modules < MOST_MODULES


@pytest.mark.slow
def test_dependencies_are_not_large(trial: Trial) -> None:
    assert trial.dependency_bytes < LARGEST_DEPENDENCIES


@pytest.mark.slow
def test_package_whose_requirements_lack_something_is_told(copy: Path) -> None:
    (copy / "requirements.txt").write_text("")
    with pytest.raises(PackageError, match="No module named"):
        try_out(build(copy / ".package/app.zip", copy))
