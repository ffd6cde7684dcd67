"""What the deltas would have told: the ids that changed since the last run, read by a full run.

A full run reads everything anew, so it can say what the deltas had missed: objects and edges that differ from
the last snapshot although no delta names them. That number is the drift. These datasets are read last, so
that what changes during the run is not taken for drift, and they are not published.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from shared.directory.collectors.interface import PagedCollector, SliceContext
from shared.graph.objects import Group, ObjectId
from shared.graph.paging import Page, page_decoder, read_page
from shared.snapshots.shuffle import Cut, position_of
from shared.snapshots.state import Checkpoint, Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

_ids = page_decoder(ObjectId)
_groups = page_decoder(Group)
_encode = msgspec.json.Encoder().encode


class _ReportedCollector(PagedCollector):
    def waits_for(self, checkpoint: Checkpoint) -> tuple[str, ...]:  # noqa: ARG002 - the same for all
        return ("users", "groups")

    def first_request(self, context: SliceContext) -> "RequestInformation":
        raise NotImplementedError("it begins with the delta link of the last run")


class ReportedUsersCollector(_ReportedCollector):
    dataset = "users-reported"
    permission = "User.Read.All"

    @staticmethod
    def streams(run: Run) -> dict[str, Cut]:
        return {"reported": run.cut}

    def take(self, body: bytes, context: SliceContext) -> Page[Any]:
        page: Page[ObjectId] = read_page(body, _ids, self.dataset, delta=True)
        for user in page.value:
            context.rows.add("reported", user.id, _encode(user.id))
        return page


class ReportedGroupsCollector(_ReportedCollector):
    dataset = "groups-reported"
    permission = "GroupMember.Read.All"

    @staticmethod
    def streams(run: Run) -> dict[str, Cut]:
        return {"reported": run.group_cut, "reported-edges": run.cut}

    def take(self, body: bytes, context: SliceContext) -> Page[Any]:
        page: Page[Group] = read_page(body, _groups, self.dataset, delta=True)
        shift, segments = context.rows.stream("reported-edges")
        for group in page.value:
            context.rows.add("reported", group.id, _encode(group.id))
            for relation, references in (("member", group.members), ("owner", group.owners)):
                for reference in references or ():
                    row = _encode(f"{group.id}|{relation}|{reference.id}")
                    segments[position_of(reference.id) >> shift].append(row)
                    context.rows.grow(1, len(row))
        return page
