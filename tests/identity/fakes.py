"""Stand-ins for the SDK's credentials, where only the wrapper's own logic is tested."""

from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions

from shared.config import Settings

TENANT = "0c1f6b0e-5a7d-4c52-9a35-6f1d2b9c7e10"
CLIENT = "7b0a3f52-91c4-4b1e-8d6c-2f6a8b4e5d01"


def settings(**changes: str) -> Settings:
    least = {
        "ENTRA_TENANT_ID": TENANT,
        "ENTRA_CLIENT_ID": CLIENT,
        "KEY_VAULT_URL": "https://acme.vault.azure.net",
        "DIRECTORY_STORAGE": "UseDevelopmentStorage=true",
    }
    return Settings.from_environment(least | changes)


class FakeOwnIdentity:
    """The app's own identity: gives tokens named after their scope."""

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self.closed = False

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **_: Any,
    ) -> AccessToken:
        self.scopes.extend(scopes)
        return AccessToken(f"token for {scopes[0]}", 2**31)

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        token = await self.get_token(*scopes)
        return AccessTokenInfo(token.token, token.expires_on)

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()
