"""A sync through everything that is real in a deployment: host, queues, TLS, Key Vault, managed identity."""

import asyncio
import json

from sandbox.tenant import CLIENT_SECRET
from sandbox.tenant.faults import Answer
from sandbox.tenant.messages import Call, Reply
from tests.end_to_end.conftest import Deployment, lines
from tests.validation import validate_line, validate_manifest, validate_pointer


async def test_requested_run_is_published_and_no_other_starts_beside_it(deployment: Deployment) -> None:
    release = asyncio.Event()

    async def hold(_: Call, answer: Answer) -> Reply:
        await release.wait()
        return await answer()

    deployment.tenant.faults.add(hold, r"/users/delta")
    first = await deployment.http.post("/api/directory/sync")
    second = await deployment.http.post("/api/directory/sync")
    under_way = await deployment.status()
    release.set()

    assert first.status_code == 202
    run_id = first.json()["run_id"]
    assert second.status_code == 409
    assert second.headers["content-type"].startswith("application/problem+json")
    assert second.json()["run_id"] == run_id
    assert under_way["current"]["run_id"] == run_id
    assert under_way["current"]["datasets"]["users"]["status"] == "reading"
    assert under_way["published"] is None

    published = await deployment.until("published")
    assert published["run_id"] == run_id
    blobs = await deployment.blobs()
    pointer = json.loads(blobs.pop("current.json"))
    manifest = json.loads(blobs.pop(published["manifest"]))
    validate_pointer(pointer)
    validate_manifest(manifest)
    announced = [part["path"] for entry in manifest["datasets"].values() for part in entry["parts"]]
    assert sorted(blobs) == sorted(announced)
    for path, content in blobs.items():
        for row in lines(content):
            validate_line(path.split("/")[1], row)
    users = {row["id"] for path in announced if "/users/" in path for row in lines(blobs[path])}
    assert users == set(deployment.tenant.directory.users)
    assert deployment.tenant.requests_to(r"/secrets/entra-client-secret")
    assert deployment.tenant.requests_to(r"/msi/token.*storage\.azure\.com")


async def test_wrong_secret_is_told_and_a_right_one_needs_no_restart(deployment: Deployment) -> None:
    deployment.tenant.vault.put("entra-client-secret", "not~the~secret~0123456789abcdefghijklmn")
    await deployment.fire_timer()
    failed = await deployment.until("current", status="failed")
    assert "entra-client-secret" in failed["error"]
    assert "\n" not in failed["error"]
    assert "not~the~secret" not in json.dumps(failed)
    assert (await deployment.status())["published"] is None

    deployment.tenant.vault.put("entra-client-secret", CLIENT_SECRET)
    await deployment.fire_timer()
    published = await deployment.until("published")
    assert published["run_id"] != failed["run_id"]
    assert (await deployment.status())["current"] is None
    log = deployment.host.log.read_text()
    assert "not~the~secret" not in log
    assert CLIENT_SECRET not in log
