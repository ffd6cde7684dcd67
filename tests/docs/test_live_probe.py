"""The probe of a real tenant, on the simulated one: what it asks, what it concludes, what it hides."""

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs.live_probe import Connection, main
from docs.probe.requests import MOST_REQUESTS
from sandbox.certificates import make_server_certificates
from sandbox.services.child import inherited_environment
from sandbox.tenant import CLIENT_ID, TENANT_ID, Tenant, TenantServer, faults, generate
from sandbox.tenant.configuration import IDENTITY_HEADER
from sandbox.tenant.directory import Directory
from shared.errors import SignInRefused
from shared.graph.client import GraphClient
from shared.graph.policy import RetryPolicy
from tests.support.tls import serving
from tests.support.world import Clock, TenantCredential, settings

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")

REPOSITORY = Path(__file__).parents[2]
SCOPE = "https://graph.microsoft.com/.default"
REPORT = r"/userRegistrationDetails"

MANAGER = "users/delta: manager@delta"
USER_PAGE = "users/delta: size of a page"
TOP = "users/delta: does $top=10 matter"
LEAVE_DATE = "users/delta: employeeLeaveDateTime without its permission"
GROUP_PAGE = "groups/delta: size of a page"
OWNERS = "groups/delta: owners@delta"
AGAIN = "groups/delta: a group that comes again"
REPORT_TOP = "registration report: $top=999"
REPORT_PAGE = "registration report: size of a page"
LICENCE = "registration report: error code without a licence"
SIGN_INS_500 = "signInActivity: size of a page with $top=500"
SIGN_INS_999 = "signInActivity: size of a page with $top=999"
METHODS = "authentication/methods of 3 users in $batch"
DELETED = "deletedItems of users"
MINTED = "groups/delta: $deltatoken=latest"
USERS_MINTED = "users/delta: $deltatoken=latest"
LIST_PAGE = "users with managers: size of a page with $top=999"
MANAGERS = "users with managers: who is whose"
DOMAINS = "domains: $select of authenticationType"
THRESHOLD = "groupSettings: the lockout threshold"
MEMBER = "checkMemberGroups of a user in a group"
BY_MAIL = "users by mail"
BY_PROXY = "users by a proxy address"
BY_CAPITALS = "users by a proxy address in capitals"
BY_OTHER = "users by another mail"
DELETED_NAMES = "deleted users: the object id stands before the name"
BY_FORMER_NAME = "deletedItems by endsWith(userPrincipalName, …)"
DATES = "lastPasswordChangeDateTime of synchronised users"
SURFACED = "groups/delta: $deltatoken=latest shows members that came and went"
DELTA_UNITS = "resource units of a delta page"
OTHER_UNITS = "resource units of other calls"


@dataclass
class Outcome:
    """What one run showed, and what it left in the JSON file."""

    code: int
    out: str
    err: str
    findings: dict[str, dict[str, str]]

    def verdict(self, check: str) -> str:
        return self.findings[check]["verdict"]

    def seen(self, check: str) -> str:
        return self.findings[check]["seen"]

    def verdicts(self) -> set[str]:
        return {finding["verdict"] for finding in self.findings.values()}


type Run = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def tenant() -> Tenant:
    tenant = Tenant(generate(users=1500, seed=7))
    # Optional, so that the app registration lacks it from the start.
    tenant.clients[CLIENT_ID].permissions.add("GroupSettings.Read.All")
    return tenant


@pytest.fixture
async def run(tenant: Tenant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Run]:
    """`main` in a thread of its own, since it brings its own event loop."""
    clock = Clock()
    policy = RetryPolicy(now=clock.timestamp, sleep=clock.sleep, jitter=lambda: 0.0)
    async with TenantServer(tenant) as server:

        @asynccontextmanager
        async def connect(_tenant: str | None, _environment: Any) -> AsyncIterator[Connection]:
            async with GraphClient(TenantCredential(tenant), server.url, SCOPE, policy) as graph:  # type: ignore[arg-type]
                yield Connection(settings(), graph, None)

        async def started(*arguments: str) -> Outcome:
            file = tmp_path / "findings.json"
            code = await asyncio.to_thread(main, ["--json", str(file), *arguments], connect=connect)
            shown = capsys.readouterr()
            return Outcome(code, shown.out, shown.err, findings_in(file))

        yield started


