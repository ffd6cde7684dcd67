"""The requests that the app makes, built by the official SDK's request builders.

Page sizes are Graph's documented maxima; delta pages are sized by the server and take no `$top`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

    from shared.graph.client import GraphClient

USER_PROPERTIES = (
    "id,userPrincipalName,displayName,givenName,surname,mail,otherMails,proxyAddresses,userType,accountEnabled,"
    "createdDateTime,lastPasswordChangeDateTime,employeeId,employeeType,employeeHireDate,jobTitle,department,"
    "companyName,employeeOrgData,officeLocation,city,state,postalCode,country,usageLocation,mobilePhone,"
    "businessPhones,onPremisesSyncEnabled,onPremisesSamAccountName,onPremisesSecurityIdentifier,"
    "onPremisesDistinguishedName,onPremisesDomainName,onPremisesLastSyncDateTime,securityIdentifier,manager"
)
LEAVE_PROPERTY = "employeeLeaveDateTime"
"""Needs User-LifeCycleInfo.Read.All; without it, a request that selects it is refused as a whole."""

GROUP_PROPERTIES = (
    "id,displayName,description,mail,mailEnabled,securityEnabled,groupTypes,visibility,membershipRule,"
    "isAssignableToRole,createdDateTime,onPremisesSyncEnabled,onPremisesSamAccountName,"
    "onPremisesSecurityIdentifier,onPremisesDomainName,onPremisesLastSyncDateTime,members,owners"
)

LIST_PAGE = 999
SIGN_IN_PAGE = 500
"""`signInActivity` in `$select` caps the page at 500; 120 in tenants that were not moved yet."""
SIGN_IN_PAGE_FALLBACK = 120
BATCH_LIMIT = 20


def users_delta(graph: "GraphClient", *, with_leave_date: bool) -> "RequestInformation":
    select = f"{USER_PROPERTIES},{LEAVE_PROPERTY}" if with_leave_date else USER_PROPERTIES
    return _select(graph.builders.users.delta, select)


def users_delta_latest(graph: "GraphClient", *, with_leave_date: bool) -> "RequestInformation":
    """No users, just a delta link that tells what changes from now on."""
    request = users_delta(graph, with_leave_date=with_leave_date)
    request.path_parameters["baseurl"] = f"{graph.origin}/v1.0"
    return follow(f"{request.url}&%24deltatoken=latest")


def users_list(graph: "GraphClient", *, with_leave_date: bool) -> "RequestInformation":
    """All users, five times as many a page as a delta has."""
    select = USER_PROPERTIES.removesuffix(",manager") + (f",{LEAVE_PROPERTY}" if with_leave_date else "")
    request = _select(graph.builders.users, select, LIST_PAGE)
    request.query_parameters["%24expand"] = ["manager($select=id)"]
    return request


def groups_delta(graph: "GraphClient") -> "RequestInformation":
    """Groups with their edges inline: the fewest requests for groups of under about a thousand members."""
    return _select(graph.builders.groups.delta, GROUP_PROPERTIES)


def registration_details(graph: "GraphClient", page_size: int | None = LIST_PAGE) -> "RequestInformation":
    """The documentation names no `$top` for it; None leaves the page to Graph."""
    return _select(graph.builders.reports.authentication_methods.user_registration_details, None, page_size)


def sign_in_activity(graph: "GraphClient", page_size: int) -> "RequestInformation":
    return _select(graph.builders.users, "id,signInActivity", page_size)


def deleted_users(graph: "GraphClient") -> "RequestInformation":
    return _select(graph.builders.directory.deleted_items.graph_user, "id", LIST_PAGE)


def count(graph: "GraphClient", collection: str) -> "RequestInformation":
    """`/users/$count` or `/groups/$count`: an estimate, good enough for progress and bucket numbers."""
    builders = {"users": graph.builders.users, "groups": graph.builders.groups}
    request: RequestInformation = builders[collection].count.to_get_request_information()
    request.headers.add("ConsistencyLevel", "eventual")
    return request


def batch(graph: "GraphClient", body: bytes) -> "RequestInformation":
    """`POST /$batch` with our own body: the SDK's batch drops the bodies of the answers."""
    request = _plain("POST", f"{graph.origin}/v1.0/$batch")
    request.headers.add("Content-Type", "application/json")
    request.content = body
    return request


def follow(link: str) -> "RequestInformation":
    """A next link or delta link, used whole, as Graph demands."""
    return _plain("GET", link)


def _plain(method: str, url: str) -> "RequestInformation":
    from kiota_abstractions.method import Method
    from kiota_abstractions.request_information import RequestInformation

    request = RequestInformation()
    request.http_method = Method[method]
    request.url = url
    request.headers.add("Accept", "application/json")
    return request


def _select(builder: Any, select: str | None, top: int | None = None) -> "RequestInformation":
    """A GET by this builder. The parameters go by name, so the SDK's per-endpoint classes are not needed."""
    request: RequestInformation = builder.to_get_request_information()
    if select:
        request.query_parameters["%24select"] = select.split(",")
    if top:
        request.query_parameters["%24top"] = top
    return request
