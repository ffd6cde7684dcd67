"""What is told when something is wrong, and that nothing is lost by it.

The app runs as it is deployed, and one thing at a time is broken around it. Its log and its status have to
say in a sentence what is wrong and what to do; the last snapshot stays as it is, and nothing half-made gets
beside it. Once the cause is gone, the next tick of the timer publishes: without a restart, unless it was a
setting.
"""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from azure.storage.blob import AccountSasPermissions, ResourceTypes, Services, generate_account_sas

from sandbox.azurite import StorageAccount
from sandbox.certificates import ServerCertificates
from sandbox.demo.process_usage import usage_of
from sandbox.services.child import Child
from sandbox.tenant import CLIENT_ID, CLIENT_SECRET, TENANT_ID, Client, Secret, Tenant, faults, generate
from sandbox.tenant.configuration import ALL_PERMISSIONS, IDENTITY_HEADER
from sandbox.tenant.faults import Answer
from sandbox.tenant.messages import Call, JsonObject, Reply
from tests.end_to_end.command import WARNINGS
from tests.end_to_end.conftest import Deployment, deployed, lines
from tests.end_to_end.gate import Gate
from tests.support.events import parse
from tests.validation import validate_line, validate_manifest, validate_pointer

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRANGER = "00000000-0000-4000-8000-00000000beef"
SECRET_NAME = "entra-client-secret"
PATIENCE_SECONDS = 20
"""Whoever asks for the status, or reads the log, knows within this time."""
PEAK_BYTES = 200 * 1024 * 1024
"""What the README promises for 100,000 users."""


# --- a company, and what the app says there -------------------------------------------------------


@dataclass
class Company:
    """A deployment that has published, with gates between the app and what it needs."""

    deployment: Deployment
    vault: Gate
    blobs: Gate
    queues: Gate

    @property
    def tenant(self) -> Tenant:
        return self.deployment.tenant


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(
    certificates: ServerCertificates,
    storage: Iterator[StorageAccount],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Company]:
    """Shared by the cases: each leaves it as it was."""
    tenant, account = Tenant(generate(users=60, seed=3)), next(storage)
    directory = tmp_path_factory.mktemp("company")
    async with AsyncExitStack() as stack:
        deployment = await stack.enter_async_context(deployed(tenant, account, certificates, directory))
        urls = (deployment.environment["KEY_VAULT_URL"], account.blob_uri, account.queue_uri)
        vault, blobs, queues = [await stack.enter_async_context(Gate(url)) for url in urls]
        deployment.environment |= {
            "SECRET_TTL_SECONDS": "0",
            "KEY_VAULT_URL": vault.url,
            "DIRECTORY_STORAGE__blobServiceUri": blobs.url,
            "DIRECTORY_STORAGE__queueServiceUri": queues.url,
        }
        await deployment.start()
        stack.push_async_callback(deployment.stop)
        await published(deployment)
        yield Company(deployment, vault, blobs, queues)


async def published(deployment: Deployment) -> dict[str, Any]:
    """Tick the timer; the manifest of the next snapshot, which is valid and whole."""
    before = (await deployment.status())["published"]
    await deployment.fire_timer()
    shown = await deployment.until("published", sequence=before["sequence"] + 1 if before else 1)
    assert (await deployment.status())["current"] is None
    blobs = await deployment.blobs()
    pointer, manifest = json.loads(blobs["current.json"]), json.loads(blobs[shown["manifest"]])
    validate_pointer(pointer)
    validate_manifest(manifest)
    assert pointer["run_id"] == manifest["run_id"] == shown["run_id"]
    for entry in manifest["datasets"].values():
        assert entry["status"] == "complete"
        assert {part["path"] for part in entry["parts"]} <= blobs.keys()
    return dict(manifest)


async def rows(
    deployment: Deployment, manifest: dict[str, Any], *datasets: str
) -> dict[str, list[dict[str, Any]]]:
    """The lines of these datasets, or of all."""
    blobs = await deployment.blobs()
    return {
        dataset: [
            row for part in manifest["datasets"][dataset]["parts"] for row in lines(blobs[part["path"]])
        ]
        for dataset in datasets or manifest["datasets"]
    }


