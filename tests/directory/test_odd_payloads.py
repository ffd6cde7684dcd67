"""Whatever Graph may send, and what becomes of it: one table of odd payloads, each through a whole run.

A row says what the tenant does and what comes of it: a snapshot, of which every line is valid; a dataset
that is unavailable, with its reason; or a run that fails, names the dataset and leaves the last snapshot in
place. In every snapshot, whom the row does not touch is as ever.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.azurite import StorageAccount
from sandbox.tenant import CLIENT_ID, Tenant, TenantServer, faults
from sandbox.tenant.faults import Action, Answer
from sandbox.tenant.messages import Call, Reply
from shared.errors import StorageUnavailable
from shared.snapshots.shuffle import RowWriter
from tests.support.world import Clock, Snapshot, TenantCredential, World, world

ALICE = "a11ce000-0000-4000-8000-000000000001"
BOB = "b0b00000-0000-4000-8000-000000000002"
CAROL = "ca401000-0000-4000-8000-000000000003"
STRANGER = "57a46e40-0000-4000-8000-000000000009"
STAFF = "57aff000-0000-4000-8000-00000000000a"
BOARD = "b0a4d000-0000-4000-8000-00000000000b"

IDS = {"alice": ALICE, "bob": BOB, "carol": CAROL, "stranger": STRANGER, "staff": STAFF, "board": BOARD}

USERS, GROUPS = r"/users\?.*expand", r"/groups/delta"
USERS_DELTA = r"/users/delta\?\$(delta|skip)token="
"""What a full run reads after the list, and an incremental one instead of it; not the mint of its link."""
MINT = r"/users/delta.*deltatoken=latest"
REPORT, SIGN_INS, METHODS = "/userRegistrationDetails", "signInActivity", "/authentication/methods"
REST = ".*skiptoken"
"""After `USERS` or `GROUPS`: any page but the first."""

ALL_DATASETS = "users,groups,memberships,authentication,sign-in"

type Arrange = Callable[[Tenant], object]
type Check = Callable[[World, Snapshot], object]


def company() -> Tenant:
    """Three users and two groups, a page for each, so that every chain has a middle."""
    tenant = Tenant()
    tenant.list_page_objects = tenant.delta_page_objects = 1
    directory = tenant.directory
    for user_id, name in ((ALICE, "Alice"), (BOB, "Bob"), (CAROL, "Carol")):
        directory.add_user(
            {
                "id": user_id,
                "displayName": name,
                "userPrincipalName": f"{name.lower()}@contoso.com",
                "createdDateTime": "2024-02-29T08:00:00Z",
            }
        )
        directory.registrations[user_id] = {
            "id": user_id,
            "isMfaRegistered": True,
            "methodsRegistered": ["mobilePhone"],
        }
        directory.methods[user_id] = [{"@odata.type": "#microsoft.graph.fido2AuthenticationMethod"}]
        directory.sign_ins[user_id] = {"lastSignInDateTime": "2026-11-20T07:00:00Z"}
    for group_id, name in ((STAFF, "Staff"), (BOARD, "Board")):
        directory.add_group({"id": group_id, "displayName": name, "createdDateTime": "2024-02-29T08:00:00Z"})
    directory.add_member(STAFF, ALICE)
    directory.add_member(STAFF, BOB)
    directory.add_owner(STAFF, CAROL)
    return tenant


BOB_AS_EVER = {
    "id": BOB,
    "display_name": "Bob",
    "user_principal_name": "bob@contoso.com",
    "user_type": "Member",
    "account_enabled": True,
    "created_at": "2024-02-29T08:00:00Z",
    "business_phones": [],
    "groups": [STAFF],
    "owned_groups": [],
}


# --- what the tenant does -------------------------------------------------------------------------


def all_of(*steps: Arrange) -> Arrange:
    return lambda tenant: [step(tenant) for step in steps]


def user(**properties: Any) -> Arrange:
    """Alice has these properties."""
    return lambda tenant: tenant.directory.update_user(ALICE, properties)


def user_without(name: str) -> Arrange:
    return lambda tenant: tenant.directory.users[ALICE].pop(name)


def group(**properties: Any) -> Arrange:
    """The staff has these properties."""
    return lambda tenant: tenant.directory.update_group(STAFF, properties)


def member(object_id: str, kind: str | None = "user", of: str = STAFF) -> Arrange:
    return lambda tenant: tenant.directory.add_member(of, object_id, kind)


def twenty_devices(tenant: Tenant) -> None:
    for number in range(20):
        tenant.directory.add_member(BOARD, f"{number:08}-0000-4000-8000-00000000000d", "device")


def hidden_board(tenant: Tenant) -> None:
    tenant.directory.update_group(BOARD, {"visibility": "HiddenMembership"})
    tenant.directory.add_member(BOARD, ALICE)


def soft_deleted(tenant: Tenant) -> None:
    tenant.directory.delete_user(ALICE)


def tenant_with(**attributes: Any) -> Arrange:
    return lambda tenant: vars(tenant).update(attributes)


def without(*permissions: str) -> Arrange:
    return lambda tenant: tenant.clients[CLIENT_ID].permissions.difference_update(permissions)


def fault(
    action: Action, path: str, times: int | None = 1, *, batched: bool = False, skip: int = 0
) -> Arrange:
    return lambda tenant: tenant.faults.add(action, path, times=times, batched=batched, skip=skip)


def registration(**properties: Any) -> Arrange:
    """Alice's row of the report."""
    return lambda tenant: tenant.directory.registrations.update({ALICE: {"id": ALICE, **properties}})


def sign_in(value: Any) -> Arrange:
    return lambda tenant: tenant.directory.sign_ins.update({ALICE: value})


