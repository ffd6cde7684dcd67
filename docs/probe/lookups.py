"""What credential validation asks of Graph before it tries a password, asked by its own code."""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from docs.probe.findings import Findings, Seen, Verdict, judged, no_answer, whether
from docs.probe.requests import Json, Pages, Requests, tried
from shared.credentials.users import Absence, DirectoryUser, DirectoryUsers
from shared.errors import GraphError
from shared.graph.paging import Page

USERS, GROUP_SETTINGS = "User.Read.All", "GroupSettings.Read.All"

PASSWORD_RULES = "5cf42378-d67d-4f36-ba46-e8b86229381d"  # noqa: S105 - a template's id, not a secret
"""The template of the lockout policy. https://learn.microsoft.com/graph/group-directory-settings"""
SAME_MOMENT = timedelta(minutes=5)
_DATES = ("absent", "before creation", "at creation", "after it")

type Match = DirectoryUser | Absence


# --- what an answer says ----------------------------------------------------------------------------


def dates_of_synchronised(pages: Pages) -> Seen:
    """Whether the date moves for users whose passwords come from on premises."""
    kinds = Counter(
        _date_of(item) for page in pages for item in page.value if item.get("onPremisesSyncEnabled")
    )
    total = kinds.total()
    if not total:
        return Seen("no synchronised user was read", Verdict.NOT_TRIED)
    text = ", ".join(f"{kinds[kind]} {kind}" for kind in _DATES)
    return Seen(f"of {total}: {text}", whether(kinds[_DATES[3]] * 2 >= total))


def _date_of(user: Json) -> str:
    changed, created = _moment(user.get("lastPasswordChangeDateTime")), _moment(user.get("createdDateTime"))
    if changed is None or created is None:
        return _DATES[0]
    if abs(changed - created) <= SAME_MOMENT:
        return _DATES[2]
    return _DATES[1] if changed < created else _DATES[3]


