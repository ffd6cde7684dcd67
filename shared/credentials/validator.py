"""The verdict on each credential of a request, in the order that spends the least.

    user in Graph ─▶ what needs no attempt ─▶ memory and budgets, charged ─▶ one sign-in ─▶ settled, audited

Attempts are made one after the other, and of each user at most one password before the next user has a turn.
"""

import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared import events
from shared.config import Settings
from shared.credentials import prechecks
from shared.credentials.audit import AuditEntry, AuditLog
from shared.credentials.budgets import Denied, Limits, Ticket, fingerprint
from shared.credentials.candidates import Candidate
from shared.credentials.ledger import Ledger
from shared.credentials.users import DirectoryUser, DirectoryUsers
from shared.credentials.verdicts import Verdict
from shared.directory.values import rfc3339
from shared.errors import GraphThrottled, GraphUnreachable, ValidationAppRefused
from shared.webhooks.interface import Caller

if TYPE_CHECKING:
    from shared.credentials.probe import SignIn, SignInProbe

log = logging.getLogger(__name__)

LAST_ATTEMPT_AFTER_SECONDS = 150.0
"""No attempt begins later than this: the platform cuts an answer off at 230 seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The verdict on one credential, and the user that it is about."""

    candidate_id: str
    verdict: Verdict
    user: DirectoryUser | None
    checked_at: str
    trace_id: str | None = None
    correlation_id: str | None = None


@dataclass(slots=True)
class _Case:
    """One credential on its way to a verdict."""

    candidate: Candidate
    user: DirectoryUser | None = None
    result: Result | None = None


@dataclass(slots=True)
class Validator:
    """Validates for one tenant. Everything that it works with is injected."""

    settings: Settings
    users: DirectoryUsers
    ledger: Ledger
    audit: AuditLog
    probe: Callable[[], Awaitable["SignInProbe"]]
    """Made when first needed: most requests end before a sign-in."""
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic

    async def validate(self, candidates: Iterable[Candidate], caller: Caller, key: bytes) -> list[Result]:
        """One result a candidate, in their order. `key` is what fingerprints of passwords are made with.

        What was decided before an error is raised is audited. Raises `ValidationAppRefused` and other
        errors that are the operator's to mend; Graph out of reach is a verdict, `unknown`.
        """
        begun = self.clock()
        cases = [_Case(candidate) for candidate in candidates]
        try:
            try:
                await self._look_up(cases)
            except (GraphThrottled, GraphUnreachable) as error:
                log.warning("users cannot be looked up: %s", error)
                for case in cases:
                    if case.result is None:
                        self._decide(case, _directory_away(error))
            for case in _in_turns(case for case in cases if case.result is None):
                await self._try(case, key, begun)
            if any(case.result is not None and case.result.verdict.attempt_made for case in cases):
                self._tell_budgets()
        finally:
            await self._record(cases, caller, key)
        return [case.result for case in cases if case.result is not None]

    async def _look_up(self, cases: list[_Case]) -> None:
        """Decide what needs no attempt."""
        found = await self.users.find(case.candidate.username for case in cases)
        open_cases = []
        for case in cases:
            match = found[case.candidate.username]
            if isinstance(match, DirectoryUser):
                case.user = match
                open_cases.append(case)
            else:
                self._decide(case, prechecks.of_absent(match))
        if not open_cases:
            return
        federated = await self.users.federated_domains()
        for case in open_cases:
            assert case.user is not None
            if verdict := prechecks.of_user(case.user, case.candidate, federated):
                self._decide(case, verdict)
        await self._exclude([case for case in open_cases if case.result is None])
        if any(case.result is None for case in open_cases):
            self.ledger.limits = Limits.from_settings(self.settings, await self.users.lockout_threshold())

    async def _exclude(self, cases: list[_Case]) -> None:
        group = self.settings.validation_excluded_group
        if group is None or not cases:
            return
        members = await self.users.members_of(group, {case.user.id for case in cases if case.user})
        for case in cases:
            if case.user is not None and case.user.id in members:
                self._decide(case, prechecks.EXCLUDED)

    async def _try(self, case: _Case, key: bytes, begun: float) -> None:
        """Answer from memory, or by one attempt within the budgets."""
        user = case.user
        assert user is not None
        mark = fingerprint(key, self.settings.tenant_id, user.id, case.candidate.password.reveal())
        changed = user.last_password_change_date_time
        changed_at = None if changed is None else changed.isoformat()
        # Without a turn in the ledger: what is known waits for nobody's attempt.
        if known := await self.ledger.recall(user.id, mark, changed_at):
            self._decide(case, known)
            return
        if not self.settings.validation_enabled:
            self._decide(case, prechecks.SWITCHED_OFF)
            return
        if self.clock() - begun > LAST_ATTEMPT_AFTER_SECONDS:
            self._decide(case, _OUT_OF_TIME)
            return
        # What the operator has to mend comes before the charge.
        probe = await self.probe()
        await probe.ready()
        charged = await self.ledger.charge(user.id, mark, changed_at)
        if isinstance(charged, Verdict):
            self._decide(case, charged)
        elif isinstance(charged, Denied):
            self._decide(case, _throttled(charged))
        else:
            sign_in = await self._sign_in(probe, case, user, charged)
            self._decide(case, sign_in.verdict, sign_in.trace_id, sign_in.correlation_id)
            stopped = await self.ledger.settle(
                charged,
                sign_in.outcome,
                verdict=sign_in.verdict,
                retry_after_seconds=sign_in.retry_after,
            )
            if stopped:
                events.ValidationStopped(
                    seconds=round(self.ledger.limits.lockout_pause),
                    sentence="Several users in a row were reported as locked. The app's address may be "
                    "blocked for malicious activity: look at the sign-in logs.",
                ).emit()

    async def _sign_in(
        self, probe: "SignInProbe", case: _Case, user: DirectoryUser, ticket: Ticket
    ) -> "SignIn":
        try:
            return await probe.attempt(
                user.user_principal_name,
                case.candidate.password,
                synchronized=bool(user.on_premises_sync_enabled),
            )
        except ValidationAppRefused:
            # Entra looked at the app and not at the user, so nothing was spent.
            await self.ledger.settle(ticket, "refunded")
            raise

    def _tell_budgets(self) -> None:
        spent = self.ledger.spent()
        if spent is None:
            return  # another call has just stored something, and tells
        events.BudgetsSpent(
            attempts=spent.attempts,
            attempts_limit=self.ledger.limits.per_day,
            suspects=spent.suspects,
            suspects_limit=self.ledger.limits.failing_users,
        ).emit()

    def _decide(
        self,
        case: _Case,
        verdict: Verdict,
        trace_id: str | None = None,
        correlation_id: str | None = None,
    ) -> None:
        case.result = Result(
            candidate_id=case.candidate.id,
            verdict=verdict,
            user=case.user,
            checked_at=rfc3339(datetime.fromtimestamp(self.now(), UTC)),
            trace_id=trace_id,
            correlation_id=correlation_id,
        )

    async def _record(self, cases: list[_Case], caller: Caller, key: bytes) -> None:
        """Audit what was decided, and count it in the log."""
        results = [case.result for case in cases if case.result is not None]
        if not results:
            return
        for result in results:
            events.CredentialValidated(
                status=result.verdict.status,
                account_state=result.verdict.account_state,
                attempt_made=result.verdict.attempt_made,
                evidence=list(result.verdict.evidence),
                user_id=result.user.id if result.user else None,
            ).emit()
        call = None if caller.call_id is None else hmac.digest(key, caller.call_id.encode(), "sha256").hex()
        await self.audit.append([_entry(result, caller, call) for result in results])


