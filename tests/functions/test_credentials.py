"""The webhook in Microsoft's worker, over TLS to the simulated tenant: what a sender gets for what."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.data.tables.aio import TableServiceClient
from standardwebhooks import Webhook

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.tenant import (
    MANAGED_IDENTITY_CLIENT_ID,
    TENANT_ID,
    VALIDATION_CLIENT_ID,
    Tenant,
    TenantServer,
    generate,
)
from tests.functions.test_directory_sync import after, problem_of
from tests.support.tls import serving
from tests.worker.run import Report, run_app

URL = "https://app.example/api/credentials/validate"


@dataclass
class App:
    """The app's environment, and a sender that knows the secret."""

    tenant: Tenant
    environment: dict[str, str]

    @property
    def user(self) -> dict[str, Any]:
        return next(
            user
            for user in self.tenant.directory.users.values()
            if user["accountEnabled"] and user["userPrincipalName"].endswith("@contoso.com")
        )

    def body(self, password: str = "Wrong-Marker-1", **more: Any) -> str:
        return json.dumps(
            {
                "credentials": [
                    {"id": "a", "username": self.user["userPrincipalName"], "password": password, **more}
                ]
            }
        )

    def call(self, body: str | None = None, call_id: str = "msg_1", **headers: str) -> dict[str, Any]:
        body = self.body() if body is None else body
        secret = self.tenant.vault.secrets["webhook-secret"][-1].value
        sent = {
            "webhook-id": call_id,
            "webhook-timestamp": str(int(time.time())),
            "webhook-signature": Webhook(secret).sign(call_id, datetime.now(UTC), body),
        }
        http = {"method": "POST", "url": URL, "body": body, "headers": sent | headers}
        return {"function": "credentials_validate", "http": http}

    async def run(self, *calls: dict[str, Any], **environment: str) -> Report:
        return await run_app(list(calls), self.environment | environment)


@pytest.fixture
async def app(account: StorageAccount, certificates: ServerCertificates) -> AsyncIterator[App]:
    tenant = Tenant(generate(users=20, seed=82))
    async with TenantServer(tenant, serving(certificates)) as server:
        environment = {
            "ENTRA_TENANT_ID": TENANT_ID,
            "ENTRA_CREDENTIAL": "managed-identity",
            "AZURE_CLIENT_ID": MANAGED_IDENTITY_CLIENT_ID,
            "VALIDATION_CLIENT_ID": VALIDATION_CLIENT_ID,
            "SYNC_SCHEDULE": "0 0 * * * *",
            "KEY_VAULT_URL": server.url,
            "GRAPH_ENDPOINT": server.url,
            "AZURE_AUTHORITY_HOST": server.url,
            "IDENTITY_ENDPOINT": f"{server.url}/msi/token",
            "IDENTITY_HEADER": tenant.identity_header,
            "DIRECTORY_STORAGE": account.connection_string,
            **certificates.environment,
        }
        yield App(tenant, environment)


def results_of(outcome: dict[str, Any]) -> list[dict[str, Any]]:
    assert outcome["status"] == 200, outcome
    assert outcome["headers"]["content-type"] == "application/json"
    results: list[dict[str, Any]] = json.loads(outcome["body"])["results"]
    return results


async def test_a_signed_call_has_its_verdicts(app: App) -> None:
    password = app.tenant.password_of(app.user["id"]) or ""
    report = await app.run(app.call(app.body(password)), after(app.call(app.body(password))))
    first, again = report.outcomes
    [result] = results_of(first)
    assert (result["status"], result["evidence"]) == ("valid", ["AADSTS50105"])
    assert result["user"]["id"] == app.user["id"]
    assert again["body"] == first["body"]
    assert len(app.tenant.sign_ins) == 1
    assert password not in report.log


async def test_who_is_not_known(app: App) -> None:
    """One text for all, whatever is wrong: nothing to learn from it."""
    report = await app.run(
        app.call(**{"webhook-signature": "v1,bm90IG91cnM="}),
        app.call(**{"webhook-signature": "v1,"}),
        app.call(**{"webhook-timestamp": "1"}),
        app.call(**{"webhook-id": ""}),
    )
    documents = [problem_of(outcome, 401) for outcome in report.outcomes]
    assert all(document == documents[0] for document in documents)
    assert app.tenant.sign_ins == []


