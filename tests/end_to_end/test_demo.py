"""`make demo`, as a person calls it."""

import gzip
import json
import re
import signal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sandbox.demo.demonstration import SETTINGS, demonstrate
from sandbox.services.errors import SandboxError
from tests.end_to_end.command import run, started
from tests.sandbox.host_process import assert_clean
from tests.validation import validate_line, validate_manifest, validate_pointer

USERS = 300
OTHER_CLIENT = "11111111-2222-4333-8444-555555555555"


def test_demo_shows_what_was_published(tmp_path: Path) -> None:
    code, output, errors = run("demo", f"--users={USERS}", f"--directory={tmp_path}")

    assert (code, errors) == (0, "")
    assert_clean((tmp_path / "demo" / "host.log").read_text())
    assert (tmp_path / "demo" / "tenant.log").read_text() == ""
    printed = output.splitlines()
    assert [line for line in printed if len(line) > 100 and not whole(line, tmp_path)] == []
    assert [line for line in printed if line != line.rstrip()] == []

    for dataset in ("users", "groups", "authentication"):
        assert re.search(rf"^  {dataset} .* complete$", output, re.M), output
    assert re.search(rf"^  users +{USERS} +1 +\d+ KiB$", output, re.M)
    assert re.search(r"^  memberships +[\d,]+ +1 +\d+ KiB$", output, re.M)
    assert re.search(r"^  authentication +\d+   in the users$", output, re.M)
    assert re.search(r"Graph +\d+ requests, \d+ resource units, 0 throttled, 0 retried", output)
    assert re.search(r"worker +[\d.]+ s of CPU, [\d.]+ MiB at its peak", output)
    for name in ("MFA registered", "MFA capable", "passwordless capable", "guests", "disabled"):
        assert re.search(rf"^  {name} +\d+ +\d+%$", output, re.M), name
    assert re.search(r"^  admins without MFA +\d+ +of \d+$", output, re.M)

    snapshot = tmp_path / "snapshot"
    pointer = json.loads((snapshot / "current.json").read_text())
    manifest = json.loads((snapshot / pointer["manifest"]).read_text())
    validate_pointer(pointer)
    validate_manifest(manifest)
    assert pointer["run_id"] in output
    assert f"manifest        {pointer['manifest']}" in output
    for name in sorted(path.name for path in snapshot.glob("runs/*")):
        validate_manifest(json.loads((snapshot / "runs" / name / "manifest.json").read_text()))
    user, event = _document(output, "One user as published"), _document(output, "The same user as OCSF")
    validate_line("users", user)
    validate_line("ocsf-users", event)
    assert event["user"]["uid"] == user["id"]
    assert {"manager_id", "groups", "authentication", "on_premises"} <= user.keys()


def whole(line: str, directory: Path) -> bool:
    """Paths and links are not broken, so that they can be copied."""
    return str(directory) in line or line.strip().startswith("https://entra.microsoft.com/#view/")


def test_demo_shows_leaked_credentials(tmp_path: Path) -> None:
    """Six people, and for five of them the way to their page."""
    code, output, errors = run("demo", f"--users={USERS}", "--seed=3", f"--directory={tmp_path}")
    assert (code, errors) == (0, "")
    told = output[output.index("\nLeaked credentials  one signed call with 6") :]
    found = re.findall(r"^  ([a-z_]+) +(\S+@contoso\.com) +(\S.*)$", told, re.M)
    assert [(status, state) for status, _, state in found] == [
        ("valid", "mfa_required"),
        ("invalid", "AADSTS50126"),
        ("superseded", "password_changed"),
        ("disabled", "disabled"),
        ("not_found", "no user in Graph"),
        ("valid", "password_expired"),
    ]
    assert len({name for _, name, _ in found}) == 6
    assert len(re.findall(r"userId/[0-9a-f-]{36}$", told, re.M)) == 5
    log = (tmp_path / "demo" / "host.log").read_text()
    assert_clean(log)
    assert not any(name in log for _, name, _ in found)


def test_demo_shows_the_test_connector(tmp_path: Path) -> None:
    """All is well; then one permission is gone, and just its row says so; then it is back."""
    _, output, _ = run("demo", f"--users={USERS}", f"--directory={tmp_path}")

    told = output[output.index("Test connector") : output.index("Leaked credentials")]
    count = re.search(r"^Test connector  (\d+) capabilities", told)
    assert count
    number = int(count[1])
    whole, taken, given = re.split(r"^AuditLog.*$", told, flags=re.M)
    assert len(re.findall(r"^  \S+ +ok( +\S.*)?$", whole, re.M)) == number
    assert "missing" not in whole
    assert re.findall(r"^  (\S+) +missing-permission  AuditLog\.Read\.All$", taken, re.M) == [
        "registration-report"
    ]
    assert "fix: infra/grant-permissions.sh" in taken
    assert f"AuditLog.Read.All is taken away  {number - 1} of {number} are ok" in told
    assert f"AuditLog.Read.All is given back  {number} of {number} are ok" in told
    assert given.strip() == ""