def findings_in(file: Path) -> dict[str, dict[str, str]]:
    return {each["check"]: each for each in json.loads(file.read_bytes())["findings"]}


# --- verdicts ---------------------------------------------------------------------------------------


async def test_a_tenant_that_does_as_documented(run: Run) -> None:
    outcome = await run()
    assert outcome.code == 0
    not_tried = {check for check in outcome.findings if outcome.verdict(check) == "not tried"}
    assert not_tried == {LEAVE_DATE, LICENCE, SURFACED, THRESHOLD}
    assert outcome.verdicts() == {"as expected", "not tried"}
    assert outcome.seen("users/$count") == "1500"
    assert outcome.seen(USER_PAGE).startswith("200 with ")
    assert outcome.seen(REPORT_PAGE) == "999"
    assert outcome.seen(SIGN_INS_999) == "500"
    assert outcome.seen(MINTED) == "0 groups, a delta link"
    assert outcome.seen(LIST_PAGE) == "999"
    assert outcome.seen(MEMBER) == "a member"
    assert outcome.seen(DELETED_NAMES) == "7 of 7"
    assert outcome.seen(DATES) == "of 796: 0 absent, 38 before creation, 0 at creation, 758 after it"
    for finding in outcome.findings.values():
        assert finding["check"].split()[0] in outcome.out


async def test_without_any_permission(tenant: Tenant, run: Run) -> None:
    tenant.clients[CLIENT_ID].permissions.clear()
    outcome = await run()
    assert outcome.code == 0
    assert outcome.verdicts() == {"refused", "not tried"}
    assert outcome.seen(USER_PAGE) == "403 Authorization_RequestDenied (permission)"


@pytest.mark.parametrize(
    ("permission", "verdicts"),
    [
        ("User-LifeCycleInfo.Read.All", {LEAVE_DATE: "as expected", USER_PAGE: "as expected"}),
        (
            "AuditLog.Read.All",
            {REPORT_TOP: "refused", REPORT_PAGE: "refused", LICENCE: "not tried", SIGN_INS_500: "refused"},
        ),
        ("UserAuthenticationMethod.Read.All", {METHODS: "refused", OTHER_UNITS: "as expected"}),
        ("Domain.Read.All", {DOMAINS: "refused", BY_MAIL: "as expected"}),
        ("GroupSettings.Read.All", {THRESHOLD: "refused", DOMAINS: "as expected"}),
    ],
)
async def test_without_one_permission(
    tenant: Tenant, run: Run, permission: str, verdicts: dict[str, str]
) -> None:
    tenant.clients[CLIENT_ID].permissions.discard(permission)
    outcome = await run()
    assert {check: outcome.verdict(check) for check in verdicts} == verdicts


async def test_without_the_licence(tenant: Tenant, run: Run) -> None:
    tenant.premium = False
    outcome = await run()
    assert outcome.verdict(REPORT_TOP) == outcome.verdict(SIGN_INS_500) == "refused"
    assert outcome.verdict(LICENCE) == "as expected"
    assert "Authentication_RequestFromNonPremiumTenantOrB2CTenant" in outcome.seen(LICENCE)


async def test_a_licence_code_that_nobody_knows(tenant: Tenant, run: Run) -> None:
    message = "Tenant doesn't have premium license"
    tenant.faults.add(faults.respond(403, code="Unlicensed", message=message), REPORT, times=None)
    outcome = await run()
    assert outcome.verdict(LICENCE) == "differs"
    assert outcome.seen(LICENCE) == "403 Unlicensed (licence)"


