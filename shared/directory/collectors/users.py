"""Users, with their managers, through `users/delta`."""

from typing import TYPE_CHECKING, Any

from shared.directory.collectors.interface import PagedCollector, SliceContext
from shared.directory.collectors.rows import add_raw
from shared.errors import GraphRefused
from shared.graph import queries
from shared.graph.client import Answer
from shared.graph.paging import RAW_PAGE, Page, read_page
from shared.snapshots.shuffle import Cut
from shared.snapshots.state import Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation


class UsersCollector(PagedCollector):
    dataset = "users"
    permission = "User.Read.All"
    required = True
    delta = True

    @staticmethod
    def streams(run: Run) -> dict[str, Cut]:
        return {"users": run.cut}

    def first_request(self, context: SliceContext) -> "RequestInformation":
        return queries.users_delta(context.graph, with_leave_date=context.checkpoint.mode != "no-leave-date")

    async def first_answer(self, context: SliceContext) -> Answer:
        """With `employeeLeaveDateTime` where User-LifeCycleInfo.Read.All is granted, else without it."""
        try:
            return await super().first_answer(context)
        except GraphRefused as refused:
            if refused.reason != "permission" or context.checkpoint.mode:
                raise
            context.checkpoint.mode = "no-leave-date"
            return await super().first_answer(context)

    def take(self, body: bytes, context: SliceContext) -> Page[Any]:
        page = read_page(body, RAW_PAGE, self.dataset, delta=self.delta)
        add_raw(page, context.rows, "users", self.dataset)
        return page
