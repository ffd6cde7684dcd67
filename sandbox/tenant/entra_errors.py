"""Entra's refusals: the AADSTS code, the OAuth error that it comes with, and the body that tells them."""

import uuid
from collections.abc import Iterable
from datetime import datetime

import msgspec

from sandbox.tenant.messages import Call, JsonObject, Reply, json_reply


class EntraError(Exception):
    """An AADSTS error and the HTTP answer that carries it. The text is for people, without code and ids."""

    def __init__(
        self,
        code: int,
        error: str,
        message: str,
        status: int = 400,
        *,
        more_codes: Iterable[int] = (),
        suberror: str | None = None,
        claims: JsonObject | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.codes = [code, *more_codes]
        self.error = error
        self.status = status
        self.suberror = suberror
        self.claims = claims
        self.headers = headers or {}

    def reply(self, call: Call, now: datetime) -> Reply:
        """Entra's error body: `error_codes` is what a client should read."""
        trace_id = str(uuid.uuid4())
        correlation_id = call.headers.get("client-request-id", str(uuid.uuid4()))
        moment = now.strftime("%Y-%m-%d %H:%M:%SZ")
        body: JsonObject = {
            "error": self.error,
            "error_description": (
                f"AADSTS{self.code}: {self} Trace ID: {trace_id} Correlation ID: {correlation_id} "
                f"Timestamp: {moment}"
            ),
            "error_codes": self.codes,
            "timestamp": moment,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"{call.origin}/error?code={self.code}",
        }
        if self.suberror is not None:
            body["suberror"] = self.suberror
        if self.claims is not None:
            body["claims"] = msgspec.json.encode(self.claims).decode()
        return json_reply(body, self.status, {"x-ms-request-id": trace_id, **self.headers})


def missing_parameter(name: str) -> EntraError:
    """The body of a request lacks a parameter."""
    return EntraError(
        900144, "invalid_request", f"The request body must contain the following parameter: '{name}'."
    )
