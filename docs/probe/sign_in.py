"""What only a real sign-in service can tell: how it answers for one test user whose password is known.

At most one wrong password and two right ones go to that user, and none to anybody else. The attempts are
those of `shared/credentials/probe.py`, as the app makes them. Neither the name nor the password is shown.
"""

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from docs.probe.findings import Finding, Findings, Seen, Verdict, no_answer, whether
from docs.probe.requests import Requests, tried
from shared.config import Settings
from shared.connection.commands import Commands
from shared.connection.run import run_checks
from shared.connection.validation_app import ValidationAppCheck
from shared.credentials import prechecks
from shared.credentials.candidates import Candidate, Password
from shared.credentials.probe import TIMEOUT_SECONDS, SignIn, SignInProbe
from shared.credentials.users import DirectoryUser, DirectoryUsers
from shared.credentials.verdicts import Verdict as Answer
from shared.errors import GraphError, ValidationAppRefused
from shared.graph.paging import UNREADABLE

SPACING_SECONDS = 60.0
DIRECTORY_ROLE = "#microsoft.graph.directoryRole"
RIGHT, WRONG, AGAIN, NOBODY = (
    "the right password",
    "a wrong password",
    "the right one again",
    "a name of nobody",
)

PLAN = f"""\
Four sign-ins of the validation app, {SPACING_SECONDS:.0f} seconds apart:
  1. the test user, with the password that was given
  2. the test user, with a wrong password, made up now; Entra counts this one failure
  3. the test user, with the password that was given
  4. a name that nobody has, made up now in the user's domain, with a made-up password
They end where the first one says that the password is wrong, and wherever Entra locks, throttles or does
not answer. The third is left out where the first does not prove the password.
All of them are in the sign-in logs. What the app keeps of a user is neither read nor written."""

_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


class NotTried(Exception):
    """The account is none to try passwords of, or the probe cannot be sure of it."""


@dataclass(frozen=True, slots=True)
class TestUser:
    """Whom the operator gave."""

    name: str = field(repr=False)
    password: Password


@dataclass(frozen=True, slots=True)
class Account:
    """What Graph says of the test user."""

    user: DirectoryUser
    unasked: Answer | None
    """What the app answers without an attempt; None where only an attempt can tell."""
    roles_are_known: bool
    """Graph told that the user holds no directory role; False where it told nothing."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in and how long it took."""

    sign_in: SignIn
    milliseconds: int

    @property
    def evidence(self) -> tuple[str, ...]:
        return self.sign_in.verdict.evidence

    @property
    def is_from_entra(self) -> bool:
        return self.evidence[0].startswith("AADSTS") or self.evidence == ("HTTP 200",)

    @property
    def text(self) -> str:
        verdict = self.sign_in.verdict
        told = f"{verdict.status}, {verdict.account_state or 'no state'}, {verdict.confidence}"
        ids = "".join(
            f"; {name} {value}"
            for name, value in (
                ("trace", self.sign_in.trace_id),
                ("correlation", self.sign_in.correlation_id),
            )
            if value and _ID.fullmatch(value)
        )
        return f"{' '.join(self.evidence)}; the app answers {told}; {self.milliseconds} ms{ids}"


class _Registration(msgspec.Struct):
    is_admin: bool | None = msgspec.field(name="isAdmin", default=None)


# --- what an answer says ----------------------------------------------------------------------------


def after_right(attempt: Attempt, *, enabled: bool) -> Verdict:
    if attempt.sign_in.outcome == "failed" or not attempt.is_from_entra:
        return Verdict.NOT_TRIED
    if not enabled:
        return whether(attempt.evidence == ("AADSTS50057",))
    return whether(attempt.sign_in.verdict.status == "valid" and attempt.evidence != ("HTTP 200",))


def after(code: int, attempt: Attempt) -> Verdict:
    return whether(attempt.evidence == (f"AADSTS{code}",)) if attempt.is_from_entra else Verdict.NOT_TRIED