def for_ever(action: Action, path: str) -> Arrange:
    return fault(action, path, None)


def sent(path: str, object_id: str, **properties: Any) -> Arrange:
    """Graph sends these properties, as they are, with this object."""

    def change(page: dict[str, Any], _call: Call) -> None:
        for item in page["value"]:
            if item["id"] == object_id:
                item.update(properties)

    return for_ever(faults.edit(change), path)


def pages(path: str, *values: Iterable[object]) -> Arrange:
    """The chain is just these pages; an object that is text is sent as it is, without being encoded."""
    encoded = [
        ",".join(item if isinstance(item, str) else json.dumps(item) for item in value) for value in values
    ]

    async def act(call: Call, _answer: Answer) -> Reply:
        number = int(call.query.get("$skiptoken", 0))
        kind = "nextLink" if number + 1 < len(encoded) else "deltaLink"
        query = "$expand=manager&" if path == USERS else ""
        link = f',"@odata.{kind}":"{call.origin}{call.path}?{query}$skiptoken={number + 1}"'
        if path == USERS and kind == "deltaLink":
            link = ""  # a list just ends
        return Reply(body=f'{{"value":[{encoded[number]}]{link}}}'.encode())

    return for_ever(act, path)


def users_sent(*objects: object) -> Arrange:
    """Bob comes as ever, before and after what is odd."""
    return pages(USERS, [graph_user(BOB, "Bob")], objects, [graph_user(CAROL, "Carol")])


def users_told(*objects: object) -> Arrange:
    """The list is as ever, and then the delta tells these."""
    return pages(USERS_DELTA, [], objects, [])


def graph_user(user_id: str, name: str, **properties: Any) -> dict[str, Any]:
    return {
        "id": user_id,
        "displayName": name,
        "userPrincipalName": f"{name.lower()}@contoso.com",
        "userType": "Member",
        "accountEnabled": True,
        "createdDateTime": "2024-02-29T08:00:00Z",
        "businessPhones": [],
        **properties,
    }


def staff_sent(*slices: list[object]) -> Arrange:
    """The staff comes once for each of these lists of members."""
    return pages(GROUPS, *([staff(ref(BOB), *members)] for members in slices))


def staff(*members: object) -> dict[str, Any]:
    return {"id": STAFF, "displayName": "Staff", "securityEnabled": True, "members@delta": members}


def ref(object_id: str, **more: Any) -> dict[str, Any]:
    return {"@odata.type": "#microsoft.graph.user", "id": object_id, **more}


def gone(object_id: str) -> dict[str, Any]:
    return {**ref(object_id), "@removed": {"reason": "deleted"}}


# --- what comes of it -----------------------------------------------------------------------------

ABSENT: Any = object()


@dataclass(frozen=True)
class Published:
    """A snapshot that passes all checks."""

    checks: tuple[Check, ...]

    def and_(self, *checks: Check) -> "Published":
        return Published((*self.checks, *checks))


@dataclass(frozen=True)
class Fails:
    """No snapshot; the run's error names the dataset and says these words."""

    dataset: str
    words: str


def published(*checks: Check) -> Published:
    return Published(checks)


def has(**expected: Any) -> Check:
    """Alice's record has these values."""
    return record("users", ALICE, **expected)


def record(dataset: str, object_id: str, **expected: Any) -> Check:
    def check(_world: World, snapshot: Snapshot) -> None:
        row = snapshot.by_id(dataset)[object_id]
        assert {name: row.get(name, ABSENT) for name in expected} == expected

    return check


def people(*ids: str) -> Check:
    def check(_world: World, snapshot: Snapshot) -> None:
        assert set(snapshot.by_id("users")) == set(ids)

    return check


def members_of(group_id: str, **types: str) -> Check:
    """Its members by name, with their types; and its count."""
    expected = {IDS[name]: kind for name, kind in types.items()}

    def check(_world: World, snapshot: Snapshot) -> None:
        rows = [
            row
            for row in snapshot.datasets["memberships"]
            if (row["group_id"], row["relation"]) == (group_id, "member")
        ]
        assert {row["member_id"]: row["member_type"] for row in rows} == expected
        assert len(rows) == len(expected)
        assert snapshot.by_id("groups")[group_id]["member_count"] == len(expected)

    return check


def unavailable(dataset: str, reason: str) -> Check:
    """It says so, with the reason, and the users have nothing in its place."""
    field = {"authentication": "authentication", "sign-in": "sign_in"}[dataset]

    def check(_world: World, snapshot: Snapshot) -> None:
        entry = snapshot.manifest["datasets"][dataset]
        assert (entry["status"], entry.get("reason")) == ("unavailable", reason)
        assert all(field not in row for row in snapshot.datasets["users"])

    return check


def authenticated(source: str, *ids: str) -> Check:
    """These users, and no others, have something from this source."""

    def check(_world: World, snapshot: Snapshot) -> None:
        assert snapshot.manifest["datasets"]["authentication"]["status"] == "complete"
        found = {row["id"]: row.get("authentication", {}).get("source") for row in snapshot.datasets["users"]}
        assert {user_id for user_id, known in found.items() if known} == set(ids)
        assert set(found.values()) <= {source, None}

    return check


def cost(**expected: int) -> Check:
    def check(_world: World, snapshot: Snapshot) -> None:
        assert {name: snapshot.manifest["graph"][name] for name in expected} == expected

    return check


def waited(seconds: float, *, asleep: bool) -> Check:
    """So long, in a sleep or by a message that comes later."""

    def check(world: World, _snapshot: Snapshot) -> None:
        delays = world.clock.slept if asleep else [delay for _, delay in world.messages.sent]
        assert max(delays) == pytest.approx(seconds)
        assert asleep or world.clock.slept == []

    return check


