"""The package that a deployment sends to Azure, built and tried: `python -m infra.package`.

It is the zip that `azd` and Core Tools make of this folder: what `.funcignore` leaves, with
`requirements.txt` for the remote build. Built twice from the same files, it is the same byte for byte.

It is then tried as Azure will run it, with nothing of this checkout on the path: unpacked, beside a fresh
virtual environment made of `requirements.txt` alone. Microsoft's worker library, which Azure brings itself,
and the few modules that drive it here come from the development environment, for indexing only.
"""

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pathspec

ROOT = Path(__file__).parents[1]
TARGET = ROOT / ".package" / "entra-connector.zip"

_NEVER = ("local.settings.json",)
"""Core Tools never publish it, whatever `.funcignore` says."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FROM_AZURE = ("azure-functions-runtime", "azurefunctions-extensions-base")
_DRIVER = (
    "sandbox/__init__.py",
    *(f"sandbox/host/{name}.py" for name in ("__init__", "errors", "protocol", "worker")),
)

_IMPORT = """
import json, pkgutil, sys, sysconfig, time
sys.path.append(sys.argv[1])
before = set(sys.modules)
started = time.perf_counter()
import function_app
seconds = time.perf_counter() - started
loaded = len(set(sys.modules) - before)
import functions, shared
for package in (functions, shared):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        __import__(module.name)
for name in ("function_app", "functions", "shared"):
    assert sys.modules[name].__file__.startswith(sys.argv[1]), f"a dependency shadows {name}"
print(json.dumps({"modules": loaded, "seconds": seconds}))
"""

_INDEX = """
import asyncio, json, sys
from sandbox.host.worker import Worker
worker = Worker(sys.argv[1])
asyncio.run(worker.start())
print(json.dumps([function.name for function in worker.functions]))
"""


class PackageError(Exception):
    """The package cannot be built, or does not run by itself."""


@dataclass(frozen=True)
class Trial:
    """What the package came to when it was run by itself."""

    functions: tuple[str, ...]
    modules: int
    """Loaded by importing `function_app`, over and above what Python starts with."""
    import_seconds: float
    dependency_bytes: int
    dependency_files: int
    top_level: frozenset[str]
    """The names that the dependencies put on the path."""


def packaged_files(root: Path = ROOT) -> list[str]:
    """The files of the package, relative to `root`, sorted."""
    ignored = pathspec.GitIgnoreSpec.from_lines((root / ".funcignore").read_text().splitlines())
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = [one for one in folders if not ignored.match_file(f"{(here / one).as_posix()}/")]
        found += [path for name in names if not ignored.match_file(path := (here / name).as_posix())]
    return sorted(path for path in found if path not in _NEVER)


def build(target: Path = TARGET, root: Path = ROOT) -> Path:
    """Write the package. The same files give the same bytes, whenever and by whomever it is built."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
        for path in packaged_files(root):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, so that the mode counts
            entry.external_attr = 0o644 << 16
            package.writestr(entry, (root / path).read_bytes())
    return target


def try_out(package: Path) -> Trial:
    """Install its requirements into a fresh environment, import it there and index its functions."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        app, environment, driver = folder / "app", folder / "environment", folder / "driver"
        with zipfile.ZipFile(package) as opened:
            opened.extractall(app)
        venv.create(environment, with_pip=True)
        python = environment / "bin" / "python"
        options = ("--quiet", "--disable-pip-version-check", "--require-hashes", "--no-compile")
        _run(folder, python, "-m", "pip", "install", *options, "-r", app / "requirements.txt")
        packages = next(environment.glob("lib/python*/site-packages"))
        files = [path for path in packages.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        size = sum(path.stat().st_size for path in files)
        top_level = frozenset(path.name.removesuffix(".py") for path in packages.iterdir())
        # Twice: the first import also compiles.
        for _ in range(2):
            imported = json.loads(_run(folder, python, "-I", "-c", _IMPORT, app))
        _copy_driver(driver)
        functions = json.loads(_run(folder, python, "-c", _INDEX, app, path=driver))
    return Trial(
        functions=tuple(sorted(functions)),
        modules=imported["modules"],
        import_seconds=imported["seconds"],
        dependency_bytes=size,
        dependency_files=len(files),
        top_level=top_level,
    )


def _copy_driver(target: Path) -> None:
    for name in _FROM_AZURE:
        for file in importlib.metadata.files(name) or ():
            if ".dist-info" not in str(file) and file.suffix == ".py":
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target / file)
    for path in _DRIVER:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target / path)


def _run(folder: Path, *command: str | Path, path: Path | None = None) -> str:
    """Standard output. Nothing of this process's Python environment gets through."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = kept | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PackageError(f"The package does not run by itself:\n{done.stderr[-4000:]}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.package", description="Build and try the package.")
    parser.add_argument("--only-build", action="store_true", help="do not try it in a fresh environment")
    options = parser.parse_args(arguments)
    package = build()
    print(
        f"{package.relative_to(ROOT)}: {package.stat().st_size / 1024:.0f} KiB, {len(packaged_files())} files"
    )
    if options.only_build:
        return 0
    try:
        trial = try_out(package)
    except PackageError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"dependencies: {trial.dependency_bytes / 2**20:.0f} MiB, {trial.dependency_files:,} files")
    print(f"import of function_app: {trial.import_seconds:.2f} s, {trial.modules} modules")
    print(f"functions: {', '.join(trial.functions)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