async def test_what_is_not_understood(app: App) -> None:
    bodies = ["", "[]", "{}", "[" * 60_000, '{"credentials": []}', app.body(unknown=1), app.body(id="a b")]
    report = await app.run(*(app.call(body, f"msg_{number}") for number, body in enumerate(bodies)))
    for body, outcome in zip(bodies, report.outcomes, strict=True):
        document = problem_of(outcome, 400)
        assert document["problems"], body
    assert "Wrong-Marker-1" not in report.log + json.dumps(report.outcomes)


async def test_what_is_too_large_or_no_json(app: App) -> None:
    report = await app.run(
        app.call(" " * 65_537),
        app.call(**{"content-type": "text/plain"}),
        app.call(**{"content-type": ""}),
        app.call(**{"content-encoding": "gzip"}),
        app.call(**{"content-type": "Application/JSON; charset=utf-8"}),
    )
    statuses = [outcome["status"] for outcome in report.outcomes]
    assert statuses == [413, 415, 415, 415, 200]
    for outcome in report.outcomes[:4]:
        problem_of(outcome, outcome["status"])


async def test_another_body_under_the_same_id(app: App) -> None:
    report = await app.run(app.call(), after(app.call(app.body("Wrong-Marker-2"))))
    results_of(report.outcomes[0])
    problem_of(report.outcomes[1], 422)


@pytest.mark.parametrize("missing", ["webhook-secret", "credential-memory-key", "validation-client-secret"])
async def test_what_the_operator_has_to_mend_is_in_the_log_alone(app: App, missing: str) -> None:
    call = app.call()
    del app.tenant.vault.secrets[missing]
    app.tenant.vault.secrets.pop("entra-client-secret", None)
    report = await app.run(call)
    document = problem_of(report.outcomes[0], 503)
    assert report.outcomes[0]["headers"]["retry-after"] == "60"
    assert "Vault" not in json.dumps(document)
    assert "ERROR" in report.log
    assert "Key Vault secret" in report.log


async def test_a_refused_app_is_the_operators(app: App) -> None:
    app.tenant.clients[VALIDATION_CLIENT_ID].enabled = False
    report = await app.run(app.call())
    assert "AADSTS" not in json.dumps(problem_of(report.outcomes[0], 503))
    assert "AADSTS7000112" in report.log


async def test_settings_that_are_missing(app: App) -> None:
    report = await app.run(app.call(), KEY_VAULT_URL="")
    problem_of(report.outcomes[0], 503)
    assert "KEY_VAULT_URL is missing" in report.log


async def test_the_nightly_work_needs_no_validation(app: App) -> None:
    """An app that only reads the directory: no vault, or a vault without the secrets of validation."""
    without = await app.run({"function": "credentials_sweep"}, KEY_VAULT_URL="")
    for name in ("webhook-secret", "credential-memory-key", "validation-client-secret"):
        app.tenant.vault.remove(name)
    bare = await app.run({"function": "credentials_sweep"})
    assert [report.outcomes[0].get("failed") for report in (without, bare)] == [None, None]


async def test_the_nightly_sweep(app: App, account: StorageAccount) -> None:
    app.tenant.vault.put("webhook-secret", app.tenant.vault.secrets["webhook-secret"][-1].value, expires=2e9)
    app.tenant.vault.put("entra-client-secret", "old", expires=time.time() + 86_400 * 3)
    report = await app.run(app.call(), after({"function": "credentials_sweep"}))
    assert "failed" not in report.outcomes[1], report.outcomes[1]
    async with TableServiceClient.from_connection_string(account.connection_string) as tables:
        kept = [one async for one in tables.get_table_client("webhookrequests").list_entities()]
    assert len(kept) == 1
    assert report.log.count("event secret.expires ") == 1
    assert '"secret":"entra-client-secret"' in report.log