AS_EVER = published(
    people(ALICE, BOB, CAROL),
    members_of(STAFF, alice="user", bob="user"),
    members_of(BOARD),
    authenticated("report", ALICE, BOB, CAROL),
)

BY_THEIR_METHODS = published(authenticated("methods", ALICE, BOB, CAROL))

IN_THREE_SECONDS = format_datetime(Clock.moment + timedelta(seconds=3), usegmt=True)
IN_SIX_HOURS = format_datetime(Clock.moment + timedelta(hours=6), usegmt=True)
AN_HOUR_AGO = format_datetime(Clock.moment - timedelta(hours=1), usegmt=True)

ADDRESSES = [f"smtp:alice.{number}@contoso.com" for number in range(500)]
ODD_TEXT = '👩🏽‍💻 שלום مرحبا Ǻ \u2028\u2029\u0085 \u202e \\" \t'
DEEP = 100_000 * "[" + 100_000 * "]"

OBJECTS = [
    pytest.param(user(displayName=None), published(has(display_name=ABSENT)), id="name null"),
    pytest.param(user_without("displayName"), published(has(display_name=ABSENT)), id="name missing"),
    pytest.param(user(displayName=""), published(has(display_name=ABSENT)), id="name empty"),
    pytest.param(user(mail=None), published(has(mail=ABSENT)), id="mail null"),
    pytest.param(user(mail=""), published(has(mail=ABSENT)), id="mail empty"),
    pytest.param(user(businessPhones=None), published(has(business_phones=ABSENT)), id="phones null"),
    pytest.param(user(businessPhones=[]), published(has(business_phones=[])), id="phones an empty list"),
    pytest.param(user_without("businessPhones"), published(has(business_phones=ABSENT)), id="phones missing"),
    *(
        pytest.param(
            user(userPrincipalName=upn), published(has(user_principal_name=upn)), id=f"UPN with {what}"
        )
        for what, upn in (
            ("#EXT#", "ann_fabrikam.com#EXT#@contoso.onmicrosoft.com"),
            ("a dollar", "pay$roll@contoso.com"),
            ("an apostrophe", "o'brien@contoso.com"),
            ("letters beyond ASCII", "zoë.müller@contoso.com"),
        )
    ),
    pytest.param(
        user(proxyAddresses=ADDRESSES), published(has(proxy_addresses=ADDRESSES)), id="500 proxy addresses"
    ),
    pytest.param(
        user(displayName=ODD_TEXT), published(has(display_name=ODD_TEXT)), id="emoji, right to left, U+2028"
    ),
    pytest.param(
        sent(
            USERS,
            ALICE,
            favouriteColour="blue",
            extension_0123456789abcdef0123456789abcdef_costCode={"deep": [1, None]},
            onPremisesExtensionAttributes={f"extensionAttribute{n}": None for n in range(1, 16)},
        ),
        published(has(display_name="Alice")),
        id="unknown and extension properties",
    ),
    pytest.param(
        user(createdDateTime="2026-01-02T03:04:05.1234567Z"),
        published(has(created_at="2026-01-02T03:04:05.123456Z")),
        id="seven fraction digits",
    ),
    pytest.param(
        user(createdDateTime="2026-01-02T03:04:05.1200000Z"),
        published(has(created_at="2026-01-02T03:04:05.12Z")),
        id="a fraction that ends in zeros",
    ),
    pytest.param(
        user(createdDateTime="2026-01-02T03:04:05+02:00"),
        published(has(created_at="2026-01-02T01:04:05Z")),
        id="a time of another zone",
    ),
    pytest.param(
        user(createdDateTime="0001-01-01T00:00:00Z"), published(has(created_at=ABSENT)), id="a date of year 1"
    ),
    pytest.param(
        sign_in({"lastSignInDateTime": "0001-01-01T00:00:00Z", "lastSuccessfulSignInDateTime": None}),
        published(has(sign_in=ABSENT)),
        id="a sign-in of year 1",
    ),
    pytest.param(user(createdDateTime="yesterday"), Fails("users", f"{ALICE} has a time"), id="no time"),
    pytest.param(
        user(createdDateTime="9999-12-31T23:59:59-05:00"),
        Fails("users", "a time"),
        id="a time beyond all",
    ),
    pytest.param(
        group(displayName=None), published(record("groups", STAFF, display_name=ABSENT)), id="a group's name"
    ),
    pytest.param(
        group(description="", groupTypes=None),
        published(record("groups", STAFF, description=ABSENT, group_types=ABSENT)),
        id="a group's text empty and list null",
    ),
    pytest.param(
        sent(GROUPS, STAFF, groupTypes=[], theme={"a": 1}),
        published(record("groups", STAFF, group_types=[])),
        id="a group's empty list",
    ),
    *(
        pytest.param(users_sent(odd), Fails("users", words), id=f"{what} for a user")
        for what, odd, words in (
            ("null", None, "no usable id"),
            ("a text", '"alice"', "no usable id"),
            ("a list", [], "no usable id"),
            ("no id", {"displayName": "Alice"}, "`id`"),
            ("an id of null", graph_user(ALICE, "Alice", id=None), "$.id"),
            ("a number as id", graph_user(ALICE, "Alice", id=7), "$.id"),
            ("an empty id", graph_user("", "Alice"), "id"),
            ("a number as name", graph_user(ALICE, "Alice", displayName=7), "displayName"),
            ("a text as a flag", graph_user(ALICE, "Alice", accountEnabled="true"), "accountEnabled"),
            ("a text as a list", graph_user(ALICE, "Alice", businessPhones="1"), "businessPhones"),
            ("a list with null", graph_user(ALICE, "Alice", otherMails=[None]), "otherMails"),
            ("half a surrogate pair", f'{{"id": "{ALICE}", "displayName": "\\ud83d"}}', "cannot be read"),
            ("nesting without end", f'{{"id": "{ALICE}", "x": {DEEP}}}', "cannot be read"),
        )
    ),
    *(
        pytest.param(pages(GROUPS, [odd]), Fails("groups", "cannot be read"), id=f"{what} for a group")
        for what, odd in (
            ("null", None),
            ("no id", {"displayName": "Staff"}),
            ("a number as name", {"id": STAFF, "displayName": 7}),
            ("a text as a list", {"id": STAFF, "groupTypes": "Unified"}),
        )
    ),
    pytest.param(group(createdDateTime="x"), Fails("groups", f"{STAFF} has a time"), id="a group's time"),
]