@asynccontextmanager
async def nothing_changes(deployment: Deployment) -> AsyncIterator[None]:
    """Whatever goes wrong meanwhile, consumers find what they found before: no more, no less."""
    before = await deployment.blobs()
    assert "current.json" in before
    yield
    assert await deployment.blobs() == before


class Log:
    """What a host logs from now on."""

    def __init__(self, host: Child) -> None:
        self._host = host
        self._begin = len(host.log.read_text())

    async def sentence(self, event: str) -> str:
        """The sentence of the event; logged as an error, and once."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if found := self._errors(event):
                    (fields,) = found
                    return str(fields["sentence"])
                await asyncio.sleep(0.02)

    def _errors(self, event: str) -> list[JsonObject]:
        text = self._host.log.read_text()
        assert CLIENT_SECRET not in text
        assert IDENTITY_HEADER not in text
        complete = [line for line in text[self._begin :].splitlines(keepends=True) if line.endswith("\n")]
        messages = [line.partition(": ")[2].strip() for line in complete if " ERROR " in line]
        return [fields for name, fields in map(parse, messages) if name == event]


def assert_sentence(text: str, *words: str) -> None:
    """One line that ends as a sentence does, says these words, and says nothing twice."""
    assert "\n" not in text
    assert text.endswith((".", ")"))
    for word in words:
        assert text.count(word) == 1, (word, text)


# --- a run that fails -----------------------------------------------------------------------------

type Broken = Callable[[Company], AbstractAsyncContextManager[None]]


def with_settings(**changes: str | None) -> Broken:
    """The app is started with these settings, and started again with the right ones."""

    @asynccontextmanager
    async def broken(company: Company) -> AsyncIterator[None]:
        await company.deployment.stop()
        await company.deployment.start(**changes)
        try:
            yield
        finally:
            await company.deployment.stop()
            await company.deployment.start()

    return broken


def with_tenant(breaking: Callable[[Tenant], object], mending: Callable[[Tenant], object]) -> Broken:
    """The tenant is changed while the app runs, and changed back. What the app had signed in with is over."""

    @asynccontextmanager
    async def broken(company: Company) -> AsyncIterator[None]:
        tenant = company.tenant
        tenant.faults.add(faults.respond(401, code="InvalidAuthenticationToken"), r"/v1\.0/")
        breaking(tenant)
        try:
            yield
        finally:
            tenant.faults.clear()
            mending(tenant)

    return broken


@asynccontextmanager
async def vault_away(company: Company) -> AsyncIterator[None]:
    async with with_tenant(nothing, nothing)(company), company.vault.shut():
        yield


def nothing(_: Tenant) -> None:
    return None


def app_granted(permissions: Iterable[str] = ALL_PERMISSIONS) -> Client:
    """The app registration that the app signs in as."""
    return Client(CLIENT_ID, secrets=[Secret(CLIENT_SECRET)], permissions=set(permissions))


FAILURES = [
    pytest.param(
        with_settings(ENTRA_TENANT_ID=STRANGER),
        f"knows no tenant {STRANGER}.",
        "Check ENTRA_TENANT_ID, and that ENTRA_CLOUD is the tenant's cloud.",
        id="wrong tenant id",
    ),
    pytest.param(
        with_settings(ENTRA_CLIENT_ID=STRANGER),
        f"The app registration {STRANGER} is not in the tenant {TENANT_ID}.",
        "Check ENTRA_CLIENT_ID and ENTRA_TENANT_ID",
        id="wrong client id",
    ),
    pytest.param(
        with_tenant(lambda tenant: tenant.clients.clear(), lambda tenant: tenant.add_client(app_granted())),
        f"The app registration {CLIENT_ID} is not in the tenant {TENANT_ID}.",
        "that an administrator of this tenant has consented",
        id="app not consented to",
    ),
    pytest.param(
        vault_away,
        f"Key Vault secret {SECRET_NAME} at 127.0.0.1:",
        "the vault is unreachable. Check KEY_VAULT_URL, and the vault's network rules.",
        id="vault unreachable",
    ),
    pytest.param(
        with_tenant(
            lambda tenant: tenant.vault.secrets.clear(),
            lambda tenant: tenant.vault.put(SECRET_NAME, CLIENT_SECRET),
        ),
        "does not exist, or has no version in force.",
        "Store it in the vault.",
        id="vault without the secret",
    ),
    pytest.param(
        with_tenant(
            lambda tenant: setattr(tenant.vault, "forbidden", True),
            lambda tenant: setattr(tenant.vault, "forbidden", False),
        ),
        "the vault refuses the app's own identity (403).",
        "Grant it the role Key Vault Secrets User on the vault.",
        id="vault forbidden",
    ),
    pytest.param(
        with_tenant(lambda tenant: tenant.faults.add(faults.html(200), "/users/delta", times=None), nothing),
        "users: Graph sent a page that cannot be read: it is HTML",
        "Let the app reach Graph without a proxy",
        id="page of HTML",
    ),
]


@pytest.mark.parametrize(("broken", "wrong", "remedy"), FAILURES)
async def test_run_that_fails_says_why(company: Company, broken: Broken, wrong: str, remedy: str) -> None:
    deployment = company.deployment
    async with broken(company), nothing_changes(deployment):
        before, log = await deployment.status(), Log(deployment.host)
        await deployment.fire_timer()
        failed = await deployment.until("current", status="failed")
        assert_sentence(failed["error"], wrong, remedy)
        assert await log.sentence("directory.run_failed") == failed["error"]
        status = await deployment.status()
        assert (status["published"], status["held"]) == (before["published"], None)
        assert CLIENT_SECRET not in json.dumps(status)
    await published(deployment)


async def test_app_without_any_permission_is_told_which_it_needs(company: Company) -> None:
    """And is not restarted when they are granted, although only new tokens hold them."""
    deployment = company.deployment
    broken = with_tenant(
        lambda tenant: tenant.add_client(app_granted([])), lambda tenant: tenant.add_client(app_granted())
    )
    async with broken(company), nothing_changes(deployment):
        log = Log(deployment.host)
        await deployment.fire_timer()
        failed = await deployment.until("current", status="failed")
        assert await log.sentence("directory.run_failed") == failed["error"]
        users, groups = (
            f"Graph refused {dataset} (403 Authorization_RequestDenied): {permission} is not granted to the "
            "app. Grant this application permission and give admin consent."
            for dataset, permission in (("users", "User.Read.All"), ("groups", "GroupMember.Read.All"))
        )
        # Whichever is refused first ends the run; users are the first that are asked for, and say it anyhow.
        assert failed["error"] in (users, groups, f"{users} {groups}")
        assert await error_of_users(deployment) == users
    await published(deployment)


async def error_of_users(deployment: Deployment) -> str:
    """What the status says of the users, once it says that they failed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            users = (await deployment.status())["current"]["datasets"]["users"]
            if users["status"] == "failed":
                return str(users["error"])
            await asyncio.sleep(0.02)


