"""When users last signed in. Graph allows ten such requests a minute, so this is a dataset of its own."""

from typing import TYPE_CHECKING, Any

from shared.directory.collectors.interface import PagedCollector, SliceContext
from shared.directory.collectors.rows import add_read
from shared.directory.users import sign_in_row
from shared.errors import GraphRequestRejected
from shared.graph import queries
from shared.graph.client import Answer
from shared.graph.objects import UserSignIn
from shared.graph.paging import Page, page_decoder, read_page
from shared.snapshots.shuffle import Cut
from shared.snapshots.state import Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

SMALL_PAGES = "small-pages"

_page = page_decoder(UserSignIn)


class SignInCollector(PagedCollector):
    dataset = "sign-in"
    permission = "AuditLog.Read.All"

    @staticmethod
    def streams(run: Run) -> dict[str, Cut]:
        return {"sign-in": run.cut}

    def first_request(self, context: SliceContext) -> "RequestInformation":
        small = context.checkpoint.mode == SMALL_PAGES
        size = queries.SIGN_IN_PAGE_FALLBACK if small else queries.SIGN_IN_PAGE
        return queries.sign_in_activity(context.graph, size)

    async def first_answer(self, context: SliceContext) -> Answer:
        """500 users a page; where the tenant still has the older limit, 120."""
        try:
            return await super().first_answer(context)
        except GraphRequestRejected as rejected:
            if rejected.status != 400 or context.checkpoint.mode:
                raise
            context.checkpoint.mode = SMALL_PAGES
            return await super().first_answer(context)

    def take(self, body: bytes, context: SliceContext) -> Page[Any]:
        page = read_page(body, _page, self.dataset, delta=False)
        add_read(page, context.rows, "sign-in", self.dataset, sign_in_row)
        return page
