"""What users can sign in with: the registration report, or, where it is refused, each user's own methods.

Graph advises against asking for every user's methods. So it is done for a budget of users a run, those of
whom nothing is known first, then those whose knowledge is oldest; the rest keep what is known of them.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from shared.directory.authentication import (
    AuthenticationRow,
    from_methods,
    methods_in_report_words,
    report_row,
)
from shared.directory.collectors.interface import PagedCollector, Progress, SliceContext
from shared.directory.collectors.rows import add_read
from shared.directory.records import User
from shared.directory.users import read_changes
from shared.errors import GraphRefused, GraphRequestRejected
from shared.graph import queries
from shared.graph.batch import get_many
from shared.graph.client import Answer
from shared.graph.objects import Method, RegistrationDetails
from shared.graph.paging import Page, page_decoder, read_page
from shared.snapshots.parts import open_part
from shared.snapshots.shuffle import Cut, read_rows
from shared.snapshots.state import Checkpoint, Run

if TYPE_CHECKING:
    from kiota_abstractions.request_information import RequestInformation

METHODS_BUDGET = 2_000
"""Users a run whose methods are read one by one: a hundred batches."""

METHODS_PERMISSION = "UserAuthenticationMethod.Read.All"
BY_USER = "methods"

_report = page_decoder(RegistrationDetails)
_methods = page_decoder(Method)
_records = msgspec.json.Decoder(User)
_encode = msgspec.json.Encoder().encode


class AuthenticationCollector(PagedCollector):
    dataset = "authentication"
    permission = "AuditLog.Read.All"
    looks_back = True

    @staticmethod
    def streams(run: Run) -> dict[str, Cut]:
        return {"authentication": run.cut}

    def waits_for(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """The users' own methods can be asked for once the users are known."""
        return ("users",) if checkpoint.mode == BY_USER else ()

    def first_request(self, context: SliceContext) -> "RequestInformation":
        return queries.registration_details(context.graph)

    async def first_answer(self, context: SliceContext) -> Answer:
        """In pages of 999, or of Graph's own size where it does not take ours."""
        try:
            return await super().first_answer(context)
        except GraphRequestRejected as rejected:
            if rejected.status != 400:
                raise
            return await self.send(queries.registration_details(context.graph, None), context)

    def take(self, body: bytes, context: SliceContext) -> Page[Any]:
        page = read_page(body, _report, self.dataset, delta=False)
        add_read(page, context.rows, "authentication", self.dataset, report_row)
        return page

    async def step(self, context: SliceContext) -> Progress:
        if context.checkpoint.mode == BY_USER:
            return await self._read_bucket(context)
        try:
            return await super().step(context)
        except GraphRefused as refused:
            if context.checkpoint.cursor is not None:
                raise
            # No licence or no permission for the report: ask for the users' methods instead.
            checkpoint = context.checkpoint
            checkpoint.mode = BY_USER
            checkpoint.reason, checkpoint.error = refused.reason, str(refused)
            checkpoint.cursor = "0"
            return Progress.PAUSES

    async def _read_bucket(self, context: SliceContext) -> Progress:
        """Read the methods of this bucket's share of users. The cursor is the bucket's number."""
        checkpoint, run = context.checkpoint, context.run
        bucket = int(checkpoint.cursor or 0)
        ids = await self._candidates(context, bucket)
        try:
            await self._read_methods(context, ids[: max(1, METHODS_BUDGET // run.cut.buckets)])
        except GraphRefused as refused:
            # The report is the better way; what it lacks comes first.
            raise GraphRefused(
                f"{checkpoint.error} The users' own methods are no way round it: {refused}",
                reason=checkpoint.reason or refused.reason,
            ) from None
        checkpoint.cursor = str(bucket + 1)
        checkpoint.pages += 1
        return Progress.ENDED if bucket + 1 >= run.cut.buckets else Progress.GOES_ON

    async def _candidates(self, context: SliceContext, bucket: int) -> list[str]:
        """The bucket's users: first those who are new or changed, then those whose knowledge is oldest."""
        assert context.users is not None
        rows = await read_rows(context.state, context.users.files, "users", context.run.cut, bucket)
        changed, removed = read_changes(rows.all())
        known_since: dict[str, str] = {}
        if context.previous_users:
            reader = await open_part(context.output, context.previous_users[bucket])
            for record in reader.all(_records):
                if record.authentication and record.authentication.source == "methods":
                    known_since[record.id] = record.authentication.as_of or ""
                elif context.run.kind == "incremental":
                    known_since[record.id] = ""
        users, first = set(changed), set()
        if context.run.kind == "incremental":
            users |= known_since.keys() - removed.keys()
            first = set(changed)
        return sorted(users, key=lambda one: (one not in first, known_since.get(one, ""), one))

    async def _read_methods(self, context: SliceContext, ids: list[str]) -> None:
        urls = {object_id: f"/users/{object_id}/authentication/methods" for object_id in ids}
        answers = await get_many(
            context.graph,
            urls,
            context.checkpoint.usage,
            subject="authentication methods",
            permission=METHODS_PERMISSION,
        )
        for object_id, body in answers.items():
            if isinstance(body, GraphRequestRejected):
                if body.status != 404:
                    raise body
                continue  # deleted since it was listed
            page = read_page(body, _methods, "authentication methods", delta=False)
            known = from_methods(methods_in_report_words(page.value), context.run.started_at)
            context.rows.add("authentication", object_id, _encode(AuthenticationRow(object_id, known)))
        context.checkpoint.rows += len(answers)