# --- a run that does not start --------------------------------------------------------------------


async def refused(deployment: Deployment, title: str) -> JsonObject:
    """The problem document that comes in place of the status, in bounded time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await deployment.http.get("/api/directory/status")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    document: JsonObject = answer.json()
    assert (document["status"], document["title"]) == (503, title)
    assert CLIENT_SECRET not in answer.text
    return document


async def test_missing_settings_are_named_all_at_once(company: Company) -> None:
    deployment = company.deployment
    missing = ("ENTRA_TENANT_ID", "ENTRA_CLIENT_ID", "KEY_VAULT_URL", "DIRECTORY_STORAGE__blobServiceUri")
    async with with_settings(**dict.fromkeys(missing))(company), nothing_changes(deployment):
        log = Log(deployment.host)
        problem = await refused(deployment, "The app's settings need attention")
        assert {one.partition(" is missing: expected ")[0] for one in problem["problems"]} == set(missing)
        assert_sentence(problem["detail"], "The app's settings need attention: ", *problem["problems"])
        await deployment.fire_timer()
        assert await log.sentence("directory.run_not_started") == problem["detail"]
    await published(deployment)


@pytest.mark.parametrize(
    "services",
    [
        pytest.param(["blobs"], id="blobs"),
        # The local host's own queue client sleeps for up to 20 s before it tries again.
        pytest.param(["blobs", "queues"], id="blobs and queues", marks=pytest.mark.slow),
    ],
)
async def test_storage_that_is_cut_off_is_told_in_bounded_time(company: Company, services: list[str]) -> None:
    """In the midst of a run, which goes on where it was."""
    deployment, released = company.deployment, asyncio.Event()

    async def hold(_: Call, answer: Answer) -> Reply:
        await released.wait()
        return await answer()

    company.tenant.faults.add(hold, "/users/delta")
    async with nothing_changes(deployment):
        await deployment.fire_timer()
        current = await deployment.until("current", status="collecting")
        async with AsyncExitStack() as stack:
            for service in services:
                await stack.enter_async_context(getattr(company, service).shut())
            log = Log(deployment.host)
            released.set()
            await deployment.fire_timer()
            problem = await refused(deployment, "Storage is not available")
            for sentence in (problem["detail"], await log.sentence("directory.run_not_started")):
                assert_sentence(
                    sentence, "Storage is unreachable", "Check DIRECTORY_STORAGE and the network."
                )
        assert (await deployment.status())["current"]["run_id"] == current["run_id"]
    assert (await published(deployment))["run_id"] == current["run_id"]


@pytest.mark.slow
async def test_queue_that_is_cut_off_leaves_a_run_that_the_next_tick_heals(company: Company) -> None:
    deployment = company.deployment
    async with nothing_changes(deployment):
        async with company.queues.shut():
            log = Log(deployment.host)
            await deployment.fire_timer()
            assert_sentence(
                await log.sentence("directory.run_not_started"),
                "Queue `directory-sync` does not take messages",
                "Check DIRECTORY_STORAGE, and grant the app's identity Storage Queue Data Contributor.",
            )
        current = (await deployment.status())["current"]
    assert (await published(deployment))["run_id"] == current["run_id"]


async def test_app_that_may_only_read_storage_is_told_the_role(company: Company) -> None:
    """Azurite knows no roles. A signature that does not allow to write is refused as such an identity is."""
    deployment, account = company.deployment, company.deployment.account
    signature = generate_account_sas(
        account.name,
        account.key,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, list=True, add=True, process=True),
        datetime.now(UTC) + timedelta(hours=1),
        services=Services(blob=True, queue=True),
    )
    endpoints = f"BlobEndpoint={account.blob_uri};QueueEndpoint={account.queue_uri}"
    by_identity = [name for name in deployment.environment if name.startswith("DIRECTORY_STORAGE__")]
    settings = dict.fromkeys(by_identity) | {
        "DIRECTORY_STORAGE": f"{endpoints};SharedAccessSignature={signature}"
    }
    async with with_settings(**settings)(company), nothing_changes(deployment):
        before, log = await deployment.status(), Log(deployment.host)
        await deployment.fire_timer()
        assert_sentence(
            await log.sentence("directory.run_not_started"),
            "Storage answered 403 AuthorizationPermissionMismatch when the app tried to write ",
            "Grant the app's identity Storage Blob Data Contributor on it.",
        )
        assert await deployment.status() == before
        assert signature not in deployment.host.log.read_text()
    await published(deployment)


@pytest.mark.slow
async def test_app_without_an_identity_is_told_so_by_its_status(company: Company) -> None:
    deployment, tenant = company.deployment, company.tenant
    async with nothing_changes(deployment):
        await deployment.stop()
        no_identity = json.dumps({"statusCode": 400, "message": "No managed identity."})
        tenant.faults.add(faults.respond(400, body=no_identity), r"/msi/token.*storage", times=None)
        await deployment.start()
        log = Log(deployment.host)
        await deployment.fire_timer()
        problem = await refused(deployment, "Storage is not available")
        for sentence in (problem["detail"], await log.sentence("directory.run_not_started")):
            assert_sentence(
                sentence,
                "Storage refused the app's identity",
                "Check that the identity is assigned, and AZURE_CLIENT_ID.",
            )
        tenant.faults.clear()
    await published(deployment)


# --- a company that is odd ------------------------------------------------------------------------


@pytest.fixture
def opened(
    certificates: ServerCertificates, storage: Iterator[StorageAccount], tmp_path: Path
) -> Callable[..., AbstractAsyncContextManager[Deployment]]:
    """Deploys and starts the app in front of a tenant, with settings."""

    @asynccontextmanager
    async def deploy(tenant: Tenant, **settings: str) -> AsyncIterator[Deployment]:
        async with deployed(tenant, next(storage), certificates, tmp_path) as deployment:
            await deployment.start(**settings)
            yield deployment
            await deployment.stop()

    return deploy


type Opened = Callable[..., AbstractAsyncContextManager[Deployment]]


async def test_tenant_without_anybody_is_an_empty_snapshot(opened: Opened) -> None:
    async with opened(Tenant()) as deployment:
        manifest = await published(deployment)
        blobs = await deployment.blobs()
    assert {"users", "groups", "memberships", "authentication"} <= manifest["datasets"].keys()
    for dataset, entry in manifest["datasets"].items():
        assert (entry["status"], entry["rows"], entry["parts"]) == ("complete", 0, []), dataset
    assert set(blobs) == {"current.json", f"runs/{manifest['run_id']}/manifest.json"}


async def test_user_of_whom_only_the_id_is_known_is_published(opened: Opened) -> None:
    tenant = Tenant(generate(users=3, seed=3))
    nobody, *others = sorted(tenant.directory.users)
    for edges in (*tenant.directory.members.values(), *tenant.directory.owners.values()):
        edges.pop(nobody, None)
    tenant.directory.registrations.pop(nobody, None)

    def only_the_id(page: JsonObject, _: Call) -> None:
        page["value"] = [{"id": nobody} if user["id"] == nobody else user for user in page["value"]]

    tenant.faults.add(faults.edit(only_the_id), r"/users\?", times=None)
    async with opened(tenant) as deployment:
        manifest = await published(deployment)
        read = await rows(deployment, manifest)
    for dataset, found in read.items():
        for row in found:
            validate_line(dataset, row)
    users = {user["id"]: user for user in read["users"]}
    changed_at = users[nobody].pop("changed_at")
    assert users[nobody] == {"id": nobody, "groups": [], "owned_groups": []}
    assert changed_at == manifest["started_at"]
    assert all(users[other]["user_principal_name"] for other in others)
    rendered = {line["user"]["uid"] for line in read["ocsf-users"]}
    assert rendered == users.keys() == tenant.directory.users.keys()


async def test_group_with_a_hundred_thousand_members(opened: Opened) -> None:
    """On two hundred pages of five hundred, as Graph cuts it."""
    tenant, numbers = Tenant(), random.Random(5)
    everybody = tenant.directory.add_group({"displayName": "Everybody"})
    ids = {str(uuid.UUID(int=numbers.getrandbits(128), version=4)) for _ in range(100_000)}
    for user_id in ids:
        tenant.directory.add_user({"id": user_id})
        tenant.directory.add_member(everybody, user_id)
    tenant.directory.forget_history()

    # aiohttp says of each body of more than a megabyte that it is one; they are sent at once, on purpose.
    warnings = f"{WARNINGS},ignore:Sending a large body:ResourceWarning"
    async with opened(tenant, PYTHONWARNINGS=warnings) as deployment:
        manifest = await published(deployment)
        used = usage_of(deployment.host.pid)
        read = await rows(deployment, manifest, "groups", "memberships")
    (group,) = read["groups"]
    assert (group["id"], group["member_count"], group["owner_count"]) == (everybody, 100_000, 0)
    assert len(read["memberships"]) == manifest["datasets"]["users"]["rows"] == len(ids) == 100_000
    assert {edge["member_id"] for edge in read["memberships"]} == ids
    kinds = {(edge["group_id"], edge["relation"], edge["member_type"]) for edge in read["memberships"]}
    assert kinds == {(everybody, "member", "user")}
    assert len(tenant.requests_to("/groups/delta")) == 200
    assert used is None or used.peak_memory < PEAK_BYTES