async def test_a_tenant_that_does_otherwise(tenant: Tenant, run: Run) -> None:
    tenant.delta_resource_units = 5
    tenant.delta_page_objects = 100
    tenant.delta_page_links = 200
    outcome = await run()
    assert outcome.verdict(DELTA_UNITS) == "differs"
    assert "users/delta: 5" in outcome.seen(DELTA_UNITS)
    assert outcome.verdict(USER_PAGE) == outcome.verdict(GROUP_PAGE) == "differs"


async def test_a_report_that_does_not_take_our_page_size(tenant: Tenant, run: Run) -> None:
    tenant.faults.add(faults.respond(400, code="BadRequest"), REPORT + r".*top=999", times=None)
    outcome = await run()
    assert outcome.verdict(REPORT_TOP) == "refused"
    assert outcome.findings[REPORT_PAGE] == {
        "check": REPORT_PAGE,
        "expected": "999",
        "seen": "100",
        "verdict": "differs",
    }


def manager_as_object(page: Any, _: object) -> None:
    page["value"][0]["manager@delta"] = {"id": "x"}


def without_owners(page: Any, _: object) -> None:
    for group in page["value"]:
        group.pop("owners@delta", None)


def twice_and_bare(page: Any, _: object) -> None:
    page["value"].append({"id": page["value"][0]["id"], "members@delta": []})


def twice_and_whole(page: Any, _: object) -> None:
    page["value"].append(page["value"][0])


def without_managers(page: Any, _: object) -> None:
    for user in page["value"]:
        user.pop("manager", None)


def with_plain_names(page: Any, _: object) -> None:
    for user in page["value"]:
        user["userPrincipalName"] = "ada@contoso.com"


def with_a_group(page: Any, _: object) -> None:
    page["value"].append({"id": "x"})


@pytest.mark.parametrize(
    ("change", "path", "check", "verdict"),
    [
        (manager_as_object, "users/delta", MANAGER, "differs"),
        (without_owners, "groups/delta", OWNERS, "not tried"),
        (twice_and_bare, "groups/delta", AGAIN, "differs"),
        (twice_and_whole, "groups/delta", AGAIN, "as expected"),
        (with_a_group, "groups/delta.*latest", MINTED, "differs"),
        (with_a_group, "users/delta.*latest", USERS_MINTED, "differs"),
        (without_managers, r"/users\?", MANAGERS, "differs"),
        (with_plain_names, "deletedItems", DELETED_NAMES, "differs"),
    ],
)
async def test_answers_of_another_form(
    tenant: Tenant, run: Run, change: Callable[[Any, Any], None], path: str, check: str, verdict: str
) -> None:
    tenant.faults.add(faults.edit(change), path, times=None)
    outcome = await run()
    assert outcome.verdict(check) == verdict


async def test_a_page_size_that_delta_takes(tenant: Tenant, run: Run) -> None:
    answer = {"value": [{"id": str(n)} for n in range(10)], "@odata.nextLink": "https://graph.example/"}
    tenant.faults.add(faults.respond(200, body=json.dumps(answer)), "top=10")
    outcome = await run()
    assert outcome.verdict(TOP) == "differs"


async def test_a_limit_that_a_batch_tells(tenant: Tenant, run: Run) -> None:
    headers = {"x-ms-throttle-limit-percentage": "0.9", "x-ms-throttle-scope": f"Tenant/{TENANT_ID}"}
    tenant.faults.add(faults.add_headers(headers), "authentication/methods", batched=True, times=None)
    outcome = await run()
    assert outcome.verdict(METHODS) == "differs"
    assert outcome.seen(METHODS) == (
        f"3 x 200; x-ms-throttle-limit-percentage: 0.9, x-ms-throttle-scope: Tenant/{TENANT_ID[:8]}…"
    )


# --- what credential validation asks ------------------------------------------------------------------


async def test_a_threshold_of_the_tenants_own(tenant: Tenant, run: Run) -> None:
    tenant.lockout.threshold_set = 7
    assert (await run()).findings[THRESHOLD] == {
        "check": THRESHOLD,
        "expected": "a number, if it was ever changed",
        "seen": "a threshold of 7",
        "verdict": "as expected",
    }