MEMBERS = [
    *(
        pytest.param(
            member(STRANGER, kind),
            published(members_of(STAFF, alice="user", bob="user", stranger=published_as)),
            id=f"{kind or 'no type'}",
        )
        for kind, published_as in (
            ("device", "device"),
            ("servicePrincipal", "service_principal"),
            ("orgContact", "contact"),
            ("agentIdentityOfTomorrow", "unknown"),
            (None, "unknown"),
        )
    ),
    pytest.param(
        member(CAROL, None),
        published(members_of(STAFF, alice="user", bob="user", carol="user")),
        id="no type, but a user of ours",
    ),
    pytest.param(
        member(BOARD, "group"),
        published(members_of(STAFF, alice="user", bob="user", board="group")),
        id="a group",
    ),
    pytest.param(
        staff_sent([ref(ALICE, displayName=None, mail=None, userPrincipalName=None)]),
        published(has(display_name="Alice", groups=[STAFF])),
        id="nulls but for the id, where a type may not be read",
    ),
    pytest.param(
        all_of(member(BOARD, "group"), member(STAFF, "group", of=BOARD)),
        published(
            members_of(STAFF, alice="user", bob="user", board="group"), members_of(BOARD, staff="group")
        ),
        id="groups in a ring",
    ),
    pytest.param(
        member(STAFF, "group"),
        published(members_of(STAFF, alice="user", bob="user", staff="group")),
        id="a group in itself",
    ),
    pytest.param(
        lambda tenant: tenant.directory.add_owner(STAFF, ALICE),
        published(has(groups=[STAFF], owned_groups=[STAFF]), members_of(STAFF, alice="user", bob="user")),
        id="a member who is an owner",
    ),
    pytest.param(
        staff_sent([ref(ALICE)], [ref(ALICE)]),
        published(members_of(STAFF, alice="user", bob="user")),
        id="a member on two pages",
    ),
    pytest.param(lambda _tenant: None, published(members_of(BOARD)), id="an empty group"),
    pytest.param(
        all_of(hidden_board, without("Member.Read.Hidden")),
        published(members_of(BOARD), record("groups", BOARD, visibility="HiddenMembership")),
        id="hidden membership that may not be read",
    ),
    pytest.param(hidden_board, published(members_of(BOARD, alice="user")), id="hidden membership"),
    pytest.param(
        soft_deleted, published(people(BOB, CAROL), members_of(STAFF, bob="user")), id="a soft-deleted member"
    ),
    pytest.param(
        member(STRANGER, "group"),
        published(members_of(STAFF, alice="user", bob="user")),
        id="a group that is not there",
    ),
    *(
        pytest.param(staff_sent([odd]), Fails("groups", "cannot be read"), id=f"{what} for a member")
        for what, odd in (
            ("null", None),
            ("a text", "bob"),
            ("no id", {"@odata.type": "#microsoft.graph.user"}),
            ("an id of null", {"id": None}),
            ("a number as type", {"id": ALICE, "@odata.type": 5}),
        )
    ),
]

NO_LINK = "neither a next link nor a delta link"
ENDS = [
    (faults.without_links, 1, 0, NO_LINK, "no link in the delta after the list"),
    (faults.self_link, None, 0, "a second time", "a link to itself in the delta after the list"),
]
LISTS = [
    (faults.both_links, 1, 0, "both a next link and a delta link", "both links"),
    (faults.both_links, 1, 1, "both a next link and a delta link", "both links later on"),
    (faults.self_link, None, 0, "a second time", "a link to itself"),
]
CHAINS = [
    (faults.without_links, 1, 0, NO_LINK, "no link"),
    (faults.without_links, 1, 1, NO_LINK, "no link later on"),
    (faults.both_links, 1, 0, "both a next link and a delta link", "both links"),
    (faults.self_link, None, 0, "a second time", "a link to itself"),
]
"""Of which each page of a delta has one; a list without a link is at its end."""

