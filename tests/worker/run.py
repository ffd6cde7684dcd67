"""Starts the driver with an environment and nothing else of this machine's settings."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]

KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR", "SYSTEMROOT")


@dataclass(frozen=True)
class Report:
    """What the driver printed, and what the app logged."""

    functions: dict[str, list[dict[str, Any]]]
    indexed: frozenset[str]
    outcomes: list[dict[str, Any]]
    log: str


async def run_app(
    calls: list[dict[str, Any]], environment: dict[str, str] | None = None, app: Path = REPOSITORY
) -> Report:
    """Index the app and do the calls, in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.worker.driver",
        str(app),
        cwd=REPOSITORY,
        env=kept | (environment or {}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, log = await asyncio.wait_for(process.communicate(json.dumps(calls).encode()), 120)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, log.decode()
    report = json.loads(output)
    return Report(report["functions"], frozenset(report["indexed"]), report["outcomes"], log.decode())
