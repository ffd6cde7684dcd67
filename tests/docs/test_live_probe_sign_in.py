"""The probe of a real sign-in service, on the simulated one: whom it tries, how often, and what it hides."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from docs.live_probe import Connection, main
from docs.probe.sign_in import SPACING_SECONDS
from sandbox.certificates import ServerCertificates
from sandbox.tenant import (
    CLIENT_ID,
    FEDERATED_DOMAIN,
    TENANT_ID,
    VALIDATION_CLIENT_ID,
    Tenant,
    TenantServer,
    faults,
    generate,
)
from sandbox.tenant.configuration import IDENTITY_HEADER
from shared.config import Settings
from shared.credentials.probe import SignInProbe
from shared.graph.client import GraphClient
from shared.graph.policy import RetryPolicy
from shared.identity.secrets import secret_store
from tests.docs.test_live_probe import Outcome, findings_in, in_a_process
from tests.support.tls import serving
from tests.support.validation import VaultCredential
from tests.support.world import Clock, TenantCredential, settings

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")

TOKEN_PATH = r"/oauth2/v2.0/token"
ITSELF = "sign-in: the validation app as itself"
RIGHT = "sign-in: the right password"
WRONG = "sign-in: a wrong password"
APART = "sign-in: right and wrong told apart"
AGAIN = "sign-in: the right one again"
NOBODY = "sign-in: a name of nobody"


@dataclass
class Bench:
    """One tenant with a test user, and the probe before it."""

    tenant: Tenant
    user: dict[str, Any]
    settings: Settings
    connect: Callable[..., Any]
    folder: Path
    capsys: pytest.CaptureFixture[str]
    name: str = ""
    password: str = ""
    slept: list[float] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.user["id"])

    @property
    def codes(self) -> list[int]:
        """Of all sign-ins of users, as Entra answered them."""
        return [each.code for each in self.tenant.sign_ins]

    async def run(self, *arguments: str) -> Outcome:
        file = self.folder / "findings.json"
        file.unlink(missing_ok=True)
        answers = iter([self.name or self.user["userPrincipalName"], self.password])
        code = await asyncio.to_thread(
            main,
            ["--sign-in", "--json", str(file), *arguments],
            connect=self.connect,
            ask=lambda _: next(answers),
            sleep=self.sleep,
        )
        shown = self.capsys.readouterr()
        return Outcome(code, shown.out, shown.err, findings_in(file) if file.exists() else {})

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
async def bench(
    certificates: ServerCertificates, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Bench]:
    tenant = Tenant(generate(users=60, seed=5))
    user = next(
        user
        for user in tenant.directory.users.values()
        if user["accountEnabled"]
        and user["userPrincipalName"].endswith("@contoso.com")
        and not user.get("onPremisesSyncEnabled")
        and not tenant.directory.registrations[user["id"]]["isAdmin"]
    )
    clock = Clock()
    policy = RetryPolicy(now=clock.timestamp, sleep=clock.sleep, jitter=lambda: 0.0)
    async with TenantServer(tenant) as plain, TenantServer(tenant, serving(certificates)) as vault:
        chosen = settings(KEY_VAULT_URL=vault.url, VALIDATION_CLIENT_ID=VALIDATION_CLIENT_ID)
        chosen = replace(chosen, authority=plain.url, graph_origin=plain.url)

        @asynccontextmanager
        async def connect(_tenant: str | None, _environment: Any) -> AsyncIterator[Connection]:
            async with AsyncExitStack() as opened:
                graph = GraphClient(TenantCredential(tenant), plain.url, chosen.cloud.graph_scope, policy)  # type: ignore[arg-type]
                await opened.enter_async_context(graph)
                session = await opened.enter_async_context(aiohttp.ClientSession())
                options: dict[str, Any] = {
                    "connection_verify": str(certificates.authority),
                    "retry_backoff_factor": 0,
                }
                secrets = secret_store(chosen, VaultCredential(tenant), **options)  # type: ignore[arg-type]
                opened.push_async_callback(secrets.close)

                async def probe() -> SignInProbe:
                    return SignInProbe(made.settings, secrets, session)

                yield Connection(made.settings, graph, probe)

        made = Bench(tenant, user, chosen, connect, tmp_path, capsys)
        made.password = tenant.password_of(made.id) or ""
        yield made


# --- what is tried ------------------------------------------------------------------------------------


async def test_a_tenant_that_does_as_documented(bench: Bench) -> None:
    outcome = await bench.run("--yes")
    assert outcome.code == 0
    assert bench.codes == [50105, 50126, 50105, 50034]
    assert bench.slept == [SPACING_SECONDS] * 3
    assert list(outcome.findings) == [ITSELF, RIGHT, WRONG, APART, AGAIN, NOBODY]
    assert outcome.verdicts() == {"as expected"}
    assert outcome.seen(RIGHT).startswith("AADSTS50105; the app answers valid, not_assigned_to_app, high; ")
    assert outcome.seen(APART) == "AADSTS50105 and AADSTS50126"
    assert {each.user_id for each in bench.tenant.sign_ins} == {bench.id, None}
    assert bench.tenant.lockout.statistics[bench.id].counted_failures == 1


async def test_nothing_is_tried_without_a_yes(bench: Bench) -> None:
    outcome = await bench.run()
    assert outcome.code == 0
    assert bench.codes == []
    assert list(outcome.findings) == [ITSELF]
    assert "Four sign-ins of the validation app, 60 seconds apart" in outcome.out
    assert "Run it again with --yes" in outcome.out


async def test_a_second_factor_comes_first(bench: Bench) -> None:
    bench.tenant.accounts[bench.id].after_password = (50076, 50079)
    outcome = await bench.run("--yes")
    assert outcome.seen(RIGHT).startswith("AADSTS50076 AADSTS50079; the app answers valid, mfa_required, ")
    assert outcome.verdicts() == {"as expected"}


async def test_a_token_in_spite_of_the_assignment(bench: Bench) -> None:
    bench.tenant.clients[VALIDATION_CLIENT_ID].assigned.add(bench.id)
    outcome = await bench.run("--yes")
    assert outcome.verdict(RIGHT) == "differs"
    assert outcome.seen(RIGHT).startswith("HTTP 200; the app answers valid, active, high; ")
    assert outcome.verdict(APART) == "as expected"


async def test_security_defaults_before_the_password(bench: Bench) -> None:
    bench.tenant.accounts[bench.id].instead_of_password = (530035,)
    outcome = await bench.run("--yes")
    # Not twice: nobody knows whether the password is right.
    assert bench.codes == [530035, 530035, 50034]
    assert AGAIN not in outcome.findings
    assert outcome.verdict(RIGHT) == outcome.verdict(WRONG) == "differs"
    assert outcome.verdict(APART) == "as expected"
    assert outcome.seen(APART).endswith("they tell nothing of the password")


async def test_security_defaults_after_the_password(bench: Bench) -> None:
    bench.tenant.accounts[bench.id].after_password = (530035,)
    outcome = await bench.run("--yes")
    assert bench.codes == [530035, 50126, 50034]
    assert outcome.verdict(APART) == "differs"
    assert outcome.seen(APART).endswith("Entra tells more than the app reads")


@pytest.mark.parametrize(("instead", "verdict"), [((), "differs"), ((50057,), "as expected")])
async def test_a_disabled_user(bench: Bench, instead: tuple[int, ...], verdict: str) -> None:
    bench.tenant.directory.update_user(bench.id, {"accountEnabled": False})
    bench.tenant.accounts[bench.id].instead_of_password = instead
    outcome = await bench.run("--yes")
    assert "The app itself would answer `disabled` and try nothing." in outcome.out
    assert bench.codes == [50057, 50057 if instead else 50126, 50034]
    assert outcome.verdict(RIGHT) == "as expected"
    assert outcome.verdict(APART) == verdict


async def test_a_wrong_password_that_is_called_valid(bench: Bench) -> None:
    bench.tenant.accounts[bench.id].instead_of_password = (50076,)
    outcome = await bench.run("--yes")
    assert outcome.verdict(APART) == "differs"
    assert "calls a wrong password valid" in outcome.seen(APART)


async def test_a_name_of_nobody_that_is_called_a_wrong_password(bench: Bench) -> None:
    bench.tenant.faults.add(faults.entra_error([50126]), TOKEN_PATH, body=r"username=probe-")
    outcome = await bench.run("--yes")
    assert outcome.verdict(NOBODY) == "differs"
    assert outcome.seen(NOBODY).startswith("AADSTS50126; ")


# --- where it ends ------------------------------------------------------------------------------------


async def test_the_one_failure_may_be_the_operators(bench: Bench) -> None:
    bench.password = "mistyped"
    outcome = await bench.run("--yes")
    assert outcome.code == 0
    assert bench.codes == [50126]
    assert outcome.verdict(RIGHT) == "not tried"


@pytest.mark.parametrize("code", [50053, 50056, 90033, 90055])
async def test_it_ends_where_entra_refuses_to_tell(bench: Bench, code: int) -> None:
    bench.tenant.faults.add(faults.entra_error([code]), TOKEN_PATH, body="grant_type=password", times=None)
    outcome = await bench.run("--yes")
    assert outcome.code == 0
    assert list(outcome.findings) == [ITSELF, RIGHT]
    assert len(tried(bench)) == 1


async def test_it_ends_where_entra_does_not_answer(bench: Bench) -> None:
    bench.tenant.faults.add(faults.reset(), TOKEN_PATH, body="grant_type=password")
    outcome = await bench.run("--yes")
    assert bench.codes == [50105]
    assert outcome.verdict(RIGHT) == "not tried"


@pytest.mark.parametrize("before", [1, 2])
async def test_it_ends_where_a_later_one_is_locked(bench: Bench, before: int) -> None:
    rule = bench.tenant.faults.add(
        faults.entra_error([50053]), TOKEN_PATH, body="grant_type=password", skip=before, times=None
    )
    await bench.run("--yes")
    assert rule.hits == 1
    assert bench.codes == [50105, 50126][:before]


async def test_the_app_is_refused_halfway(bench: Bench) -> None:
    bench.tenant.faults.add(faults.entra_error([7000112]), TOKEN_PATH, body="grant_type=password", skip=1)
    outcome = await bench.run("--yes")
    assert bench.codes == [50105]
    assert outcome.seen("sign-in: the validation app") == "AADSTS7000112: the app is refused"


def tried(bench: Bench) -> list[str]:
    """All requests for tokens but that of the app itself."""
    return [each.path for each in bench.tenant.requests_to(TOKEN_PATH)][1:]


# --- whom it does not try -----------------------------------------------------------------------------


def synchronised(bench: Bench) -> None:
    bench.tenant.directory.update_user(bench.id, {"onPremisesSyncEnabled": True})


def guest(bench: Bench) -> None:
    bench.tenant.directory.update_user(bench.id, {"userType": "Guest"})


def federated(bench: Bench) -> None:
    bench.name = f"ada@{FEDERATED_DOMAIN}"
    bench.tenant.directory.update_user(bench.id, {"userPrincipalName": bench.name})


def role(bench: Bench) -> None:
    bench.tenant.directory_roles[bench.id] = {"62e90394-69f5-4237-9190-012177145e10"}


def role_by_a_group(bench: Bench) -> None:
    bench.tenant.directory.add_group({"id": "admins"})
    bench.tenant.directory.add_member("admins", bench.id)
    bench.tenant.directory_roles["admins"] = {"62e90394-69f5-4237-9190-012177145e10"}


def admin_in_the_report(bench: Bench) -> None:
    row = bench.tenant.directory.registrations[bench.id]
    bench.tenant.directory.registrations[bench.id] = {**row, "isAdmin": True}


def excluded(bench: Bench) -> None:
    group = "11111111-2222-3333-4444-555555555555"
    bench.tenant.directory.add_group({"id": group})
    bench.tenant.directory.add_member(group, bench.id)
    bench.settings = replace(bench.settings, validation_excluded_group=group)


def another_address(bench: Bench) -> None:
    bench.name = "alias@contoso.com"
    bench.tenant.directory.update_user(bench.id, {"proxyAddresses": [f"smtp:{bench.name}"]})


def nobody(bench: Bench) -> None:
    bench.name = "nobody@contoso.com"


def whitespace(bench: Bench) -> None:
    bench.password += " "


def switched_off(bench: Bench) -> None:
    bench.settings = replace(bench.settings, validation_enabled=False)


def without_client(bench: Bench) -> None:
    bench.settings = replace(bench.settings, validation_client_id=None)


def without_vault(bench: Bench) -> None:
    bench.settings = replace(bench.settings, key_vault_url=None)


def no_users(bench: Bench) -> None:
    bench.tenant.clients[CLIENT_ID].permissions.discard("User.Read.All")
    bench.tenant.clients[CLIENT_ID].permissions.discard("Directory.Read.All")


def wrong_secret(bench: Bench) -> None:
    bench.tenant.vault.put("validation-client-secret", "wrong")


def disabled_app(bench: Bench) -> None:
    bench.tenant.clients[VALIDATION_CLIENT_ID].enabled = False


def silent_entra(bench: Bench) -> None:
    bench.tenant.faults.add(faults.html(502), TOKEN_PATH)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (synchronised, "synchronised"),
        (guest, "The password of a guest belongs to another tenant."),
        (federated, "The password is checked by the organisation's own server."),
        (role, "holds a directory role"),
        (role_by_a_group, "holds a directory role"),
        (admin_in_the_report, "holds a directory role"),
        (excluded, "VALIDATION_EXCLUDED_GROUP"),
        (another_address, "Give the user principal name."),
        (nobody, "(not_found)"),
        (whitespace, "does not accept such a password"),
        (switched_off, "VALIDATION_ENABLED is false"),
        (without_client, "infra/grant-permissions.sh validation-app"),
        (without_vault, "KEY_VAULT_URL is missing"),
        (no_users, "403 Authorization_RequestDenied (permission)"),
        (wrong_secret, "The validation app cannot sign in"),
        (disabled_app, "The validation app cannot sign in"),
        (silent_entra, "The validation app cannot sign in"),
    ],
)
async def test_it_refuses(bench: Bench, prepare: Callable[[Bench], None], reason: str) -> None:
    prepare(bench)
    outcome = await bench.run("--yes")
    assert outcome.code == 1
    assert "Nothing was tried." in outcome.err
    assert reason in outcome.err
    assert bench.codes == []
    assert bench.slept == []


async def test_what_the_self_test_shows(bench: Bench) -> None:
    wrong_secret(bench)
    outcome = await bench.run()
    assert "AADSTS7000215" in outcome.out
    assert "refused" in outcome.out


async def test_roles_that_graph_does_not_tell(bench: Bench) -> None:
    bench.tenant.clients[CLIENT_ID].permissions.discard("AuditLog.Read.All")
    assert "Make sure that it holds none." not in (await bench.run()).out
    bench.tenant.faults.add(faults.respond(403, code="Authorization_RequestDenied"), "transitiveMemberOf")
    assert "Make sure that it holds none." in (await bench.run()).out


# --- what it shows ------------------------------------------------------------------------------------


async def test_ids_for_the_sign_in_logs(bench: Bench) -> None:
    bench.tenant.faults.add(
        faults.change_fields(
            {"trace_id": "1f0c2d3e-0000-4000-8000-123456789abc", "correlation_id": "\x1b[2J"}
        ),
        TOKEN_PATH,
        body="grant_type=password",
    )
    outcome = await bench.run("--yes")
    assert outcome.seen(RIGHT).endswith(" ms; trace 1f0c2d3e-0000-4000-8000-123456789abc")
    assert "; correlation " in outcome.seen(WRONG)


async def test_the_link_only_when_asked_for(bench: Bench) -> None:
    link = f"https://entra.microsoft.com/#view/Microsoft_AAD_UsersAndTenants/UserProfileMenuBlade/~/overview/userId/{bench.id}"
    assert link in (await bench.run("--show-link")).out
    outcome = await bench.run("--yes")
    assert bench.id not in outcome.out


async def test_it_shows_neither_name_nor_password_nor_token(bench: Bench) -> None:
    bench.tenant.clients[VALIDATION_CLIENT_ID].assigned.add(bench.id)
    shown = ""
    for arguments in (["--yes", "--show-link"], []):
        outcome = await bench.run(*arguments)
        shown += outcome.out + outcome.err + json.dumps(outcome.findings)
    nobody(bench)
    outcome = await bench.run("--yes")
    shown += outcome.out + outcome.err
    assert outcome.code == 1
    for hidden in (
        bench.user["userPrincipalName"],
        bench.user["displayName"],
        bench.name,
        bench.password,
        "probe-",
        "wrong-",
        "eyJ",
        "@",
        bench.tenant.vault.secrets["validation-client-secret"][-1].value,
    ):
        assert hidden.lower() not in shown.lower(), hidden


# --- the command --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sign-in", "--tenant", TENANT_ID],
        ["--sign-in", "--keep-link", "link.txt"],
        ["--yes"],
        ["--show-link"],
        ["--sign-in", "--password", "secret"],
    ],
)
def test_arguments_that_do_not_go_together(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: " in capsys.readouterr().err


async def test_as_a_person_starts_it(certificates: ServerCertificates, bench: Bench) -> None:
    async with TenantServer(bench.tenant, serving(certificates)) as server:
        environment = {
            "ENTRA_TENANT_ID": TENANT_ID,
            "ENTRA_CLIENT_ID": CLIENT_ID,
            "VALIDATION_CLIENT_ID": VALIDATION_CLIENT_ID,
            "KEY_VAULT_URL": server.url,
            "GRAPH_ENDPOINT": server.url,
            "AZURE_AUTHORITY_HOST": server.url,
            "IDENTITY_ENDPOINT": f"{server.url}/msi/token",
            "IDENTITY_HEADER": IDENTITY_HEADER,
            "DIRECTORY_STORAGE": "UseDevelopmentStorage=true",
            **certificates.environment,
        }
        code, output = await in_a_process(environment, "--sign-in")
        assert code == 1
        assert "PROBE_USER and PROBE_PASSWORD are missing" in output

        environment |= {"PROBE_USER": bench.user["userPrincipalName"], "PROBE_PASSWORD": bench.password}
        code, output = await in_a_process(environment, "--sign-in", "--show-link")
    assert code == 0, output
    assert "Traceback" not in output
    assert f"userId/{bench.id}" in output
    assert "Entra accepts it" in output
    assert bench.password not in output
    assert bench.codes == []