DELTA = [
    pytest.param(
        all_of(soft_deleted, tenant_with(delta_removed_on_first_pass=True)),
        published(people(BOB, CAROL), members_of(STAFF, bob="user")),
        id="@removed on the first pass",
    ),
    pytest.param(
        users_told({"id": ALICE, "@removed": {}}, {"id": STRANGER, "@removed": {}}),
        published(people(BOB, CAROL)),
        id="@removed, no reason",
    ),
    pytest.param(
        users_told({**graph_user(ALICE, "Alicia"), "@removed": None}),
        published(has(display_name="Alicia")),
        id="@removed null",
    ),
    pytest.param(
        pages(GROUPS, [{"id": BOARD, "@removed": {"reason": "deleted"}}], [staff(ref(BOB))]),
        published(members_of(STAFF, bob="user")),
        id="a group @removed on the first pass",
    ),
    pytest.param(
        staff_sent([gone(CAROL)]),
        published(members_of(STAFF, bob="user")),
        id="an edge @removed on the first pass",
    ),
    pytest.param(
        staff_sent([ref(CAROL)], [gone(CAROL)]),
        published(members_of(STAFF, bob="user")),
        id="an edge added and removed in one round",
    ),
    pytest.param(
        staff_sent([ref(CAROL), gone(CAROL), ref(CAROL)]),
        published(members_of(STAFF, bob="user", carol="user")),
        id="an edge removed and added again",
    ),
    pytest.param(
        all_of(twenty_devices, tenant_with(delta_page_links=1)),
        published(record("groups", BOARD, display_name="Board", member_count=20)),
        id="a group on 20 pages",
    ),
    pytest.param(
        users_told({"id": ALICE, "@removed": {"reason": "changed"}}, graph_user(ALICE, "Alicia")),
        published(has(display_name="Alicia"), people(ALICE, BOB, CAROL)),
        id="removed, then restored",
    ),
    pytest.param(
        users_told(graph_user(ALICE, "Alice"), {"id": ALICE, "@removed": {"reason": "changed"}}),
        published(people(BOB, CAROL)),
        id="restored, then removed",
    ),
    pytest.param(
        users_sent(graph_user(ALICE, "Alice"), {"id": ALICE, "mail": "alice@contoso.com"}),
        published(has(display_name="Alice", mail="alice@contoso.com")),
        id="a user in two pieces of the list",
    ),
    pytest.param(
        users_told({"id": ALICE, "city": "Oslo"}, {"id": ALICE, "mail": "alice@contoso.com"}),
        published(has(display_name="Alice", city="Oslo", mail="alice@contoso.com", groups=[STAFF])),
        id="a user in two pieces of the delta after the list",
    ),
    pytest.param(
        users_told(graph_user(STRANGER, "Stranger")),
        published(people(ALICE, BOB, CAROL, STRANGER)),
        id="a user who came while the list was read",
    ),
    pytest.param(
        pages(GROUPS, [staff(ref(BOB))], [{"id": STAFF, "description": "All"}], [{"id": STAFF}]),
        published(record("groups", STAFF, display_name="Staff", description="All", member_count=1)),
        id="a group in three pieces",
    ),
    pytest.param(tenant_with(delta_empty_page_every=1), AS_EVER, id="empty pages with a next link"),
    pytest.param(pages(GROUPS, [], [], [staff(ref(BOB))], []), published(), id="empty pages at both ends"),
    pytest.param(tenant_with(delta_replay_every=1), AS_EVER, id="every page twice"),
    pytest.param(fault(faults.replay(), USERS), AS_EVER, id="a page under two links"),
    pytest.param(tenant_with(delta_scatter=True, delta_page_links=1), AS_EVER, id="pieces in any order"),
    *(
        pytest.param(fault(action(), path, times, skip=skip), Fails(dataset, words), id=f"{what}, {dataset}")
        for dataset, path, chains in (
            ("users", USERS, LISTS),
            ("users", USERS_DELTA, ENDS),
            ("groups", GROUPS, CHAINS),
        )
        for action, times, skip, words, what in chains
    ),
    pytest.param(fault(faults.gone(), USERS_DELTA), AS_EVER, id="410 of the link that was just made"),
    pytest.param(
        for_ever(faults.gone(), USERS_DELTA), Fails("users", "410"), id="410 of every link that was just made"
    ),
    pytest.param(
        fault(faults.edit(lambda page, _call: page.update(value=[graph_user(BOB, "Bob")])), MINT),
        AS_EVER,
        id="objects beside the latest delta link",
    ),
    *(
        pytest.param(fault(action, MINT, 2), Fails("users", words), id=f"the latest delta link, {what}")
        for action, words, what in (
            (faults.without_links(), "neither", "which is not there"),
            (faults.foreign_link("https://graph.evil.example/"), "sent a page", "a next link instead"),
            (faults.truncate(), "cannot be read", "half of it"),
            (faults.html(), "HTML", "HTML instead"),
        )
    ),
    pytest.param(fault(faults.gone(), USERS), AS_EVER, id="410 once"),
    pytest.param(fault(faults.gone(), GROUPS + REST), AS_EVER, id="410 in the middle"),
    pytest.param(for_ever(faults.gone(), USERS), Fails("users", "410"), id="410 for ever"),
    pytest.param(
        fault(faults.respond(400, code="syncStateNotFound"), GROUPS), AS_EVER, id="400 syncStateNotFound once"
    ),
    pytest.param(
        fault(faults.respond(400, code="BadRequest", message="No."), USERS + REST),
        Fails("users", "400 BadRequest"),
        id="400 of another kind",
    ),
]

