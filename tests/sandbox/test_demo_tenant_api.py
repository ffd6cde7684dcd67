"""The demo steers the tenant over its controls."""

from pathlib import Path

import pytest

from sandbox.azurite import StorageAccount
from sandbox.certificates import make_server_certificates
from sandbox.demo.tenant_api import change_permissions, change_user, ever_locked, let_things_happen
from sandbox.services.child import Child
from sandbox.services.errors import SandboxError
from sandbox.services.sandbox import Sandbox
from sandbox.tenant import CLIENT_ID, Tenant, TenantServer, generate
from tests.support.tls import serving


async def test_the_demo_takes_a_permission_away_and_gives_it_back(
    tmp_path: Path, account: StorageAccount
) -> None:
    certificates = make_server_certificates(tmp_path)
    child = Child("The tenant", "none", environment={}, ready="", log=tmp_path / "tenant.log")
    sandbox = Sandbox(tmp_path, child, account, certificates, None)
    context = serving(certificates)
    tenant = Tenant(generate(60, seed=1))
    granted = tenant.clients[CLIENT_ID].permissions
    user_id = next(iter(tenant.directory.users))
    async with TenantServer(tenant, context) as server:
        child.url = server.url
        assert "User.Read.All" not in await change_permissions(sandbox, revoke=["User.Read.All"])
        assert "User.Read.All" not in granted
        assert set(await change_permissions(sandbox, grant=["User.Read.All"])) == granted
        assert "User.Read.All" in granted

        assert (await change_user(sandbox, user_id))["password"] == tenant.password_of(user_id)
        await change_user(sandbox, user_id, after_password=[50076], locked=True)
        assert tenant.accounts[user_id].after_password == (50076,)
        assert await ever_locked(sandbox) == [user_id]
        assert sum((await let_things_happen(sandbox, 5, 1)).values()) == 5
        with pytest.raises(SandboxError, match="refused users"):
            await change_user(sandbox, "nobody")
    with pytest.raises(SandboxError, match="does not answer"):
        await ever_locked(sandbox)
