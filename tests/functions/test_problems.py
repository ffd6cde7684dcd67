"""Answers and problem documents, without a host."""

import json

import azure.functions as func
import pytest

from functions.problems import answer, explained, problem
from shared.errors import (
    ConfigurationError,
    EntraConnectorError,
    RunUnderWay,
    SignInRefused,
    StorageUnavailable,
)

REQUEST = func.HttpRequest("GET", "https://app.example/api/x", body=b"")


def test_answer_is_json_in_utf8() -> None:
    response = answer({"name": "Zoë"}, 202)
    assert (response.status_code, response.mimetype) == (202, "application/json")
    assert response.get_body().decode("utf-8") == '{"name": "Zoë"}'


def test_problem_has_the_members_of_the_standard_and_our_own() -> None:
    response = problem(409, "Taken", "A sentence.", run_id="r")
    assert (response.status_code, response.mimetype) == (409, "application/problem+json")
    assert json.loads(response.get_body()) == {
        "type": "about:blank",
        "title": "Taken",
        "status": 409,
        "detail": "A sentence.",
        "run_id": "r",
    }


@pytest.mark.parametrize(
    ("error", "status", "members"),
    [
        (RunUnderWay("r1"), 409, {"run_id": "r1"}),
        (
            ConfigurationError(["A is missing.", "B is wrong."]),
            503,
            {"problems": ["A is missing.", "B is wrong."]},
        ),
        (StorageUnavailable("Storage is unreachable."), 503, {}),
        (SignInRefused("Entra refused.", 7000215), 503, {}),
        (EntraConnectorError("Something."), 503, {}),
    ],
)
async def test_errors_that_are_raised_on_purpose_become_problems(
    error: EntraConnectorError, status: int, members: dict[str, object]
) -> None:
    @explained
    async def function(req: func.HttpRequest) -> func.HttpResponse:
        raise error

    response = await function(REQUEST)
    document = json.loads(response.get_body())
    assert response.status_code == document["status"] == status
    assert document["detail"] == str(error)
    assert {
        name: document[name] for name in document.keys() - {"type", "title", "status", "detail"}
    } == members


async def test_other_errors_stay_errors_of_the_function() -> None:
    @explained
    async def function(req: func.HttpRequest) -> func.HttpResponse:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await function(REQUEST)


async def test_answer_is_left_alone() -> None:
    expected = answer({})

    @explained
    async def function(req: func.HttpRequest) -> func.HttpResponse:
        return expected

    assert await function(REQUEST) is expected
    assert function.__name__ == "function"