def in_another_language(page: Any, _: object) -> None:
    for setting in page["value"]:
        setting["displayName"] = "Einstellungen für Kennwortregeln"


async def test_password_rules_that_the_app_would_not_find(tenant: Tenant, run: Run) -> None:
    tenant.lockout.threshold_set = 7
    for batched in (False, True):
        tenant.faults.add(faults.edit(in_another_language), "groupSettings", batched=batched, times=None)
    outcome = await run()
    assert outcome.verdict(THRESHOLD) == "differs"


async def test_filters_that_graph_does_not_take(tenant: Tenant, run: Run) -> None:
    rejected = faults.respond(400, code="Request_UnsupportedQuery")
    tenant.faults.add(rejected, r"filter=", batched=True, times=None)
    outcome = await run()
    for check in (BY_MAIL, BY_PROXY, BY_CAPITALS, BY_OTHER, BY_FORMER_NAME):
        assert outcome.verdict(check) == "refused"
        assert outcome.seen(check) == "400 Request_UnsupportedQuery (rejected)"


async def test_a_filter_that_finds_nobody(tenant: Tenant, run: Run) -> None:
    nobody = faults.respond(200, body=json.dumps({"value": []}))
    tenant.faults.add(nobody, r"filter=", batched=True, times=None)
    outcome = await run()
    assert outcome.seen(BY_PROXY) == outcome.seen(BY_FORMER_NAME) == "not_found"
    assert outcome.verdict(BY_PROXY) == outcome.verdict(BY_FORMER_NAME) == "differs"


async def test_a_check_of_members_that_does_not_see_them(tenant: Tenant, run: Run) -> None:
    nowhere = faults.respond(200, body=json.dumps({"value": []}))
    tenant.faults.add(nowhere, r"checkMemberGroups", batched=True, times=None)
    assert (await run()).verdict(MEMBER) == "differs"


async def test_synchronised_users_whose_date_does_not_move(tenant: Tenant, run: Run) -> None:
    kinds = [None, "0001-01-01T00:00:00Z", "same"]
    directory = tenant.directory
    synchronised = [user for user in directory.users.values() if user.get("onPremisesSyncEnabled")]
    for number, user in enumerate(synchronised):
        date = kinds[number % 3]
        moved = user["createdDateTime"] if date == "same" else date
        directory.update_user(user["id"], {"lastPasswordChangeDateTime": moved})
    outcome = await run()
    assert outcome.verdict(DATES) == "differs"
    assert " 0 before creation" in outcome.seen(DATES)
    assert outcome.seen(DATES).endswith(" 0 after it")


async def test_an_empty_tenant(tmp_path: Path, tenant: Tenant, run: Run) -> None:
    tenant.directory = Directory()
    outcome = await run()
    assert outcome.code == 0
    assert "differs" not in outcome.verdicts()
    assert outcome.verdict(USER_PAGE) == outcome.verdict(REPORT_PAGE) == "not tried"


# --- the two steps of `latest` ------------------------------------------------------------------------


async def test_a_change_of_members_surfaces(tenant: Tenant, run: Run, tmp_path: Path) -> None:
    link = tmp_path / "link"
    first = await run("--keep-link", str(link))
    assert stat.S_IMODE(link.stat().st_mode) == 0o600
    assert "deltatoken" in link.read_text()
    assert f"--continue {link}" in first.out
    assert "show it to nobody" in first.out

    nothing = await run("--continue", str(link))
    assert nothing.verdict(SURFACED) == "differs"

    directory = tenant.directory
    group, members = next((key, edges) for key, edges in directory.members.items() if 1 < len(edges) < 50)
    directory.remove_member(group, next(iter(members)))
    one_of_two = await run("--continue", str(link))
    assert one_of_two.verdict(SURFACED) == "differs"

    directory.add_member(group, next(user for user in directory.users if user not in members), "user")
    both = await run("--continue", str(link))
    assert both.findings.keys() == {SURFACED}
    assert both.verdict(SURFACED) == "as expected"
    assert both.seen(SURFACED) == f"{group[:8]}…: 1 added, 1 removed"