TRANSPORT = [
    pytest.param(
        fault(faults.throttle(7), USERS + REST),
        AS_EVER.and_(waited(7, asleep=True), cost(throttled=1)),
        id="429",
    ),
    pytest.param(
        fault(faults.throttle("2.128"), USERS + REST),
        AS_EVER.and_(waited(2.128, asleep=True), cost(throttled=1, retried=1)),
        id="429 with a fraction",
    ),
    pytest.param(
        fault(faults.throttle(IN_THREE_SECONDS), USERS + REST),
        AS_EVER.and_(waited(3, asleep=True)),
        id="429 with a date",
    ),
    pytest.param(
        fault(faults.throttle(AN_HOUR_AGO), USERS + REST),
        AS_EVER.and_(cost(retried=1)),
        id="our clock is early",
    ),
    pytest.param(
        fault(faults.throttle(IN_SIX_HOURS), USERS + REST),
        AS_EVER.and_(waited(6 * 3600, asleep=False)),
        id="our clock is late",
    ),
    pytest.param(
        fault(faults.throttle(), USERS + REST), AS_EVER.and_(waited(0.5, asleep=True)), id="429 with no wait"
    ),
    pytest.param(
        fault(faults.throttle(300), USERS + REST),
        AS_EVER.and_(waited(300, asleep=False)),
        id="429 with five minutes",
    ),
    *(
        pytest.param(fault(action, GROUPS + REST, 2), AS_EVER.and_(cost(retried=2)), id=what)
        for what, action in (
            ("500", faults.respond(500)),
            ("502", faults.html(502)),
            ("503", faults.respond(503, code="serviceNotAvailable")),
            ("504", faults.respond(504)),
            ("509", faults.respond(509)),
            ("a connection reset in the body", faults.reset()),
        )
    ),
    pytest.param(fault(faults.close(), GROUPS + REST), AS_EVER, id="a connection closed"),
    pytest.param(for_ever(faults.drip(0.002), GROUPS), AS_EVER, id="a slow drip"),
    pytest.param(for_ever(faults.throttle(300), USERS), Fails("users", "throttles"), id="429 for ever"),
    pytest.param(for_ever(faults.respond(503), GROUPS), Fails("groups", "503"), id="503 for ever"),
    pytest.param(for_ever(faults.close(), GROUPS + REST), Fails("groups", "reached"), id="closed for ever"),
    pytest.param(
        fault(faults.respond(401, code="InvalidAuthenticationToken"), USERS + REST),
        AS_EVER.and_(cost(retried=1)),
        id="401 in the middle",
    ),
    pytest.param(
        for_ever(faults.respond(401, code="InvalidAuthenticationToken"), USERS + REST),
        Fails("users", "token"),
        id="401 for ever",
    ),
    pytest.param(
        fault(faults.expired_page_token(), USERS + REST, skip=1),
        AS_EVER,
        id="an expired page token once",
    ),
    pytest.param(
        for_ever(faults.expired_page_token(), USERS + REST),
        Fails("users", "Directory_ExpiredPageToken"),
        id="an expired page token for ever",
    ),
    pytest.param(fault(faults.truncate(), USERS + REST), Fails("users", "cannot be read"), id="half a page"),
    pytest.param(fault(faults.html(), GROUPS), Fails("groups", "HTML"), id="HTML with 200"),
    pytest.param(fault(faults.respond(204), GROUPS), Fails("groups", "cannot be read"), id="204"),
    pytest.param(
        fault(faults.respond(302, headers={"Location": "/x"}), GROUPS),
        Fails("groups", "302"),
        id="302",
    ),
    pytest.param(fault(faults.respond(404, code="x"), GROUPS + REST), Fails("groups", "404"), id="404"),
    pytest.param(
        fault(faults.foreign_link("https://graph.evil.example/v1.0/users?$skiptoken=x"), USERS),
        Fails("users", "graph.evil.example"),
        id="a link to another host",
    ),
]

NO_REPORT = without("AuditLog.Read.All")
NO_METHODS = without("UserAuthenticationMethod.Read.All")
NO_LICENCE = tenant_with(premium=False)
DENIED = faults.respond(403, code="Authorization_RequestDenied")


OPTIONAL = [
    pytest.param(
        NO_REPORT,
        BY_THEIR_METHODS.and_(unavailable("sign-in", "permission")),
        id="no AuditLog.Read.All",
    ),
    pytest.param(
        all_of(NO_REPORT, NO_METHODS),
        published(unavailable("authentication", "permission"), unavailable("sign-in", "permission")),
        id="no permission for anything",
    ),
    pytest.param(
        NO_LICENCE,
        BY_THEIR_METHODS.and_(unavailable("sign-in", "licence")),
        id="no P1",
    ),
    pytest.param(
        all_of(NO_LICENCE, NO_METHODS),
        published(unavailable("authentication", "licence"), unavailable("sign-in", "licence")),
        id="no P1 and no UserAuthenticationMethod.Read.All",
    ),
    pytest.param(NO_METHODS, AS_EVER, id="no UserAuthenticationMethod.Read.All, which is not needed"),
    pytest.param(
        lambda tenant: tenant.directory.registrations.pop(ALICE),
        published(has(authentication=ABSENT), authenticated("report", BOB, CAROL)),
        id="a user whom the report does not cover",
    ),
    pytest.param(fault(DENIED, REPORT), BY_THEIR_METHODS, id="403, report"),
    pytest.param(fault(DENIED, SIGN_INS), published(unavailable("sign-in", "permission")), id="403, sign-in"),
    pytest.param(fault(DENIED, USERS), Fails("users", "User.Read.All is not granted"), id="403, users"),
    pytest.param(
        fault(DENIED, MINT, 2), Fails("users", "User.Read.All is not granted"), id="403, users' delta link"
    ),
    pytest.param(
        without("User-LifeCycleInfo.Read.All"),
        AS_EVER.and_(has(employee_leave_at=ABSENT)),
        id="no User-LifeCycleInfo.Read.All",
    ),
    pytest.param(
        fault(DENIED, GROUPS), Fails("groups", "GroupMember.Read.All is not granted"), id="403, groups"
    ),
    pytest.param(
        for_ever(faults.throttle(300), REPORT),
        published(unavailable("authentication", "throttling")),
        id="429 for ever, report",
    ),
    pytest.param(
        for_ever(faults.respond(503), SIGN_INS), published(unavailable("sign-in", "unreachable")), id="503"
    ),
    pytest.param(
        fault(faults.respond(400, code="BadRequest"), SIGN_INS + ".*500"),
        AS_EVER.and_(record("users", ALICE, sign_in={"last_interactive_at": "2026-11-20T07:00:00Z"})),
        id="sign-ins of at most 120 a page",
    ),
    pytest.param(
        for_ever(faults.respond(400, code="BadRequest"), REPORT + r".*\$top"),
        AS_EVER,
        id="a report that takes no page size",
    ),
    pytest.param(
        for_ever(faults.respond(400, code="BadRequest"), REPORT),
        published(unavailable("authentication", "rejected")),
        id="400, report",
    ),
    pytest.param(
        for_ever(faults.respond(400, code="BadRequest"), SIGN_INS),
        published(unavailable("sign-in", "rejected")),
        id="400, sign-ins",
    ),
    *(
        pytest.param(for_ever(action, REPORT), published(unavailable("authentication", "rejected")), id=what)
        for what, action in (
            ("410 for ever, report", faults.gone()),
            ("an expired page token for ever, report", faults.expired_page_token()),
        )
    ),
    *(
        pytest.param(fault(action, path), published(unavailable(dataset, "invalid")), id=f"{what}, {dataset}")
        for dataset, path in (("authentication", REPORT), ("sign-in", SIGN_INS))
        for what, action in (
            ("HTML", faults.html()),
            ("half of the JSON", faults.truncate()),
            ("a link to another host", faults.foreign_link("https://graph.evil.example/")),
            ("an object that is none", faults.replace_object(None)),
            ("an object without id", faults.replace_object({})),
        )
    ),
    *(
        pytest.param(row, published(unavailable("authentication", "invalid")), id=f"a row with {what}")
        for what, row in (
            ("a text as methods", registration(methodsRegistered="fido2")),
            ("a number as a flag", registration(isMfaRegistered=1)),
            ("no time", registration(lastUpdatedDateTime="yesterday")),
        )
    ),
    *(
        pytest.param(sign_in(value), published(unavailable("sign-in", "invalid")), id=f"sign-in {what}")
        for what, value in (
            ("of text", "yesterday"),
            ("of a number", {"lastSignInDateTime": 7}),
            ("at no time", {"lastSignInDateTime": "yesterday"}),
        )
    ),
    pytest.param(
        registration(isMfaRegistered=None, methodsRegistered=None, defaultMfaMethod="none", novelty=[1]),
        AS_EVER.and_(has(authentication={"source": "report"})),
        id="a report's row of nulls",
    ),
]

