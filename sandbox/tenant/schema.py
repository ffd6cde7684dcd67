"""What Graph v1.0 knows of a user and a group: property names, and what a request for each of them needs.

A `$select` with a name that is not here is refused, as Graph refuses it.
"""

import re
from dataclasses import dataclass


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class EntityType:
    """An OData type: all selectable properties, those sent without `$select`, and the relations that delta
    tracks."""

    name: str
    properties: frozenset[str]
    default: tuple[str, ...]
    delta_relations: frozenset[str]
    untracked: frozenset[str] = frozenset()
    """Selectable in lists, but refused by delta."""
    outside_directory: frozenset[str] = frozenset()
    """Kept in SharePoint: delta answers 501."""

    def knows(self, name: str) -> bool:
        """Whether `$select` may name this property, directory extensions included."""
        return name in self.properties or bool(_EXTENSION.fullmatch(name))


_EXTENSION = re.compile(r"extension_[0-9a-f]{32}_\w+")

_SHAREPOINT = _names(
    "aboutMe birthday hireDate interests mySite pastProjects preferredName responsibilities schools skills"
)

USER = EntityType(
    name="microsoft.graph.user",
    properties=_SHAREPOINT
    | _names(
        """
        id deletedDateTime accountEnabled ageGroup assignedLicenses assignedPlans
        authorizationInfo businessPhones city companyName consentProvidedForMinor country
        createdDateTime creationType customSecurityAttributes department displayName
        employeeHireDate employeeId employeeLeaveDateTime employeeOrgData employeeType
        externalUserState externalUserStateChangeDateTime faxNumber givenName identities
        imAddresses isManagementRestricted isResourceAccount jobTitle lastPasswordChangeDateTime
        legalAgeGroupClassification licenseAssignmentStates mail mailNickname mobilePhone
        officeLocation onPremisesDistinguishedName onPremisesDomainName
        onPremisesExtensionAttributes onPremisesImmutableId onPremisesLastSyncDateTime
        onPremisesProvisioningErrors onPremisesSamAccountName onPremisesSecurityIdentifier
        onPremisesSyncEnabled onPremisesUserPrincipalName otherMails passwordPolicies
        passwordProfile postalCode preferredDataLocation preferredLanguage provisionedPlans
        proxyAddresses securityIdentifier serviceProvisioningErrors showInAddressList
        signInActivity signInSessionsValidFromDateTime state streetAddress surname usageLocation
        userPrincipalName userType
        """
    ),
    default=(
        "businessPhones",
        "displayName",
        "givenName",
        "jobTitle",
        "mail",
        "mobilePhone",
        "officeLocation",
        "preferredLanguage",
        "surname",
        "userPrincipalName",
        "id",
    ),
    delta_relations=frozenset({"manager"}),
    untracked=_names("signInActivity licenseAssignmentStates"),
    outside_directory=_SHAREPOINT,
)

_GROUP_DEFAULT = (
    "id",
    "deletedDateTime",
    "classification",
    "createdDateTime",
    "creationOptions",
    "description",
    "displayName",
    "expirationDateTime",
    "groupTypes",
    "isAssignableToRole",
    "mail",
    "mailEnabled",
    "mailNickname",
    "membershipRule",
    "membershipRuleProcessingState",
    "onPremisesDomainName",
    "onPremisesLastSyncDateTime",
    "onPremisesNetBiosName",
    "onPremisesProvisioningErrors",
    "onPremisesSamAccountName",
    "onPremisesSecurityIdentifier",
    "onPremisesSyncEnabled",
    "preferredDataLocation",
    "preferredLanguage",
    "proxyAddresses",
    "renewedDateTime",
    "resourceBehaviorOptions",
    "resourceProvisioningOptions",
    "securityEnabled",
    "securityIdentifier",
    "serviceProvisioningErrors",
    "theme",
    "uniqueName",
    "visibility",
)

GROUP = EntityType(
    name="microsoft.graph.group",
    properties=frozenset(_GROUP_DEFAULT)
    | _names(
        """
        allowExternalSenders assignedLabels assignedLicenses autoSubscribeNewMembers
        hasMembersWithLicenseErrors hideFromAddressLists hideFromOutlookClients infoCatalogs
        isArchived isManagementRestricted isSubscribedByMail licenseProcessingState unseenCount
        """
    ),
    default=_GROUP_DEFAULT,
    delta_relations=frozenset({"members", "owners"}),
)

PERMISSIONS = {
    "User.Read.All": "df021288-bdef-4463-88db-98f22de89214",
    "Directory.Read.All": "7ab1d382-f21e-4acd-a863-ba3e13f7da61",
    "Group.Read.All": "5b567255-7703-4780-807c-7be8301ae99b",
    "GroupMember.Read.All": "98830695-27a2-44f7-8c18-0c3ebc9698f6",
    "Member.Read.Hidden": "658aa5d8-239f-45c4-aa12-864f4fc7e490",
    "AuditLog.Read.All": "b0afded3-3588-46d8-8b3d-9842eff778da",
    "UserAuthenticationMethod.Read.All": "38d9df27-64da-44fd-b7c5-a6fbac20248f",
    "User-LifeCycleInfo.Read.All": "8556a004-db57-4d7a-8b82-97a13428e96f",
    "Organization.Read.All": "498476ce-e0fe-48b0-b801-37ba7e2685c6",
    "Domain.Read.All": "dbb9058a-0e50-45d7-ae91-66909b5d4664",
}
"""Application permissions that the simulated endpoints ask for, with their app role ids."""