_OUT_OF_TIME = Verdict(
    status="unknown",
    account_state="out_of_time",
    confidence="low",
    evidence=("no time left for an attempt",),
    detail="The request took too long to try this password as well. Send it again.",
    retry_after_seconds=60,
)


def _directory_away(error: GraphThrottled | GraphUnreachable) -> Verdict:
    return Verdict(
        status="unknown",
        account_state="directory_unavailable",
        confidence="low",
        evidence=("Graph throttles" if isinstance(error, GraphThrottled) else "Graph did not answer",),
        detail="The directory could not be asked, so nothing was tried. Send it again later.",
        retry_after_seconds=max(60, int(error.retry_after)) if isinstance(error, GraphThrottled) else 60,
    )


def _throttled(denied: Denied) -> Verdict:
    return Verdict(
        status="throttled",
        account_state=None,
        confidence="high",
        evidence=(f"budget {denied.budget}",),
        detail=denied.detail,
        retry_after_seconds=denied.retry_after_seconds,
    )


def _in_turns(cases: Iterable[_Case]) -> list[_Case]:
    """The first credential of each user before anybody's second: no user takes the others' share."""
    turns: dict[str, int] = {}
    numbered = []
    for case in cases:
        assert case.user is not None
        turn = turns[case.user.id] = turns.get(case.user.id, 0) + 1
        numbered.append((turn, case))
    return [case for _, case in sorted(numbered, key=lambda one: one[0])]


def _entry(result: Result, caller: Caller, call: str | None) -> AuditEntry:
    verdict = result.verdict
    return AuditEntry(
        at=result.checked_at,
        caller=caller.name,
        call=call,
        credential=result.candidate_id,
        user=result.user.id if result.user else None,
        status=verdict.status,
        account_state=verdict.account_state,
        attempt_made=verdict.attempt_made,
        evidence=verdict.evidence,
        trace_id=result.trace_id,
        correlation_id=result.correlation_id,
    )