BY_METHODS = [
    pytest.param(
        fault(faults.throttle("2.128"), METHODS, batched=True),
        BY_THEIR_METHODS.and_(waited(2.128, asleep=True), cost(throttled=1)),
        id="429 of an item",
    ),
    pytest.param(
        fault(faults.throttle(300), METHODS, batched=True),
        BY_THEIR_METHODS.and_(waited(300, asleep=False)),
        id="429 of an item with five minutes",
    ),
    pytest.param(
        fault(faults.respond(503), METHODS, batched=True),
        BY_THEIR_METHODS.and_(cost(retried=1)),
        id="503 of an item",
    ),
    pytest.param(
        fault(faults.respond(404, code="Request_ResourceNotFound"), ALICE + METHODS, batched=True),
        published(has(authentication=ABSENT), authenticated("methods", BOB, CAROL)),
        id="404 of a user who went meanwhile",
    ),
    pytest.param(
        for_ever(faults.throttle(300), r"\$batch"),
        published(unavailable("authentication", "throttling")),
        id="429 for ever",
    ),
    *(
        pytest.param(
            fault(action, METHODS, batched=True),
            published(unavailable("authentication", reason)),
            id=f"{what} of an item",
        )
        for what, action, reason in (
            ("403", DENIED, "permission"),
            ("400", faults.respond(400, code="BadRequest"), "rejected"),
            ("HTML", faults.html(), "invalid"),
            ("half of the JSON", faults.respond(200, body='{"value": "fido2"}'), "invalid"),
        )
    ),
]


@pytest.fixture(scope="module")
def signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(autouse=True)
def one_signing_key(monkeypatch: pytest.MonkeyPatch, signing_key: rsa.RSAPrivateKey) -> None:
    """Making a key takes longer than most of these runs."""
    monkeypatch.setattr(rsa, "generate_private_key", lambda **_: signing_key)


@pytest.fixture(autouse=True)
def renewable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world's credential makes a new token for each request, so it has nothing to forget."""

    async def renew(_credential: TenantCredential) -> None:
        return None

    monkeypatch.setattr(TenantCredential, "renew", renew, raising=False)


INCREMENTAL = [
    pytest.param(fault(action(), path, times, skip=skip), Fails(dataset, words), id=f"{what}, {dataset}")
    for dataset, path in (("users", USERS_DELTA), ("groups", GROUPS))
    for action, times, skip, words, what in (
        *CHAINS,
        (faults.truncate, 1, 1, "cannot be read", "half a page"),
        (faults.html, 1, 0, "HTML", "HTML with 200"),
        (lambda: DENIED, 1, 0, "Read.All is not granted", "403"),
        (lambda: faults.respond(401, code="InvalidAuthenticationToken"), None, 0, "token", "401 for ever"),
        (faults.expired_page_token, None, 1, "Directory_ExpiredPageToken", "an expired page token for ever"),
        (lambda: faults.replace_object({"displayName": 7}), 1, 0, dataset, "an object without id"),
        (lambda: faults.foreign_link("https://graph.evil.example/"), 1, 0, "evil", "a link to another host"),
    )
]


