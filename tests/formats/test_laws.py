"""Any record that may be published renders to what the readers of that schema accept."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.clouds import CLOUDS
from shared.directory.records import Authentication, Group, OnPremises, SignIn, User
from shared.formats import FORMATS, formats_named
from shared.formats.interface import GroupLabel, RenderContext
from tests.formats.people import published
from tests.validation import validate_line

# JSON has no lone surrogates; everything else may stand in a directory.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
ADDRESS = st.one_of(
    TEXT,
    st.emails(),
    st.builds(
        "{}{}@{}".format,
        st.sampled_from(["SMTP:", "smtp:", "X500:", ""]),
        TEXT,
        st.sampled_from(["a.b", "é"]),
    ),
)
ID = st.uuids().map(str)
DAY_MIN, DAY_MAX = datetime(1975, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001  hypothesis adds the time zone
TIME = st.builds(
    lambda moment, digits: (
        moment.strftime("%Y-%m-%dT%H:%M:%S")
        + (f".{moment.microsecond:06}"[: digits + 1] if digits else "")
        + "Z"
    ),
    st.datetimes(DAY_MIN, DAY_MAX, timezones=st.just(UTC)),
    st.integers(0, 6),
)
IDS = st.lists(ID, max_size=4, unique=True).map(sorted)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


TEXT_FIELDS = {
    "user_principal_name": ADDRESS,
    "display_name": TEXT,
    "given_name": TEXT,
    "surname": TEXT,
    "mail": ADDRESS,
    "other_mails": st.lists(ADDRESS, max_size=3),
    "proxy_addresses": st.lists(ADDRESS, max_size=3),
    "user_type": st.sampled_from(["Member", "Guest"]) | TEXT,
    "account_enabled": st.booleans(),
    "created_at": TIME,
    "last_password_change_at": TIME,
    "employee_id": TEXT,
    "employee_type": st.sampled_from(["Employee", "Service"]) | TEXT,
    "employee_hire_date": TIME,
    "employee_leave_at": TIME,
    "job_title": TEXT,
    "department": TEXT,
    "company_name": TEXT,
    "cost_center": TEXT,
    "office_location": TEXT,
    "city": TEXT,
    "state": TEXT,
    "postal_code": TEXT,
    "country": st.sampled_from(["FR", "France"]) | TEXT,
    "usage_location": st.sampled_from(["FR", "BE"]) | TEXT,
    "mobile_phone": TEXT,
    "business_phones": st.lists(TEXT, max_size=3),
    "manager_id": ID,
    "security_identifier": TEXT,
    "owned_groups": IDS,
}
ON_PREMISES = st.builds(
    OnPremises,
    sync_enabled=maybe(st.booleans()),
    sam_account_name=maybe(TEXT),
    security_identifier=maybe(TEXT),
    distinguished_name=maybe(TEXT),
    domain_name=maybe(TEXT),
    last_sync_at=maybe(TIME),
)
AUTHENTICATION = st.builds(
    Authentication,
    is_mfa_registered=maybe(st.booleans()),
    is_mfa_capable=maybe(st.booleans()),
    is_passwordless_capable=maybe(st.booleans()),
    methods=maybe(st.lists(TEXT, max_size=3, unique=True).map(sorted)),
    default_method=maybe(TEXT),
    is_admin=maybe(st.booleans()),
    source=maybe(st.sampled_from(["report", "methods"])),
    as_of=maybe(TIME),
)
SIGN_IN = st.builds(
    SignIn,
    last_success_at=maybe(TIME),
    last_interactive_at=maybe(TIME),
    last_non_interactive_at=maybe(TIME),
)
LABELS = st.dictionaries(ID, st.tuples(maybe(TEXT), maybe(TEXT), maybe(st.booleans())), max_size=4).map(
    lambda labels: {group_id: GroupLabel(group_id, *label) for group_id, label in labels.items()}
)


@st.composite
def users(draw: st.DrawFn, groups: list[str]) -> User:
    given_fields = draw(st.fixed_dictionaries({}, optional=TEXT_FIELDS))
    return User(
        id=draw(ID),
        groups=draw(maybe(st.just(groups))),
        on_premises=draw(maybe(ON_PREMISES)),
        authentication=draw(maybe(AUTHENTICATION)),
        sign_in=draw(maybe(SIGN_IN)),
        changed_at=draw(TIME),
        **given_fields,
    )


GROUPS = st.builds(
    Group,
    id=ID,
    display_name=maybe(TEXT),
    description=maybe(TEXT),
    mail=maybe(ADDRESS),
    mail_enabled=maybe(st.booleans()),
    security_enabled=maybe(st.booleans()),
    group_types=maybe(st.lists(st.sampled_from(["Unified", "DynamicMembership"]), unique=True)),
    visibility=maybe(TEXT),
    membership_rule=maybe(TEXT),
    is_assignable_to_role=maybe(st.booleans()),
    created_at=maybe(TIME),
    on_premises=maybe(ON_PREMISES),
    member_count=maybe(st.integers(0, 10**6)),
    owner_count=maybe(st.integers(0, 100)),
    changed_at=TIME,
)


def contexts(labels: dict[str, GroupLabel]) -> st.SearchStrategy[RenderContext]:
    return st.builds(RenderContext, ID, st.sampled_from(list(CLOUDS.values())), st.just(labels))


@settings(max_examples=150, deadline=None)
@given(st.data(), LABELS, IDS)
def test_every_user_renders(
    data: st.DataObject, labels: dict[str, GroupLabel], unlabelled: list[str]
) -> None:
    user = data.draw(users(sorted({*labels, *unlabelled})))
    validate_line("users", published(user))
    for format_ in formats_named(FORMATS, data.draw(contexts(labels))):
        assert format_.users_dataset is not None
        document = published(format_.render_user(user))
        validate_line(format_.users_dataset, document)
        assert document["user"]["uid"] == user.id


@settings(max_examples=150, deadline=None)
@given(GROUPS, contexts({}))
def test_every_group_renders(group: Group, context: RenderContext) -> None:
    validate_line("groups", published(group))
    for format_ in formats_named(FORMATS, context):
        if format_.groups_dataset is not None:
            document = published(format_.render_group(group))
            validate_line(format_.groups_dataset, document)
            assert document["resources"][0]["uid"] == group.id


def test_the_strategies_know_every_field() -> None:
    joined = {"id", "groups", "on_premises", "authentication", "sign_in", "changed_at"}
    assert joined | TEXT_FIELDS.keys() == {field.name for field in msgspec.structs.fields(User)}
