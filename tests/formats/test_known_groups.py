"""A format that was told of its groups at once shows the same as one that looks each of them up."""

import msgspec
import pytest

from shared.clouds import CLOUDS
from shared.directory.records import User
from shared.formats import FORMATS, formats_named
from shared.formats.interface import GroupLabel, RenderContext

TENANT = "00000000-0000-4000-8000-000000000001"
LABELS = {
    f"{number:08}": GroupLabel(f"{number:08}", f'Group "{number}" é', None, number % 7 == 0 or None)
    for number in range(2_500)
}
UNKNOWN = "99999999"


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_groups_told_at_once_are_shown_as_if_looked_up(name: str) -> None:
    (looks_up,) = formats_named([name], RenderContext(TENANT, CLOUDS["public"], LABELS))
    (was_told,) = formats_named([name], RenderContext(TENANT, CLOUDS["public"], {}))
    was_told.know(LABELS.values())
    user = User(id="u", groups=[*LABELS, UNKNOWN], changed_at="2026-12-31T09:00:00Z")

    shown = msgspec.json.encode(was_told.render_user(user))

    assert shown == msgspec.json.encode(looks_up.render_user(user))
