"""The four Microsoft clouds, as a table: hosts, token scope, portal, OCSF partition.

Source: https://learn.microsoft.com/graph/deployments
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where one Microsoft cloud lives. Origins are without a trailing slash."""

    name: str
    """The value of `ENTRA_CLOUD`."""
    graph: str
    """Microsoft Graph's origin; also the audience of its tokens."""
    authority: str
    """The sign-in service's origin."""
    portal: str
    """The Entra admin centre's origin, for links to a user."""
    ocsf_partition: str
    """OCSF's `cloud.cloud_partition`."""

    @property
    def graph_scope(self) -> str:
        return f"{self.graph}/.default"

    def link_to_user(self, object_id: str) -> str:
        """The user's page in the Entra admin centre. Its route is no documented contract."""
        page = "Microsoft_AAD_UsersAndTenants/UserProfileMenuBlade/~/overview/userId"
        return f"{self.portal}/#view/{page}/{object_id}"


PUBLIC = Cloud(
    name="public",
    graph="https://graph.microsoft.com",
    authority="https://login.microsoftonline.com",
    portal="https://entra.microsoft.com",
    ocsf_partition="AzureCloud",
)

CLOUDS = {
    cloud.name: cloud
    for cloud in (
        PUBLIC,
        Cloud(
            name="usgov",
            graph="https://graph.microsoft.us",
            authority="https://login.microsoftonline.us",
            portal="https://entra.microsoft.us",
            ocsf_partition="AzureUSGovernment",
        ),
        Cloud(
            name="usgov-dod",
            graph="https://dod-graph.microsoft.us",
            authority="https://login.microsoftonline.us",
            portal="https://entra.microsoft.us",
            ocsf_partition="AzureUSGovernment",
        ),
        Cloud(
            name="china",
            graph="https://microsoftgraph.chinacloudapi.cn",
            authority="https://login.partner.microsoftonline.cn",
            portal="https://entra.microsoftonline.cn",
            ocsf_partition="AzureChinaCloud",
        ),
    )
}
