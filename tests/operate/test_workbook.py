"""The workbook's panels show what happened, from what the real code logs; and the module has every query."""

import re
from datetime import UTC, datetime
from typing import Any

from sandbox.tenant import faults
from tests.infra.bicep import template
from tests.operate.logs import WorkerLog, Workspace, query_names, query_text
from tests.operate.test_alerts import remove
from tests.support.validation import ValidationWorld
from tests.support.world import World

WORKBOOK = template("modules/workbook.bicep")
PANELS: list[dict[str, Any]] = [*WORKBOOK.variables["directory"], *WORKBOOK.variables["credentials"]]


def shown(log: WorkerLog, panel: str, now: datetime) -> list[dict[str, Any]]:
    workspace = Workspace()
    workspace.take(log.lines)
    return workspace.query(query_text(f"workbook/{panel}.kql"), now)


def test_the_page_has_every_query_once_under_its_name() -> None:
    loaded = [re.findall(r"queries/(workbook/.+\.kql)", panel["query"]) for panel in PANELS]
    assert loaded == [[f"workbook/{panel['name']}.kql"] for panel in PANELS]
    assert sorted(name for names in loaded for name in names) == query_names("workbook")
    assert {panel["shape"] for panel in PANELS} == {"table", "linechart", "barchart"}


async def test_the_directory_at_a_glance(w: World, log: WorkerLog) -> None:
    await w.run()
    first = (await w.snapshot(validate=False)).manifest
    remove(w, 5)
    w.tenant.faults.add(faults.respond(429, headers={"Retry-After": "3"}), "/users/delta", times=1)
    w.clock.forward(hours=1)
    await w.run_full()
    manifest = (await w.snapshot(validate=False)).manifest
    now = w.clock.now()

    (last,) = shown(log, "last-published", now)
    assert (last["Run"], last["Kind"], last["Sequence"]) == (manifest["run_id"], "full", 2)
    assert last["Published"] == datetime.fromisoformat(manifest["published_at"]).replace(tzinfo=None)
    rows = {name: manifest["datasets"][name]["rows"] for name in ("users", "groups", "memberships")}
    assert (last["Users"], last["Groups"], last["Memberships"]) == tuple(rows.values())

    before, after = shown(log, "rows", now)
    assert (before["Users"], after["Users"]) == (first["datasets"]["users"]["rows"], rows["users"])

    (changes,) = shown(log, "changes", now)
    counted = manifest["changes"]["datasets"].values()
    for column, word in (("Added", "added"), ("Updated", "updated"), ("Removed", "removed")):
        assert changes[column] == sum(one[word] for one in counted)
    assert changes["Removed"] > 5

    usage = shown(log, "graph", now)[-1]
    assert usage["Requests"] == manifest["graph"]["requests"]
    assert usage["ResourceUnits"] == manifest["graph"]["resource_units"]
    assert (usage["Throttled"], usage["Retried"]) == (1, 1)

    (throttled,) = shown(log, "throttling", now)
    assert (throttled["Subject"], throttled["Answers"], throttled["LongestWait"]) == ("users", 1, 3.0)

    assert {row["Kind"] for row in shown(log, "duration", now)} == {"full"}
    assert max(row["Seconds"] for row in shown(log, "duration", now)) == 3  # what Graph asked to wait
    (drift,) = shown(log, "drift", now)
    assert (drift["Users"], drift["Groups"], drift["Memberships"]) == (0, 0, 0)
    assert shown(log, "troubles", now) == []


async def test_troubles_in_sentences(w: World, log: WorkerLog) -> None:
    await w.run()
    remove(w, 80)
    w.clock.forward(hours=1)
    held = await w.run()
    (row,) = shown(log, "troubles", w.clock.now())
    assert row["Event"] == "directory.run_held"
    assert f"SYNC_ACCEPT_SHRINK={held}" in row["Sentence"]


async def test_validations_at_a_glance(v: ValidationWorld, validation_log: WorkerLog) -> None:
    user = v.staff()
    await v.said(user, v.password_of(user))
    await v.said(user, "wrong")
    v.clock.forward(3600)
    v.tenant.accounts[v.staff(1)["id"]].instead_of_password = (999_999,)
    await v.said(v.staff(1), "wrong")
    now = datetime.fromtimestamp(v.clock(), UTC)

    verdicts = {row["Status"]: row["Credentials"] for row in shown(validation_log, "verdicts", now)}
    assert verdicts == {"valid": 1, "superseded": 1, "unknown": 1}
    states = {row["Status"]: row["Attempts"] for row in shown(validation_log, "account-states", now)}
    assert states == {"valid": 1, "superseded": 0, "unknown": 1}

    limits = v.calls.validator.ledger.limits
    budgets = shown(validation_log, "budgets", now)
    assert [row["Attempts"] for row in budgets] == [1, 2]
    assert {row["AttemptsLimit"] for row in budgets} == {limits.per_day}
    assert [row["Suspects"] for row in budgets] == [0, 1]
    assert {row["SuspectsLimit"] for row in budgets} == {limits.failing_users}

    (unknown,) = shown(validation_log, "unknown-codes", now)
    assert (unknown["Codes"], unknown["Answers"]) == ("[999999]", 1)
    assert shown(validation_log, "refused-callers", now) == []