def test_demo_shows_what_changed(tmp_path: Path) -> None:
    """A second run, as the manifest and its changes tell it."""
    code, output, errors = run("demo", f"--users={USERS}", "--seed=2", f"--directory={tmp_path}")
    assert (code, errors) == (0, "")
    snapshot = tmp_path / "snapshot"
    pointer = json.loads((snapshot / "current.json").read_text())
    manifest = json.loads((snapshot / pointer["manifest"]).read_text())
    first = json.loads((snapshot / "runs" / manifest["previous_run_id"] / "manifest.json").read_text())
    assert (first["kind"], manifest["kind"]) == ("full", "incremental")

    told = output[output.index("\nThe tenant changes") :]
    assert re.search(r"^The tenant changes  12 things happen$", told, re.M)
    assert f"\nWhat changed  run {pointer['run_id']}, incremental, sequence 2\n" in told
    for dataset, counts in manifest["changes"]["datasets"].items():
        updated = f"{counts['updated']} updated, " if dataset != "memberships" else ""
        said = rf"^  {dataset} +{counts['added']} added, {updated}{counts['removed']} removed$"
        assert re.search(said, told, re.M), dataset
    changes = [
        json.loads(line)
        for part in manifest["changes"]["parts"]
        for line in gzip.decompress((snapshot / part["path"]).read_bytes()).splitlines()
    ]
    of_users = [one for one in changes if one["dataset"] == "users"]
    joined = [one["record"] for one in of_users if one["operation"] == "added"]
    assert len(joined) == 2
    for user in joined:
        assert re.search(rf"^    \+ {re.escape(user['display_name'])} +{user['job_title']}", told, re.M)
    assert [one["reason"] for one in of_users if one["operation"] == "removed"] == ["soft_deleted"]
    assert re.search(r"^    - \S.* soft_deleted$", told, re.M)
    signs = re.findall(r"^    ([+~-]) ", told, re.M)
    rest = sum(int(number) for number in re.findall(r"^      and (\d+) more \w+$", told, re.M))
    assert len(signs) + rest == len(changes)

    def row(name: str, *values: object) -> str:
        return rf"^  {name} +{' +'.join(map(str, values))}$"

    for name, member in (("requests", "requests"), ("resource units", "resource_units")):
        costs = [one["graph"][member] for one in (first, manifest)]
        assert re.search(row(name, *costs), told, re.M), name
        assert costs[1] < costs[0] / 2
    paths = [
        {part["path"] for dataset in one["datasets"].values() for part in dataset["parts"]}
        for one in (first, manifest)
    ]
    assert re.search(row("parts written", len(paths[0]), len(paths[1] - paths[0])), told, re.M)
    assert re.search(row("parts carried over", len(paths[1] & paths[0])), told, re.M)
    assert re.search(row("time", r"[\d.]+ s", r"[\d.]+ s"), told, re.M)
    assert re.search(row("CPU", r"[\d.]+ s", r"[\d.]+ s"), told, re.M)


def _document(output: str, title: str) -> dict[str, Any]:
    """The JSON document under a heading."""
    after = output[output.index(title) :]
    document: dict[str, Any] = json.JSONDecoder().raw_decode(after[after.index("\n{") + 1 :])[0]
    return document


def test_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    with started("demo", "--users=2000", f"--directory={tmp_path}") as command:
        command.lines_until("Sync")
        command.send(signal.SIGINT)
        code, _, errors = command.end()
        assert (code, errors) == (130, "")
        assert command.left_behind() == {}
    assert not (tmp_path / "snapshot").exists()


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("ENTRA_CLIENT_ID", OTHER_CLIENT, r"Run \S+ is failed: .*ENTRA_CLIENT_ID"),
        ("ENTRA_CREDENTIAL", "password", r"The app's settings need attention: .*ENTRA_CREDENTIAL"),
    ],
    ids=["sign-in", "settings"],
)
async def test_what_goes_wrong_is_told_in_the_app_s_words(
    tmp_path: Path, setting: str, value: str, sentence: str
) -> None:
    settings = SETTINGS | {setting: value}
    with pytest.raises(SandboxError) as raised:
        await demonstrate(Console(file=StringIO()), tmp_path, users=20, seed=1, settings=settings)
    assert re.match(sentence, str(raised.value))
    assert "\n" not in str(raised.value)
