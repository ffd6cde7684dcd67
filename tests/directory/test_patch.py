"""Single records that change: the bucket is what it would be if all of it were made anew."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.directory.building.output import Output
from shared.directory.building.patch import PatchedBucket
from shared.directory.records import User
from shared.snapshots.parts import StoredPart, open_part
from shared.snapshots.shuffle import Cut
from tests.snapshots.memory import MemoryContainer

cuts = st.sampled_from((Cut(1, 1), Cut(1, 4), Cut(1, 64)))
ids = st.one_of(
    st.uuids().map(str),
    st.text("0123456789abcdef", min_size=1, max_size=5),
    st.text('\x00"\\/9:Aaf~é\U0001f600', min_size=1, max_size=5),
)
names = st.sampled_from((None, "Ada", "Bo", 'E"\\ve', '{"id":"a"}'))
companies = st.dictionaries(ids, names, max_size=30)
decoder = msgspec.json.Decoder(User)


class Badge(msgspec.Struct):
    """A rendering, which begins with something else than the id."""

    name: str
    bearer: str


def badge(user: User) -> Badge:
    return Badge(user.display_name or "", user.id)


RENDERINGS = {"badges": badge}


async def made(
    container: MemoryContainer, cut: Cut, users: dict[str, str | None]
) -> dict[str, StoredPart | None]:
    output = Output("users", dict(RENDERINGS))
    for number in range(cut.segments):
        output.add([User(one, users[one]) for one in sorted(users) if cut.segment_of(one) == number])
    return await output.store(container, None)


@settings(deadline=None)
@given(cuts, companies, companies, st.sets(ids, max_size=5))
async def test_changed_bucket_is_the_bucket_made_anew(
    cut: Cut, before: dict[str, str | None], others: dict[str, str | None], strangers: set[str]
) -> None:
    """Records that stay, change, come and go; some are put again as they are, some go that never were."""
    gone = set(sorted(before)[::3]) - others.keys()
    now = {one: name for one, name in {**before, **others}.items() if one not in gone}
    container = MemoryContainer()
    parts = await made(container, cut, before)
    users = PatchedBucket(
        "users",
        await open_part(container, parts["users"]),
        {name: (parts[name], render) for name, render in RENDERINGS.items()},
        decoder,
        cut,
        0,
    )
    for one in {*now, *before, *strangers}:
        assert (one in users) == (one in before)
        found = users.segment(users.number_of(one)).records([one])
        assert found == ({one: User(one, before[one])} if one in before else {})
    for number in range(cut.segments):
        here = {one for one in {*others, *gone, *strangers} if users.number_of(one) == number}
        users.segment(number)
        users.change(
            number,
            {one: User(one, others[one]) for one in here & others.keys()},
            here - others.keys() - (before.keys() - gone),
        )
    assert await users.store(container) == await made(container, cut, now)


async def test_bucket_that_nobody_changed_is_not_written() -> None:
    container, cut = MemoryContainer(), Cut(1, 4)
    parts = await made(container, cut, {"a": "Ada", "b": "Bo"})
    before = await open_part(container, parts["users"])
    # Its rendering is not even read.
    container.blobs.clear()
    users = PatchedBucket("users", before, {"badges": (parts["badges"], badge)}, decoder, cut, 0)
    users.segment(2)
    users.change(2, {}, ())
    assert await users.store(container) == parts
    assert container.blobs == {}
