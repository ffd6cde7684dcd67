"""Users, with their managers.

A full run lists them, 999 a page, which takes a fifth of the requests of a delta. So that nothing is lost
that changes meanwhile, it first asks for a delta link that begins now, and reads from there once the list has
ended. An incremental run reads from the link of the last one.
"""

from typing import TYPE_CHECKING, Any

from shared.directory.collectors.interface import PagedCollector, Progress, SliceContext
from shared.directory.collectors.rows import add_raw
from shared.errors import GraphRefused, InvalidPage
from shared.graph import queries
from shared.graph.paging import RAW_PAGE, Page, read_page
from shared.snapshots.shuffle import Cut
from shared.snapshots.state import Checkpoint, Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

NO_LEAVE_DATE = "no-leave-date"


class UsersCollector(PagedCollector):
    dataset = "users"
    permission = "User.Read.All"
    required = True

    @staticmethod
    def streams(run: Run) -> dict[str, Cut]:
        return {"users": run.cut}

    async def step(self, context: SliceContext) -> Progress:
        checkpoint = context.checkpoint
        if checkpoint.begin is None and checkpoint.minted is None:
            await self._mint(context)
        listing = _is_listing(checkpoint)
        progress = await super().step(context)
        if listing and progress is Progress.ENDED and checkpoint.minted:
            # The list is at its end; now what changed while it was read.
            checkpoint.cursor = checkpoint.minted
            return Progress.GOES_ON
        return progress

    async def _mint(self, context: SliceContext) -> None:
        """Ask for the delta link first: what changes from here on is told by it."""
        with_leave_date = True
        try:
            answer = await self.send(queries.users_delta_latest(context.graph, with_leave_date=True), context)
        except GraphRefused as refused:
            # With `employeeLeaveDateTime` only where User-LifeCycleInfo.Read.All is granted.
            if refused.reason != "permission":
                raise
            with_leave_date = False
            request = queries.users_delta_latest(context.graph, with_leave_date=False)
            answer = await self.send(request, context)
        page = read_page(answer.body, RAW_PAGE, self.dataset, delta=True)
        if page.delta_link is None:
            raise InvalidPage("users: Graph was asked for the latest delta link and sent a page instead.")
        context.checkpoint.minted = context.graph.own_link(page.delta_link, self.dataset)
        context.checkpoint.mode = "" if with_leave_date else NO_LEAVE_DATE

    def first_request(self, context: SliceContext) -> "RequestInformation":
        return queries.users_list(context.graph, with_leave_date=context.checkpoint.mode != NO_LEAVE_DATE)

    def take(self, body: bytes, context: SliceContext) -> Page[Any]:
        page = read_page(body, RAW_PAGE, self.dataset, delta=not _is_listing(context.checkpoint))
        add_raw(page, context.rows, "users", self.dataset)
        return page


def _is_listing(checkpoint: Checkpoint) -> bool:
    """Whether the next page is one of the list. The links of a delta are told by where they lead."""
    return checkpoint.begin is None and "/delta" not in (checkpoint.cursor or "").partition("?")[0]