async def outcome_of(
    arrange: Arrange, outcome: Published | Fails, account: StorageAccount, *, full: bool = True
) -> None:
    tenant = company()
    async with world(
        tenant, account, DIRECTORY_DATASETS=ALL_DATASETS, DIRECTORY_FORMATS="ocsf,sekoia"
    ) as there:
        if isinstance(outcome, Published):
            arrange(tenant)
            await there.run()
            assert (await there.status())["current"] is None
            snapshot = await there.snapshot()
            bob = snapshot.by_id("users")[BOB]
            assert {name: bob.get(name) for name in BOB_AS_EVER} == BOB_AS_EVER
            for check in outcome.checks:
                check(there, snapshot)
        else:
            before = await there.run()
            pointer = await there.sync.output.read("current.json")
            arrange(tenant)
            there.clock.forward(hours=1)
            failed = await (there.run_full() if full else there.run())
            stored = await there.sync.state.run()
            assert stored is not None
            assert stored[0].kind == ("full" if full else "incremental")
            current = (await there.status())["current"]
            assert (current["run_id"], current["status"]) == (failed, "failed")
            assert outcome.dataset in current["error"]
            assert outcome.words in current["error"]
            assert await there.sync.output.read("current.json") == pointer
            assert (await there.snapshot()).manifest["run_id"] == before


@pytest.mark.parametrize(("arrange", "outcome"), OBJECTS)
async def test_odd_objects(arrange: Arrange, outcome: Published | Fails, account: StorageAccount) -> None:
    await outcome_of(arrange, outcome, account)


@pytest.mark.parametrize(("arrange", "outcome"), MEMBERS)
async def test_odd_members(arrange: Arrange, outcome: Published | Fails, account: StorageAccount) -> None:
    await outcome_of(arrange, outcome, account)


@pytest.mark.parametrize(("arrange", "outcome"), DELTA)
async def test_odd_delta(arrange: Arrange, outcome: Published | Fails, account: StorageAccount) -> None:
    await outcome_of(arrange, outcome, account)


@pytest.mark.parametrize(("arrange", "outcome"), INCREMENTAL)
async def test_odd_changes(arrange: Arrange, outcome: Fails, account: StorageAccount) -> None:
    """The same of what changed since the last run: of everybody, so that this chain has a middle, too."""

    def everything_changed(tenant: Tenant) -> None:
        for user_id in (ALICE, BOB, CAROL):
            tenant.directory.update_user(user_id, {"city": "Oslo"})
        for group_id in (STAFF, BOARD):
            tenant.directory.update_group(group_id, {"description": "New"})

    await outcome_of(all_of(everything_changed, arrange), outcome, account, full=False)


@pytest.mark.parametrize(("arrange", "outcome"), TRANSPORT)
async def test_odd_transport(arrange: Arrange, outcome: Published | Fails, account: StorageAccount) -> None:
    await outcome_of(arrange, outcome, account)


@pytest.mark.parametrize(("arrange", "outcome"), OPTIONAL)
async def test_odd_rights_and_reports(
    arrange: Arrange, outcome: Published | Fails, account: StorageAccount
) -> None:
    await outcome_of(arrange, outcome, account)


@pytest.mark.parametrize(("arrange", "outcome"), BY_METHODS)
async def test_odd_methods(arrange: Arrange, outcome: Published | Fails, account: StorageAccount) -> None:
    await outcome_of(all_of(NO_REPORT, arrange), outcome, account)


async def test_storage_out_of_reach_is_no_fault_of_the_dataset(
    account: StorageAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(*_: object) -> None:
        raise StorageUnavailable("Storage is out of reach.")

    async with world(company(), account) as there:
        with monkeypatch.context() as broken:
            broken.setattr(RowWriter, "flush", unreachable)
            with pytest.raises(StorageUnavailable):
                await there.run()
        current = (await there.status())["current"]
        assert {entry["status"] for entry in current["datasets"].values()} == {"reading"}

        await there.run()

        assert len((await there.snapshot()).datasets["users"]) == 3


# --- large ones -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "count", [pytest.param(35_000), pytest.param(500_000, marks=pytest.mark.slow)], ids="{:_} members".format
)
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
async def test_a_group_of_many(count: int, account: StorageAccount) -> None:
    """Its members come 500 a page. Devices, since they need no record of their own."""
    tenant = company()
    for number in range(count):
        tenant.directory.add_member(BOARD, f"{number:08}-0000-4000-8000-00000000000d", "device")

    async with world(tenant, account, bucket_rows=8_192, DIRECTORY_FORMATS="") as there:
        await there.run()
        snapshot = await there.snapshot(validate=False)

    assert len(tenant.requests_to(GROUPS)) > count / 500
    assert snapshot.by_id("groups")[BOARD]["member_count"] == count
    assert len(snapshot.edges()) == len(snapshot.datasets["memberships"]) == count + 3


async def test_a_page_of_50_megabytes(account: StorageAccount) -> None:
    """Most of it is of no use to us, and none of it stays in a record."""
    tenant = company()
    ballast = 250_000 * "x"
    ids = [f"{number:08}-0000-4000-8000-00000000000e" for number in range(200)]
    page = [graph_user(user_id, "Somebody", novelty=ballast) for user_id in ids]
    pages(USERS, page, [graph_user(BOB, "Bob")])(tenant)

    async with world(tenant, account) as there:
        await there.run()
        snapshot = await there.snapshot()

    assert len(snapshot.datasets["users"]) == 201
    assert ballast not in json.dumps(snapshot.datasets["users"][0])


async def test_a_foreign_link_gets_no_request(account: StorageAccount) -> None:
    async with TenantServer(other := Tenant()) as elsewhere:
        link = f"{elsewhere.url}/v1.0/users?$skiptoken=x"
        await outcome_of(fault(faults.foreign_link(link), USERS), Fails("users", "not followed"), account)

    assert other.requests == []
