"""Users, with their managers, through `users/delta`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from shared.directory.collectors.interface import PagedCollector, SliceContext
from shared.errors import GraphRefused, InvalidPage
from shared.graph import queries
from shared.graph.client import Answer
from shared.graph.objects import ObjectId
from shared.graph.paging import RAW_PAGE, Page, read_page
from shared.snapshots.shuffle import RowWriter, bucket_of
from shared.snapshots.state import Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

_object_id = msgspec.json.Decoder(ObjectId)


class UsersCollector(PagedCollector):
    dataset = "users"
    permission = "User.Read.All"
    required = True
    delta = True

    @staticmethod
    def streams(run: Run) -> dict[str, int]:
        return {"users": run.buckets}

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
        add_by_id(page, context.rows, "users", self.dataset)
        return page


def add_by_id(page: Page[msgspec.Raw], rows: RowWriter, stream: str, subject: str) -> None:
    """Set each object of a page aside as it is, in the bucket of its id."""
    buckets = rows.stream(stream)
    count = len(buckets)
    size = 0
    for raw in page.value:
        object_id = read_object_id(raw, subject)
        buckets[bucket_of(object_id, count)].append(raw)
        size += len(memoryview(raw))
    rows.grow(size)


def check_objects[T](
    page: Page[msgspec.Raw], decoder: msgspec.json.Decoder[T], read: Callable[[T], object], subject: str
) -> None:
    """Read each object as the build will read it. For an optional dataset, which may be bad but must not
    stop a run: the build could no longer do without it."""
    for raw in page.value:
        try:
            read(decoder.decode(raw))
        except (ValueError, OverflowError) as error:
            said = f"{error}" if isinstance(error, msgspec.ValidationError) else "a value is not of its form"
            raise InvalidPage(f"{subject}: Graph sent an object that cannot be read: {said}.") from None


def read_object_id(raw: msgspec.Raw, subject: str) -> str:
    try:
        return _object_id.decode(raw).id
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidPage(f"{subject}: Graph sent an object that has no usable id: {error}.") from None
