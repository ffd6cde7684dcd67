"""Groups with their members and owners, through `groups/delta`.

The same group may come on any number of pages, each time with another slice of its edges. Groups go to the
bucket of their id, edges to the bucket of the member.
"""

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from shared.directory.collectors.interface import PagedCollector, SliceContext
from shared.directory.memberships import encode_edges
from shared.directory.records import Relation
from shared.graph import queries
from shared.graph.objects import Group
from shared.graph.paging import Page, page_decoder, read_page
from shared.snapshots.shuffle import Cut, position_of
from shared.snapshots.state import Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

_page = page_decoder(Group)
_encode = msgspec.json.Encoder().encode


class GroupsCollector(PagedCollector):
    dataset = "groups"
    permission = "GroupMember.Read.All"
    required = True
    delta = True

    def __init__(self) -> None:
        self._counted: set[str] = set()

    @staticmethod
    def streams(run: Run) -> dict[str, Cut]:
        return {"groups": run.group_cut, "edges": run.cut}

    def first_request(self, context: SliceContext) -> "RequestInformation":
        return queries.groups_delta(context.graph)

    def count(self, page: Page[Any]) -> int:
        """A group whose edges go on over the next pages is counted once, as long as one slice reads them."""
        listed = {group.id for group in page.value}
        new = listed - self._counted
        self._counted = listed
        return len(new)

    def take(self, body: bytes, context: SliceContext) -> Page[Any]:
        page: Page[Group] = read_page(body, _page, self.dataset, delta=self.delta)
        group_shift, groups = context.rows.stream("groups")
        edge_shift, edges = context.rows.stream("edges")
        incremental = context.run.kind == "incremental"
        count = size = 0
        for group in page.value:
            sides: tuple[tuple[Relation, Any], ...] = (("member", group.members), ("owner", group.owners))
            for relation, references in sides:
                if not references:
                    continue
                for member_id, edge in encode_edges(group.id, relation, references):
                    edges[position_of(member_id) >> edge_shift].append(edge)
                    count += 1
                    size += len(edge)
            # Of the edges, only that there are some: whether a group that is back was told as a whole.
            told = incremental and any(
                reference.removed is None for _, references in sides for reference in references or ()
            )
            group.members = [] if told else UNSET
            group.owners = UNSET
            row = _encode(group)
            groups[position_of(group.id) >> group_shift].append(row)
            size += len(row)
        context.rows.grow(count + len(page.value), size)
        return page
