"""`docs/openapi.yaml` against the running app: whatever is sent, the app answers as the document says."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import checks
from schemathesis.core.result import Ok
from standardwebhooks import Webhook

from sandbox.tenant.configuration import vault_secrets
from shared.credentials.verdicts import FLARE_STATUS, STATUSES, Confidence
from tests.end_to_end.conftest import Deployment
from tests.worker.test_indexing import FUNCTIONS

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"
EXAMPLES = 60

type Case = schemathesis.Case[Any]
type Operation = schemathesis.APIOperation[Any, Any, Any, Any]

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
"""A signature and unique ids are more than a schema can ask for: so no check of who is accepted."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return content


def test_it_has_every_route_and_no_other(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path.removeprefix("/api/"), operation["operationId"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    indexed = {
        (method, binding["route"], name)
        for name, bindings in FUNCTIONS.items()
        for binding in bindings
        if binding["type"] == "httpTrigger"
        for method in binding["methods"]
    }
    assert described == indexed


def test_it_has_the_words_of_the_code(document: dict[str, Any]) -> None:
    properties = document["components"]["schemas"]["Result"]["properties"]
    assert properties["status"]["enum"] == list(STATUSES)
    assert set(properties["flare_status"]["enum"]) == set(FLARE_STATUS.values())
    assert properties["confidence"]["enum"] == list(get_args(Confidence))


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(found, Ok)
        yield found.ok()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_app_answers_as_it_says(deployment: Deployment, document: dict[str, Any]) -> None:
    """What the document allows and what it forbids, signed and unsigned: never a 500, never a surprise."""
    url = str(deployment.http.base_url).rstrip("/")
    for operation in operations(document):
        for mode in schemathesis.GenerationMode:
            await asyncio.to_thread(_try, operation, mode, url, EXAMPLES, sign=True)
            await asyncio.to_thread(_try, operation, mode, url, EXAMPLES // 4, sign=False)
    assert deployment.tenant.lockout.ever_locked == []


def _try(
    operation: Operation, mode: schemathesis.GenerationMode, url: str, examples: int, *, sign: bool
) -> None:
    with requests.Session() as session:

        @hypothesis_settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def attempt(case: Case) -> None:
            request = session.prepare_request(requests.Request(**case.as_transport_kwargs(base_url=url)))
            if sign:
                _sign(request)
            case.validate_response(session.send(request, timeout=60), checks=CHECKS)

        attempt()


def _sign(request: requests.PreparedRequest) -> None:
    """As a sender of Standard Webhooks does, in place of what was generated."""
    body = request.body or b""
    try:
        text = body.decode() if isinstance(body, bytes) else str(body)
    except UnicodeDecodeError:
        return  # no sender can sign it
    call_id, now = f"msg_{uuid.uuid4().hex}", datetime.now(UTC)
    request.headers.update(
        {
            "webhook-id": call_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(vault_secrets()["webhook-secret"]).sign(call_id, now, text),
        }
    )