def _moment(text: object) -> datetime | None:
    """Graph's null for a date is also the year 1."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return None if moment.year == 1 or moment.tzinfo is None else moment.astimezone(UTC)


def lockout_rules(settings: Page[Json], threshold: int | None) -> Seen:
    """Whether the app finds the threshold in the rules that are there; `threshold` is what it found."""
    if not any(each.get("templateId") == PASSWORD_RULES for each in settings.value):
        return Seen(
            f"{len(settings.value)} settings, no password rules: the default holds", Verdict.NOT_TRIED
        )
    if threshold is None:
        return Seen("password rules, in which the app finds no threshold", Verdict.DIFFERS)
    return Seen(f"a threshold of {threshold}", Verdict.AS_EXPECTED)


def found(matches: dict[str, Match], address: str, user_id: str) -> Seen:
    match = matches[address]
    if isinstance(match, DirectoryUser):
        return Seen("found" if match.id == user_id else "somebody else", whether(match.id == user_id))
    if match == "ambiguous":
        return Seen("several users have it", Verdict.NOT_TRIED)
    return Seen(match, Verdict.DIFFERS)


def addresses(users: Iterable[Json]) -> dict[str, tuple[str, str]]:
    """By its kind, an address other than the principal name, and the id of the user who has it."""
    examples: dict[str, tuple[str, str]] = {}
    for user in users:
        if "@removed" in user or not user.get("id"):
            continue
        for kind, address in _addresses_of(user):
            examples.setdefault(kind, (address, user["id"]))
    return examples


def _addresses_of(user: Json) -> Iterator[tuple[str, str]]:
    own = {str(user.get("userPrincipalName")).lower()}
    if (mail := user.get("mail")) and mail.lower() not in own:
        yield "mail", mail
        own.add(mail.lower())
    for proxy in user.get("proxyAddresses") or []:
        scheme, _, address = proxy.partition(":")
        if scheme.lower() == "smtp" and address.lower() not in own:
            yield "a proxy address", address
            yield "a proxy address in capitals", address.upper()
    for other in user.get("otherMails") or []:
        if other.lower() not in own:
            yield "another mail", other


def a_membership(groups: Iterable[Json]) -> tuple[str, str] | None:
    """A group and a user in it, whose membership everybody may see."""
    for group in groups:
        if group.get("visibility") == "HiddenMembership" or not isinstance(group.get("members@delta"), list):
            continue
        for edge in group["members@delta"]:
            if edge.get("@odata.type") == "#microsoft.graph.user" and "@removed" not in edge:
                return group["id"], edge["id"]
    return None


# --- what is asked ----------------------------------------------------------------------------------


class LookupQuestions:
    """Asks, and notes what was seen."""

    def __init__(self, requests: Requests, findings: Findings) -> None:
        self.ask = requests
        self.users = DirectoryUsers(requests.client)
        self.note = findings.note

    async def domains(self) -> None:
        federated = await tried(self.users.federated_domains())
        seen = judged(federated, lambda names: Seen(f"{len(names)} federated", Verdict.AS_EXPECTED))
        self.note("domains: $select of authenticationType", "answered", seen)

    async def lockout(self) -> None:
        settings = await tried(self.ask.page("groupSettings", GROUP_SETTINGS, self.ask.get("groupSettings")))
        threshold = None if isinstance(settings, GraphError) else await tried(self.users.lockout_threshold())
        seen = judged(settings, lambda page: judged(threshold, lambda told: lockout_rules(page, told)))
        self.note("groupSettings: the lockout threshold", "a number, if it was ever changed", seen)

    async def membership(self, groups: Pages | GraphError) -> None:
        """`checkMemberGroups`, which says whether a user is excluded."""
        seen = Seen("no group with a user was read", Verdict.NOT_TRIED)
        if not isinstance(groups, GraphError) and (pair := a_membership(_items(groups))):
            group, user = pair
            members = await tried(self.users.members_of(group, [user]))
            seen = judged(
                members, lambda ids: Seen("a member" if user in ids else "no member", whether(user in ids))
            )
        self.note("checkMemberGroups of a user in a group", "a member", seen)

    async def find(self, users: Pages | GraphError) -> None:
        """Users by other addresses than their principal names."""
        known = {} if isinstance(users, GraphError) else addresses(_items(users))
        matches = await tried(self.users.find({address for address, _ in known.values()}))
        for kind in ("mail", "a proxy address", "a proxy address in capitals", "another mail"):
            seen = Seen("nobody with one was read", Verdict.NOT_TRIED)
            if kind in known:
                address, user_id = known[kind]
                seen = judged(matches, partial(found, address=address, user_id=user_id))
            self.note(f"users by {kind}", "found", seen)

    async def find_deleted(self) -> None:
        path = "directory/deletedItems/microsoft.graph.user?$select=id,userPrincipalName&$top=20"
        page = await tried(self.ask.page("deleted users' names", USERS, self.ask.get(path)))
        names = [] if isinstance(page, GraphError) else [_name_before(item) for item in page.value]
        kept = [name for name in names if name]
        if isinstance(page, GraphError):
            seen = no_answer(page)
        elif not names:
            seen = Seen("nobody is deleted", Verdict.NOT_TRIED)
        else:
            seen = Seen(f"{len(kept)} of {len(names)}", whether(len(kept) == len(names)))
        self.note("deleted users: the object id stands before the name", "of each", seen)

        # An invented name shows at least that Graph takes the filter.
        wanted = kept[0] if kept else f"probe-{secrets.token_hex(8)}@example.com"
        matches = await tried(self.users.find([wanted]))
        expected = "deleted" if kept else "not_found"
        seen = judged(matches, lambda by: _as_deleted(by[wanted], expected))
        self.note("deletedItems by endsWith(userPrincipalName, …)", expected, seen)

    def password_dates(self, listed: Pages | GraphError) -> None:
        """Asks nothing: `listed` are the first pages of the users."""
        self.note(
            "lastPasswordChangeDateTime of synchronised users",
            "of most after they were created",
            judged(listed, dates_of_synchronised),
        )


def _as_deleted(match: Match, expected: str) -> Seen:
    if isinstance(match, DirectoryUser):
        return Seen("the name is in use again", Verdict.NOT_TRIED)
    return Seen(match, whether(match == expected))


def _name_before(user: Json) -> str | None:
    """The name that a deleted user had; None where it does not begin with the object id."""
    name, prefix = str(user.get("userPrincipalName")), str(user.get("id")).replace("-", "")
    return name.removeprefix(prefix) if name.startswith(prefix) else None


def _items(pages: Pages) -> Iterator[Json]:
    return (item for page in pages for item in page.value)
