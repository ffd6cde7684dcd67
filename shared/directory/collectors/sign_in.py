"""When users last signed in. Graph allows ten such requests a minute, so this is a dataset of its own."""

from typing import TYPE_CHECKING, Any

import msgspec

from shared.directory.collectors.interface import PagedCollector, SliceContext
from shared.directory.collectors.users import add_by_id, check_objects
from shared.directory.users import sign_in_record
from shared.errors import GraphRequestRejected
from shared.graph import queries
from shared.graph.client import Answer
from shared.graph.objects import UserSignIn
from shared.graph.paging import RAW_PAGE, Page, read_page
from shared.snapshots.state import Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

SMALL_PAGES = "small-pages"

_row = msgspec.json.Decoder(UserSignIn)


def _read(row: UserSignIn) -> object:
    return sign_in_record(row.sign_in_activity)


class SignInCollector(PagedCollector):
    dataset = "sign-in"
    permission = "AuditLog.Read.All"

    @staticmethod
    def streams(run: Run) -> dict[str, int]:
        return {"sign-in": run.buckets}

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
        page = read_page(body, RAW_PAGE, self.dataset, delta=False)
        check_objects(page, _row, _read, self.dataset)
        add_by_id(page, context.rows, "sign-in", self.dataset)
        return page
