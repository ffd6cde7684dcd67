"""The answer to the caller, as JSON. Its fields are a contract, which `docs/openapi.yaml` describes."""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from shared.clouds import Cloud
from shared.credentials.users import DirectoryUser
from shared.credentials.validator import Result
from shared.credentials.verdicts import FLARE_STATUS, Confidence, Status


class AnsweredUser(msgspec.Struct, frozen=True):
    """Whom to go to."""

    id: str
    user_principal_name: str
    account_enabled: bool | None
    portal_url: str
    """The user's page in the Entra admin centre."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One credential's result."""

    id: str
    status: Status
    flare_status: str | UnsetType = UNSET
    """The status in Flare's words; absent where Flare has none."""
    account_state: str | None
    attempt_made: bool
    confidence: Confidence
    evidence: tuple[str, ...]
    detail: str
    checked_at: str
    retry_after_seconds: int | None
    user: AnsweredUser | None


class _Answer(msgspec.Struct, frozen=True):
    results: list[Answered]


def encode_answer(results: Iterable[Result], cloud: Cloud) -> bytes:
    """The body of the answer."""
    return msgspec.json.encode(_Answer([_answered(result, cloud) for result in results]))


def _answered(result: Result, cloud: Cloud) -> Answered:
    verdict, user = result.verdict, result.user
    return Answered(
        id=result.candidate_id,
        status=verdict.status,
        flare_status=FLARE_STATUS.get(verdict.status, UNSET),
        account_state=verdict.account_state,
        attempt_made=verdict.attempt_made,
        confidence=verdict.confidence,
        evidence=verdict.evidence,
        detail=verdict.detail,
        checked_at=result.checked_at,
        retry_after_seconds=verdict.retry_after_seconds,
        user=_answered_user(user, cloud) if user else None,
    )


def _answered_user(user: DirectoryUser, cloud: Cloud) -> AnsweredUser:
    return AnsweredUser(
        id=user.id,
        user_principal_name=user.user_principal_name,
        account_enabled=user.account_enabled,
        portal_url=cloud.link_to_user(user.id),
    )
