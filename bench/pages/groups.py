"""Groups with members and owners as `groups/delta` sends them: a page ends at 200 groups or 500 links.

Sizes are skewed as in real directories: most groups are small, a few hold a good part of everybody. A group
that does not fit is continued on the next page, as often as it takes.
"""

import random
from collections.abc import Iterator

from bench.pages.changes import ChangeMaker
from bench.pages.people import DOMAIN, object_id
from bench.scale import GROUPS_A_PAGE, LINKS_A_PAGE, Scale
from sandbox.tenant.vocabulary import COUNTRIES, PROJECT_KINDS, PROJECTS

_OTHER_TYPES = ("device", "servicePrincipal", "group")
_OTHER_SHARE = 0.04


type MadeGroup = tuple[str, str, list[str]]
"""Properties without the closing brace, the owner's link or nothing, the members' links."""


def make_groups(
    scale: Scale, users: list[str], rng: random.Random, changes: ChangeMaker
) -> Iterator[MadeGroup]:
    """All groups, one after the other."""
    ids = [object_id(rng) for _ in range(scale.groups)]
    for number, (group_id, size) in enumerate(zip(ids, _sizes(scale, rng), strict=True)):
        properties = _properties(number, group_id, rng)
        owner = _link("user", rng.choice(users))
        links = [_member(member, ids, rng) for member in rng.sample(users, size)]
        changes.see_group(properties, links)
        yield properties, owner, links


def cut_groups(groups: Iterator[MadeGroup]) -> Iterator[list[str]]:
    """The objects of each page."""
    entries: list[str] = []
    room = LINKS_A_PAGE
    for properties, owner, links in groups:
        start = 0
        while owner or start < len(links):
            if room == 0 or len(entries) == GROUPS_A_PAGE:
                yield entries
                entries, room = [], LINKS_A_PAGE
            owners = f',"owners@delta":[{owner}]' if owner else ""
            room -= bool(owner)
            taken = links[start : start + room]
            members = f',"members@delta":[{",".join(taken)}]' if taken else ""
            entries.append(f"{properties}{owners}{members}}}")
            room -= len(taken)
            start += len(taken)
            owner = ""
    if entries:
        yield entries


def _sizes(scale: Scale, rng: random.Random) -> list[int]:
    """Members of each group; with one owner each, they add up to the memberships."""
    wanted = scale.memberships - scale.groups
    weights = [min(rng.paretovariate(0.9), 3_000.0) for _ in range(scale.groups)]
    total = sum(weights)
    sizes = [min(scale.users, int(weight / total * wanted)) for weight in weights]
    missing = wanted - sum(sizes)
    while missing > 0:
        number = rng.randrange(scale.groups)
        if sizes[number] < scale.users:
            sizes[number] += 1
            missing -= 1
    return sizes


def _member(user_id: str, groups: list[str], rng: random.Random) -> str:
    if rng.random() >= _OTHER_SHARE:
        return _link("user", user_id)
    kind = rng.choice(_OTHER_TYPES)
    return _link(kind, rng.choice(groups) if kind == "group" else object_id(rng))


def _link(kind: str, member_id: str) -> str:
    return f'{{"@odata.type":"#microsoft.graph.{kind}","id":"{member_id}"}}'


def _properties(number: int, group_id: str, rng: random.Random) -> str:
    name = f"{rng.choice(PROJECTS)} {rng.choice(PROJECT_KINDS)} {number}"
    place = rng.choice(COUNTRIES)
    created = f"20{rng.randrange(15, 26)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}T09:30:00Z"
    common = (
        f'{{"id":"{group_id}","displayName":"{name}",'
        f'"description":"{name}: who works on it in {place.city}","createdDateTime":"{created}",'
        f'"securityEnabled":true'
    )
    kind = rng.random()
    if kind < 0.4:
        return (
            f'{common},"mail":"{name.lower().replace(" ", "-")}@{DOMAIN}","mailEnabled":true,'
            '"groupTypes":["Unified"],"visibility":"Private"'
        )
    if kind < 0.5:
        return (
            f'{common},"mailEnabled":false,"groupTypes":["DynamicMembership"],'
            f'"membershipRule":"(user.city -eq \\"{place.city}\\")"'
        )
    if kind < 0.8:
        return (
            f'{common},"mailEnabled":false,"groupTypes":[],"onPremisesSyncEnabled":true,'
            f'"onPremisesSamAccountName":"GG-{number}","onPremisesDomainName":"corp.contoso.com",'
            f'"onPremisesSecurityIdentifier":"S-1-5-21-{rng.randrange(10**8, 4 * 10**9)}-1957994488-'
            f'725345543-{rng.randrange(1100, 999_999)}","onPremisesLastSyncDateTime":"2026-12-28T03:10:00Z"'
        )
    return f'{common},"mailEnabled":false,"groupTypes":[],"isAssignableToRole":false'
