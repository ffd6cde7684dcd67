"""A process with the simulated tenant, as slow as Graph and the sign-in service are.

It prints one line when it serves, and ends when its standard input does. `GET /bench/waits` tells by user how
many seconds its requests have taken here, the known wait included.
"""

import argparse
import asyncio
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import override
from urllib.parse import unquote, unquote_plus

import msgspec

from bench.validation.costs import GRAPH_SECONDS, SIGN_IN_SECONDS
from sandbox.certificates import ServerCertificates, make_server_certificates
from sandbox.tenant import Tenant, TenantServer, generate
from sandbox.tenant.messages import Call, Reply, json_reply
from tests.support.tls import serving

WAITS = "/bench/waits"
_ADDRESS = re.compile(r"[a-z0-9.-]+@contoso\.com")


class Ready(msgspec.Struct):
    """What the process prints once it serves."""

    origin: str
    authority: str
    identity_header: str
    webhook_secret: str
    users: list[str]
    """Principal names of plain users of the tenant."""


class SlowTenant(Tenant):
    """Waits before it works, and knows for whom."""

    waits: defaultdict[str, float]

    @override
    async def answer(self, call: Call) -> Reply:
        if call.path == WAITS:
            return json_reply(self.waits)
        seconds = _wait(call)
        if not seconds:
            return await super().answer(call)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(seconds)
        reply = await super().answer(call)
        for address in set(_ADDRESS.findall(unquote(unquote_plus(call.body.decode())))):
            self.waits[address.lower()] += loop.time() - began
        return reply


def _wait(call: Call) -> float:
    if call.path.endswith("/$batch"):
        return GRAPH_SECONDS
    return SIGN_IN_SECONDS if b"grant_type=password" in call.body else 0.0


async def _serve(certificates: ServerCertificates, users: int) -> None:
    tenant = SlowTenant(generate(users, seed=11))
    tenant.waits = defaultdict(float)
    plain = [
        user["userPrincipalName"]
        for user in tenant.directory.users.values()
        if user["accountEnabled"]
        and user["userType"] == "Member"
        and _ADDRESS.fullmatch(user["userPrincipalName"])
        and not user.get("onPremisesSyncEnabled")
    ]
    async with TenantServer(tenant, serving(certificates)) as server:
        secret = tenant.vault.secrets["webhook-secret"][-1].value
        ready = Ready(server.url, str(certificates.authority), tenant.identity_header, secret, plain)
        print(msgspec.json.encode(ready).decode(), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True, help="where the certificates are written")
    arguments = parser.parse_args()
    asyncio.run(_serve(make_server_certificates(arguments.directory), arguments.users))


if __name__ == "__main__":
    main()
