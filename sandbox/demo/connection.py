"""The Test connector, as an engineer meets it: all is well, a permission is taken away, and given back."""

import textwrap
import time

from rich.console import Console

from sandbox.demo.app_api import AppApi, Capability
from sandbox.demo.summary import WIDTH, heading, line
from sandbox.demo.tenant_api import change_permissions
from sandbox.services.sandbox import Sandbox

TAKEN_AWAY = "AuditLog.Read.All"
NAME_WIDTH = 34
STATUS_WIDTH = 20


async def show_connection(console: Console, sandbox: Sandbox) -> None:
    """Ask three times; what is not ok is shown with the step to take."""
    assert sandbox.host is not None
    async with AppApi(sandbox.host) as api:
        started = time.perf_counter()
        rows = await api.connection()
        took = time.perf_counter() - started
        heading(console, "Test connector", f"{len(rows)} capabilities, tried in {took:.1f} s")
        line(console, (f"  {'capability':<{NAME_WIDTH}}{'status':<{STATUS_WIDTH}}needs", "dim"))
        for row in rows:
            _show(console, row)

        await change_permissions(sandbox, revoke=[TAKEN_AWAY])
        rows = await api.connection()
        heading(console, f"{TAKEN_AWAY} is taken away", f"{_share(rows)} are ok")
        for row in rows:
            if row.status != "ok":
                _show(console, row)
                _told(console, "", row.detail)
                _told(console, "fix: ", row.fix or "")

        await change_permissions(sandbox, grant=[TAKEN_AWAY])
        heading(console, f"{TAKEN_AWAY} is given back", f"{_share(await api.connection())} are ok")


def _share(rows: list[Capability]) -> str:
    return f"{sum(row.status == 'ok' for row in rows)} of {len(rows)}"


def _show(console: Console, row: Capability) -> None:
    status = (f"{row.status:<{STATUS_WIDTH}}", "green" if row.status == "ok" else "bold red")
    if row.permission is None:
        status = (status[0].rstrip(), status[1])
    line(console, f"  {row.capability:<{NAME_WIDTH}}", status, row.permission or "")


def _told(console: Console, label: str, text: str) -> None:
    for wrapped in textwrap.wrap(label + text, WIDTH - 4, break_on_hyphens=False):
        line(console, (f"    {wrapped}", "dim"))