def as_before(right: Attempt, again: Attempt) -> Verdict:
    return whether(again.evidence == right.evidence) if again.is_from_entra else Verdict.NOT_TRIED


def told_apart(right: Attempt, wrong: Attempt) -> Seen:
    """Whether the app makes as much of the two answers as there is in them, and no more."""
    text = f"{' '.join(right.evidence)} and {' '.join(wrong.evidence)}"
    status = right.sign_in.verdict.status
    if not wrong.is_from_entra:
        return Seen(text, Verdict.NOT_TRIED)
    if wrong.sign_in.verdict.status == "valid":
        return Seen(f"{text}: the app calls a wrong password valid", Verdict.DIFFERS)
    if right.evidence == wrong.evidence:
        return Seen(f"{text}: they tell nothing of the password", whether(status != "valid"))
    if status == "valid":
        return Seen(text, Verdict.AS_EXPECTED)
    return Seen(f"{text}: Entra tells more than the app reads", Verdict.DIFFERS)


# --- what is asked ----------------------------------------------------------------------------------


@dataclass(slots=True)
class SignInQuestions:
    """Looks at the account, then tries; `sleep` is what waits between two attempts."""

    settings: Settings
    requests: Requests
    probe: SignInProbe
    findings: Findings
    sleep: Callable[[float], Awaitable[Any]]
    clock: Callable[[], float] = time.perf_counter

    async def look_at(self, test_user: TestUser) -> Account:
        """Raises `NotTried` for an account that is no plain test user."""
        if not self.settings.validation_enabled:
            raise NotTried("VALIDATION_ENABLED is false: no password is tried.")
        users = DirectoryUsers(self.requests.client)
        try:
            user = await self._user(users, test_user.name)
            federated = await users.federated_domains()
            group = self.settings.validation_excluded_group
            excluded = bool(group and await users.members_of(group, [user.id]))
            holds_role = await self._holds_role(user.id)
        except GraphError as error:
            raise NotTried(f"Graph does not tell enough about the user: {no_answer(error).text}.") from None
        candidate = Candidate(
            id="probe", username=test_user.name, password=test_user.password, first_seen_at=None
        )
        unasked = prechecks.of_user(user, candidate, federated)
        if excluded:
            raise NotTried("The user is in VALIDATION_EXCLUDED_GROUP.")
        if holds_role:
            raise NotTried("The user holds a directory role. Take a test user without one.")
        if user.on_premises_sync_enabled:
            raise NotTried("The user is synchronised from on premises. Take a user of the cloud alone.")
        if unasked and unasked.status == "unsupported":
            raise NotTried(f"The app does not try it either. {unasked.detail}")
        return Account(user, unasked, roles_are_known=holds_role is not None)

    async def self_test(self) -> None:
        """The validation app signs in as itself. Raises `NotTried` when that is refused."""
        if self.settings.key_vault_url is None:
            raise NotTried("KEY_VAULT_URL is missing: the validation app's secret is in the vault.")
        check = ValidationAppCheck(probe=self._the_probe, commands=Commands(self.settings))
        [row] = await run_checks([check], TIMEOUT_SECONDS)
        seen = Seen(row.detail, Verdict.AS_EXPECTED if row.status == "ok" else Verdict.REFUSED)
        self.findings.note("sign-in: the validation app as itself", "Entra accepts it", seen)
        if row.status != "ok":
            raise NotTried(f"The validation app cannot sign in. {row.fix}")

    async def try_passwords(self, account: Account, password: Password) -> None:
        name, enabled = account.user.user_principal_name, account.user.account_enabled is not False
        try:
            right = await self._attempt(name, password)
            expected = "AADSTS50105, or what else follows a right password" if enabled else "AADSTS50057"
            self._note(RIGHT, expected, right, after_right(right, enabled=enabled))
            if not _may_go_on(right):
                return
            await self.sleep(SPACING_SECONDS)
            wrong = await self._attempt(name, _made_up())
            self._note(WRONG, "AADSTS50126", wrong, after(50126, wrong))
            seen = told_apart(right, wrong)
            self.findings.note("sign-in: right and wrong told apart", "as the app reads them", seen)
            if not _may_go_on(wrong, failed=True):
                return
            # Only where it is sure that this is no second failure.
            if right.sign_in.verdict.status == "valid":
                await self.sleep(SPACING_SECONDS)
                again = await self._attempt(name, password)
                self._note(AGAIN, "as before the wrong one", again, as_before(right, again))
                if not _may_go_on(again):
                    return
            await self._try_nobody(account.user.domain)
        except ValidationAppRefused as refused:
            seen = Seen(f"AADSTS{refused.code}: the app is refused", Verdict.REFUSED)
            self.findings.note("sign-in: the validation app", "is not refused", seen)

    async def _try_nobody(self, domain: str) -> None:
        name = f"probe-{secrets.token_hex(8)}@{domain}"
        matches = await tried(DirectoryUsers(self.requests.client).find([name]))
        if isinstance(matches, GraphError) or matches[name] != "not_found":
            return
        await self.sleep(SPACING_SECONDS)
        nobody = await self._attempt(name, _made_up())
        self._note(NOBODY, "AADSTS50034", nobody, after(50034, nobody))

    async def _user(self, users: DirectoryUsers, name: str) -> DirectoryUser:
        user = (await users.find([name]))[name]
        if not isinstance(user, DirectoryUser):
            raise NotTried(f"No single user of the tenant has this name ({user}).")
        if user.user_principal_name.lower() != name.lower():
            raise NotTried("The name is another address of a user. Give the user principal name.")
        return user

    async def _holds_role(self, user_id: str) -> bool | None:
        """Whether Graph knows of a directory role; None where it does not tell."""
        path = f"users/{user_id}/transitiveMemberOf?$select=id&$top=999"
        memberships = await tried(self.requests.page("memberships", "User.Read.All", self.requests.get(path)))
        path = f"reports/authenticationMethods/userRegistrationDetails/{user_id}"
        report = await tried(
            self.requests.answer("registration", "AuditLog.Read.All", self.requests.get(path))
        )
        told: list[bool] = []
        if not isinstance(memberships, GraphError):
            role = any(each.get("@odata.type") == DIRECTORY_ROLE for each in memberships.value)
            # More groups than fit on a page may hide a role.
            told += [True] if role else [] if memberships.next_link else [False]
        if not isinstance(report, GraphError):
            admin = _is_admin(report.body)
            told += [] if admin is None else [admin]
        return any(told) if told else None

    async def _the_probe(self) -> SignInProbe:
        return self.probe

    async def _attempt(self, name: str, password: Password) -> Attempt:
        begun = self.clock()
        sign_in = await self.probe.attempt(name, password, synchronized=False)
        return Attempt(sign_in, round((self.clock() - begun) * 1000))

    def _note(self, what: str, expected: str, attempt: Attempt, verdict: Verdict) -> None:
        # Not by `note`: the ids of the request are what somebody looks for in the sign-in logs.
        self.findings.append(Finding(f"sign-in: {what}", expected, attempt.text, verdict))


def _may_go_on(attempt: Attempt, *, failed: bool = False) -> bool:
    """Whether another attempt can do no harm; `failed` where this one was meant to fail."""
    outcomes = {"failed", "locked", "service_throttled"} - ({"failed"} if failed else set())
    transient = attempt.sign_in.verdict.account_state == "transient"
    return attempt.is_from_entra and not transient and attempt.sign_in.outcome not in outcomes


def _is_admin(report: bytes) -> bool | None:
    try:
        return msgspec.json.decode(report, type=_Registration).is_admin
    except UNREADABLE:
        return None


def _made_up() -> Password:
    return Password(f"wrong-{secrets.token_urlsafe(24)}")
