"""The ids of soft-deleted users, so that a full run can say why a user is gone. Not published by itself."""

from typing import TYPE_CHECKING, Any

from shared.directory.collectors.interface import PagedCollector, SliceContext
from shared.directory.collectors.rows import add_raw
from shared.graph import queries
from shared.graph.paging import RAW_PAGE, Page, read_page
from shared.snapshots.shuffle import Cut
from shared.snapshots.state import Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation


class DeletedUsersCollector(PagedCollector):
    dataset = "deleted-users"
    permission = "User.Read.All"

    @staticmethod
    def streams(run: Run) -> dict[str, Cut]:
        return {"deleted": run.cut}

    def first_request(self, context: SliceContext) -> "RequestInformation":
        return queries.deleted_users(context.graph)

    def take(self, body: bytes, context: SliceContext) -> Page[Any]:
        page = read_page(body, RAW_PAGE, self.dataset, delta=False)
        add_raw(page, context.rows, "deleted", self.dataset)
        return page
