"""The step to take, as a command with the tenant's own names in it; a name that is not known stands in <>."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.config import Settings
from shared.identity.credentials import CLIENT_CERTIFICATE
from shared.identity.refusals import EXPIRED_SECRET, WRONG_CERTIFICATE, WRONG_SECRET

_SERVICES = {"containers": "blobServices", "queues": "queueServices", "tables": "tableServices"}


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands of the Azure CLI, and of the scripts in `infra/`. None holds a secret."""

    settings: Settings

    @property
    def vault(self) -> str:
        return _first_label(self.settings.key_vault_url) or "<vault>"

    @property
    def account(self) -> str:
        return _first_label(self.settings.storage.blob_uri) or "<storage account>"

    def role_on_vault(self, role: str, secret: str = "") -> str:
        scope = f"$(az keyvault show --name {self.vault} --query id --output tsv)"
        return self._assign(role, f"{scope}/secrets/{secret}" if secret else scope)

    def role_on_storage(self, role: str, kind: str, name: str) -> str:
        """`kind` is `containers`, `queues` or `tables`."""
        account = f"$(az storage account show --name {self.account} --query id --output tsv)"
        return self._assign(role, f"{account}/{_SERVICES[kind]}/default/{kind}/{name}")

    def store_client_secret(self, client_id: str | None, name: str) -> str:
        """The new secret goes from Entra to the vault, and is not shown."""
        return (
            f"az ad app credential reset --id {client_id or '<client id>'} --append --query password "
            f"--output tsv | az keyvault secret set --vault-name {self.vault} --name {name} "
            "--file /dev/stdin --output none"
        )

    def store_certificate(self, name: str) -> str:
        return f"az keyvault certificate import --vault-name {self.vault} --name {name} --file <file.pfx>"

    def store_own_secret(self, options: str = "") -> str:
        """For what `infra/create-secrets.sh` makes: the webhook's secret and the key of the memory."""
        command = f"infra/create-secrets.sh --tenant {self.settings.tenant_id} --vault {self.vault}"
        return f"{command} {options}".rstrip()

    def allow_network(self) -> str:
        return f"az keyvault network-rule add --name {self.vault} --subnet <subnet of the app>"

    def after_refusal(self, code: int | None, client_id: str | None, secret: str) -> str | None:
        """What to do when Entra refuses an app registration with this AADSTS code, or gave none; None where
        the code is not among the common ones. `secret` is the name of its secret in the vault."""
        settings = self.settings
        match code:
            case None:
                return "Assign a managed identity to the app, and set AZURE_CLIENT_ID to its client id."
            case number if number in (WRONG_SECRET, EXPIRED_SECRET):
                return self.store_client_secret(client_id, secret)
            case number if number == WRONG_CERTIFICATE:
                return (
                    f"az keyvault certificate download --vault-name {self.vault} --name {CLIENT_CERTIFICATE} "
                    f"--file new.pem && az ad app credential reset --id {client_id} --append --cert @new.pem"
                )
            case 700016 | 7000229:
                return f"az ad sp create --id {client_id}"
            case 7000112:
                return f"az ad sp update --id {client_id} --set accountEnabled=true"
            case 90002 | 900023 | 90038 | 90051:
                return (
                    f"Correct ENTRA_TENANT_ID, {settings.tenant_id}, or ENTRA_CLOUD, {settings.cloud.name}."
                )
            case 53003:
                return f"Exclude the app {client_id} from the Conditional Access policy that blocks it."
            case 70021 | 700211 | 700212 | 700213:
                return (
                    f"infra/grant-permissions.sh app-registration --tenant {settings.tenant_id} "
                    f'--name "<name of {client_id}>" --principal-id <object id of the managed identity>'
                )
            case _:
                return None

    def grant(self, permission: str, principal_id: str | None, capability: str = "") -> str:
        """An application permission of Graph. `capability` is one of `infra/grant-permissions.sh --with`."""
        with_capability = f" --with {capability}" if capability else ""
        begin = "infra/grant-permissions.sh"
        match self.settings.credential:
            case "managed-identity":
                who = f"--principal-id {principal_id or '<object id of the managed identity>'}"
                return f"{begin} managed-identity --tenant {self.settings.tenant_id} {who}{with_capability}"
            case "client-secret":
                who = f'--vault {self.vault} --name "<name of {self.settings.client_id}>"'
                return f"{begin} app-registration --tenant {self.settings.tenant_id} {who}{with_capability}"
            case _:
                return (
                    f"Add the application permission {permission} of Microsoft Graph to the app registration "
                    f"{self.settings.client_id}, and give admin consent in the tenant "
                    f"{self.settings.tenant_id}."
                )

    def _assign(self, role: str, scope: str) -> str:
        who = self.settings.own_client_id or "<object id of the app's managed identity>"
        return f'az role assignment create --assignee {who} --role "{role}" --scope "{scope}"'


def _first_label(url: str | None) -> str | None:
    """`acme` of `https://acme.vault.azure.net`; None for an address, such as the sandbox's."""
    host = urlsplit(url or "").hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.partition(".")[0] or None
    return None
