"""What a snapshot of a simulated tenant has to say, told from its objects and not through the product."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sandbox.tenant import Directory
from shared.snapshots.state import Published
from tests.support.world import Snapshot, World

type Row = dict[str, Any]

TEXTS = {
    "user_principal_name": "userPrincipalName",
    "display_name": "displayName",
    "given_name": "givenName",
    "surname": "surname",
    "mail": "mail",
    "user_type": "userType",
    "employee_id": "employeeId",
    "employee_type": "employeeType",
    "job_title": "jobTitle",
    "department": "department",
    "company_name": "companyName",
    "office_location": "officeLocation",
    "city": "city",
    "state": "state",
    "postal_code": "postalCode",
    "country": "country",
    "usage_location": "usageLocation",
    "mobile_phone": "mobilePhone",
    "security_identifier": "securityIdentifier",
}
TIMES = {
    "created_at": "createdDateTime",
    "last_password_change_at": "lastPasswordChangeDateTime",
    "employee_hire_date": "employeeHireDate",
    "employee_leave_at": "employeeLeaveDateTime",
}
LISTS = {
    "other_mails": "otherMails",
    "proxy_addresses": "proxyAddresses",
    "business_phones": "businessPhones",
}
MEMBER_TYPES = {
    "user": "user",
    "group": "group",
    "device": "device",
    "servicePrincipal": "service_principal",
    "orgContact": "contact",
}


def a_time(graphs: str | None) -> str | None:
    if not graphs or graphs.startswith("0001-"):
        return None
    whole, _, fraction = graphs.removesuffix("Z").partition(".")
    fraction = fraction[:6].rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def without_nothing(row: Row) -> Row:
    return {name: value for name, value in row.items() if value not in (None, "")}


def on_premises(graphs: Row, *, of_user: bool) -> Row | None:
    row = without_nothing(
        {
            "sync_enabled": graphs.get("onPremisesSyncEnabled"),
            "sam_account_name": graphs.get("onPremisesSamAccountName"),
            "security_identifier": graphs.get("onPremisesSecurityIdentifier"),
            "distinguished_name": graphs.get("onPremisesDistinguishedName") if of_user else None,
            "domain_name": graphs.get("onPremisesDomainName"),
            "last_sync_at": a_time(graphs.get("onPremisesLastSyncDateTime")),
        }
    )
    return row or None


def expected_edges(directory: Directory) -> list[Row]:
    edges = []
    for relation, sides in (("member", directory.members), ("owner", directory.owners)):
        for group_id in directory.groups:
            for object_id, kind in sides[group_id].items():
                if kind == "user" and object_id not in directory.users:
                    continue
                if kind == "group" and object_id not in directory.groups:
                    continue
                member_type = MEMBER_TYPES.get(kind or "", "unknown")
                if object_id in directory.users:
                    member_type = "user"
                edges.append(
                    {
                        "group_id": group_id,
                        "member_id": object_id,
                        "member_type": member_type,
                        "relation": relation,
                    }
                )
    return sorted(edges, key=lambda e: (e["group_id"], e["relation"], e["member_id"]))


def expected_groups(directory: Directory) -> dict[str, Row]:
    edges = expected_edges(directory)
    groups = {}
    for group_id, graphs in directory.groups.items():
        counts = {
            relation: sum(1 for e in edges if e["group_id"] == group_id and e["relation"] == relation)
            for relation in ("member", "owner")
        }
        groups[group_id] = without_nothing(
            {
                "id": group_id,
                "display_name": graphs.get("displayName"),
                "description": graphs.get("description"),
                "mail": graphs.get("mail"),
                "mail_enabled": graphs.get("mailEnabled"),
                "security_enabled": graphs.get("securityEnabled"),
                "group_types": graphs.get("groupTypes"),
                "visibility": graphs.get("visibility"),
                "membership_rule": graphs.get("membershipRule"),
                "is_assignable_to_role": graphs.get("isAssignableToRole"),
                "created_at": a_time(graphs.get("createdDateTime")),
                "on_premises": on_premises(graphs, of_user=False),
                "member_count": counts["member"],
                "owner_count": counts["owner"],
            }
        )
    return groups


def expected_authentication(row: Row | None) -> Row | None:
    if row is None:
        return None
    return without_nothing(
        {
            "is_mfa_registered": row["isMfaRegistered"],
            "is_mfa_capable": row["isMfaCapable"],
            "is_passwordless_capable": row["isPasswordlessCapable"],
            "methods": sorted(row["methodsRegistered"]),
            "default_method": None if row["defaultMfaMethod"] == "none" else row["defaultMfaMethod"],
            "is_admin": row["isAdmin"],
            "source": "report",
            "as_of": a_time(row["lastUpdatedDateTime"]),
        }
    )


def expected_sign_in(row: Row | None) -> Row | None:
    row = row or {}
    return (
        without_nothing(
            {
                "last_success_at": a_time(row.get("lastSuccessfulSignInDateTime")),
                "last_interactive_at": a_time(row.get("lastSignInDateTime")),
                "last_non_interactive_at": a_time(row.get("lastNonInteractiveSignInDateTime")),
            }
        )
        or None
    )


def expected_users(
    directory: Directory, *, authentication: bool = True, sign_in: bool = False
) -> dict[str, Row]:
    edges = expected_edges(directory)
    users = {}
    for user_id, graphs in directory.users.items():
        groups = {
            relation: [
                e["group_id"] for e in edges if e["member_id"] == user_id and e["relation"] == relation
            ]
            for relation in ("member", "owner")
        }
        manager = directory.managers.get(user_id)
        row: Row = {"id": user_id, "account_enabled": graphs.get("accountEnabled")}
        row |= {name: graphs.get(graph) for name, graph in TEXTS.items()}
        row |= {name: a_time(graphs.get(graph)) for name, graph in TIMES.items()}
        row |= {name: graphs.get(graph) for name, graph in LISTS.items()}
        row |= {
            "cost_center": (graphs.get("employeeOrgData") or {}).get("costCenter"),
            # Graph expands no manager who is deleted.
            "manager_id": manager if manager in directory.users else None,
            "on_premises": on_premises(graphs, of_user=True),
            "groups": groups["member"],
            "owned_groups": groups["owner"],
        }
        if authentication:
            row["authentication"] = expected_authentication(directory.registrations.get(user_id))
        if sign_in:
            row["sign_in"] = expected_sign_in(directory.sign_ins.get(user_id))
        users[user_id] = without_nothing(row)
    return users


def unstamped(rows: list[Row]) -> dict[str, Row]:
    """Users or groups by id, without `changed_at`."""
    return {row["id"]: {k: v for k, v in row.items() if k != "changed_at"} for row in rows}


def assert_equals_tenant(snapshot: Snapshot, directory: Directory, **options: bool) -> None:
    """The snapshot holds what the tenant holds, no more and no less."""
    assert unstamped(snapshot.datasets["users"]) == expected_users(directory, **options)
    assert unstamped(snapshot.datasets["groups"]) == expected_groups(directory)
    rows = snapshot.datasets["memberships"]
    assert sorted(rows, key=lambda e: (e["group_id"], e["relation"], e["member_id"])) == expected_edges(
        directory
    )


def key_of(dataset: str, row: Row) -> str:
    if dataset == "memberships":
        return f"{row['group_id']}|{row['relation']}|{row['member_id']}"
    return str(row["id"])


def state_of(snapshot: Snapshot) -> dict[str, dict[str, Row]]:
    """What changes are about: dataset → id → row."""
    return {
        dataset: {key_of(dataset, row): row for row in snapshot.datasets[dataset]}
        for dataset in ("users", "groups", "memberships")
    }


def apply_changes(state: dict[str, dict[str, Row]], changes: list[Row]) -> dict[str, dict[str, Row]]:
    """As a consumer does it, and as strictly as one may be."""
    after = {dataset: dict(rows) for dataset, rows in state.items()}
    for change in changes:
        rows, object_id = after[change["dataset"]], change["id"]
        assert (object_id in rows) == (change["operation"] != "added"), change
        if change["operation"] == "removed":
            assert "record" not in change
            del rows[object_id]
        else:
            assert rows.get(object_id) != change["record"], "an update that changes nothing"
            assert key_of(change["dataset"], change["record"]) == object_id
            rows[object_id] = change["record"]
    return after


def assert_changes_lead(before: Snapshot, now: Snapshot) -> None:
    """Snapshot before, and the changes of now, give the snapshot of now; and they are counted rightly."""
    assert apply_changes(state_of(before), now.changes) == state_of(now)
    assert now.manifest["previous_run_id"] == before.manifest["run_id"]
    assert now.manifest["sequence"] == before.manifest["sequence"] + 1
    for dataset, counts in now.manifest["changes"]["datasets"].items():
        for operation, count in counts.items():
            found = [c for c in now.changes if c["dataset"] == dataset and c["operation"] == operation]
            assert len(found) == count, (dataset, operation)


def assert_sorted(snapshot: Snapshot, parts: dict[str, list[list[Row]]]) -> None:
    """Each part as the contract says."""
    keys: dict[str, Any] = {
        "users": lambda row: row["id"],
        "groups": lambda row: row["id"],
        "memberships": lambda row: (row["group_id"], row["relation"], row["member_id"]),
        "ocsf-users": lambda row: row["user"]["uid"],
        "sekoia-users": lambda row: row["user"]["uid"],
        "ocsf-groups": lambda row: row["resources"][0]["uid"],
        "changes": lambda row: (row["dataset"], row["id"]),
    }
    for dataset, of_dataset in parts.items():
        for rows in of_dataset:
            found = [keys[dataset](row) for row in rows]
            assert found == sorted(found), dataset
            assert dataset == "changes" or len(set(found)) == len(found), dataset


async def next_run(world: World, *, full: bool = False, hours: float = 1) -> Snapshot:
    """Another run an hour later; with `full` one that reads everything anew."""
    world.clock.forward(hours=hours)
    await (world.run_full() if full else world.run())
    return await world.snapshot()


def whole_second(moment: datetime) -> str:
    return (moment - timedelta(microseconds=moment.microsecond)).strftime("%Y-%m-%dT%H:%M:%SZ")


def left_behind(names: Iterable[str], published: Published) -> set[str]:
    """Of the names in `sync-state`, those that have no business there after this run was published."""
    needed = {"run.json", f"published/{published.run_id}.json", *published.kept}
    assert needed <= set(names)
    return set(names) - needed