async def test_a_link_that_graph_has_forgotten(tenant: Tenant, run: Run, tmp_path: Path) -> None:
    link = tmp_path / "link"
    await run("--keep-link", str(link))
    tenant.expire_delta_tokens()
    outcome = await run("--continue", str(link))
    assert outcome.verdict(SURFACED) == "not tried"
    assert "delta-state-lost" in outcome.seen(SURFACED)


async def test_a_link_to_another_host_is_not_followed(tenant: Tenant, run: Run, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.write_text("https://graph.evil.example/v1.0/groups/delta?$deltatoken=x")
    outcome = await run("--continue", str(link))
    assert outcome.verdict(SURFACED) == "differs"
    assert tenant.requests == []


async def test_a_file_that_is_there_is_not_overwritten(
    tenant: Tenant, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    with pytest.raises(SystemExit):
        await run("--keep-link", str(kept))
    with pytest.raises(SystemExit):
        await run("--continue", str(tmp_path / "absent"))
    assert kept.read_text() == "mine"
    assert tenant.requests == []


# --- what it does not do ------------------------------------------------------------------------------


async def test_it_only_reads(tenant: Tenant, run: Run) -> None:
    await run()
    assert len(tenant.requests) <= MOST_REQUESTS // 2 == 30
    writing = [each.path for each in tenant.requests if each.method != "GET" and each.path != "/v1.0/$batch"]
    assert writing == []
    items = [item for each in tenant.requests for item in each.items]
    posts = [item.path.rpartition("/")[2] for item in items if item.method != "GET"]
    assert posts == ["checkMemberGroups"], "which reads, with its question in a body"


@pytest.mark.parametrize("status", [429, 503])
async def test_it_stays_within_its_requests_when_graph_is_busy(tenant: Tenant, run: Run, status: int) -> None:
    tenant.faults.add(faults.throttle(1, status), times=None)
    outcome = await run()
    assert outcome.code == 0
    assert outcome.verdicts() == {"not tried"}
    assert len(tenant.requests) <= MOST_REQUESTS


async def test_it_stops_where_its_requests_are_used_up(tenant: Tenant, run: Run) -> None:
    tenant.faults.add(faults.throttle(1, 503), times=None, every=2)
    outcome = await run()
    assert len(tenant.requests) <= MOST_REQUESTS
    assert "as expected" in outcome.verdicts()


async def test_it_shows_nothing_personal(tenant: Tenant, run: Run, tmp_path: Path) -> None:
    words = "User alice.confidential@contoso.com, +33 612345678"
    tenant.faults.add(faults.respond(400, code="BadRequest", message=words), "deletedItems")
    link = tmp_path / "link"
    first = await run("--keep-link", str(link))
    directory = tenant.directory
    for group in list(directory.groups)[:8]:
        directory.add_member(group, next(iter(directory.users)), "user")
    shown = first.out + first.err + json.dumps(first.findings)
    second = await run("--continue", str(link))
    shown += second.out + second.err + json.dumps(second.findings)
    hidden: list[str | None] = [
        "http",
        "token=ey",
        "skiptoken",
        "confidential",
        "612345678",
        link.read_text()[-40:],
    ]
    for item in (*directory.users.values(), *directory.groups.values()):
        hidden += [item["id"], item.get("userPrincipalName"), item.get("mail"), item.get("mobilePhone")]
        if " " in (item.get("displayName") or ""):
            hidden.append(item["displayName"])
    assert len(hidden) > 5000
    assert [word for word in hidden if word and word.strip() and word in shown] == []


# --- the sign-in --------------------------------------------------------------------------------------


class Refusing:
    async def get_token(self, *_: str, **__: object) -> Any:
        raise SignInRefused("The client secret has expired.")


def test_a_refused_sign_in(capsys: pytest.CaptureFixture[str]) -> None:
    @asynccontextmanager
    async def connect(_tenant: str | None, _environment: Any) -> AsyncIterator[Connection]:
        async with GraphClient(Refusing(), "http://127.0.0.1:9", SCOPE) as graph:  # type: ignore[arg-type]
            yield Connection(settings(), graph, None)

    assert main([], connect=connect) == 1
    assert "The client secret has expired." in capsys.readouterr().err


def test_settings_that_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "settings.json"
    file.write_text("{}")
    assert main(["--settings", str(file)]) == 1
    assert "ENTRA_TENANT_ID is missing" in capsys.readouterr().err
    assert main(["--tenant", "contoso.com"]) == 1
    assert "ENTRA_TENANT_ID is not a GUID" in capsys.readouterr().err


async def in_a_process(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The command as a person starts it."""
    inherited = inherited_environment(("ENTRA_", "DIRECTORY_", "AZURE_", "IDENTITY_", "MSI_"))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "docs/live_probe.py",
        *arguments,
        cwd=REPOSITORY,
        env=inherited | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_with_the_settings_of_the_app(tmp_path: Path, tenant: Tenant) -> None:
    certificates = make_server_certificates(tmp_path / "tls")
    context = serving(certificates)
    async with TenantServer(tenant, context) as server:
        code, output = await in_a_process(
            {
                "ENTRA_TENANT_ID": TENANT_ID,
                "ENTRA_CLIENT_ID": CLIENT_ID,
                "KEY_VAULT_URL": server.url,
                "GRAPH_ENDPOINT": server.url,
                "AZURE_AUTHORITY_HOST": server.url,
                "IDENTITY_ENDPOINT": f"{server.url}/msi/token",
                "IDENTITY_HEADER": IDENTITY_HEADER,
                "DIRECTORY_STORAGE": "UseDevelopmentStorage=true",
                **certificates.environment,
            }
        )
    assert code == 0, output
    assert output.startswith("check ")
    assert "Traceback" not in output
    assert tenant.requests_to("/secrets/entra-client-secret")
    assert "differs" not in output


async def test_settings_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "local.settings.json"
    values = {"ENTRA_TENANT_ID": TENANT_ID, "ENTRA_CLIENT_ID": CLIENT_ID, "ENTRA_CLOUD": "moon"}
    file.write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    code, told = await in_a_process({"ENTRA_CLOUD": "mars"}, "--settings", str(file))
    assert code == 1
    assert "ENTRA_CLOUD is 'mars'" in told
    assert "KEY_VAULT_URL is missing" in told
    assert "ENTRA_TENANT_ID" not in told

    file.write_text(json.dumps({"IsEncrypted": True, "Values": values}))
    assert "is encrypted" in (await in_a_process({}, "--settings", str(file)))[1]
    file.write_text("{")
    assert "cannot be read" in (await in_a_process({}, "--settings", str(file)))[1]


async def test_with_the_sign_in_of_the_azure_cli(tmp_path: Path, tenant: Tenant) -> None:
    az = tmp_path / "az"
    token = {"accessToken": tenant.token_for(tenant.clients[CLIENT_ID]).text, "expires_on": 4102444800}
    az.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\ncat <<'END'\n{json.dumps(token)}\nEND\n")
    az.chmod(0o700)
    async with TenantServer(tenant) as server:
        environment = {"GRAPH_ENDPOINT": server.url, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        code, output = await in_a_process(environment, "--tenant", TENANT_ID)
        az.write_text("#!/bin/sh\necho 'Please run az login, alice@contoso.com' >&2\nexit 1\n")
        refused, told = await in_a_process(environment, "--tenant", TENANT_ID)
    assert code == 0, output
    assert f"--tenant {TENANT_ID}" in (tmp_path / "asked").read_text()
    assert "differs" not in output
    assert refused == 1
    assert "az login" in told
    assert "alice" not in told
