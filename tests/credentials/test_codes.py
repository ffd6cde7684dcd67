"""The table of AADSTS codes: what each says of a password, and which counts when several come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.credentials.codes import CONFIGURATION, LOCKED, THROTTLED, decisive, table

# Microsoft Sentinel counts these as a right password (`SigninPasswordSpray.yaml`), less those that concern a
# session or a disabled account.
RIGHT_PASSWORD = {
    50005,
    50055,
    50072,
    50074,
    50076,
    50079,
    50105,
    50129,
    50155,
    50158,
    53000,
    53001,
    53003,
}


def test_the_table_is_whole() -> None:
    rows = table()
    assert len(rows) > 140
    for number, code in rows.items():
        assert code.number == number
        assert code.password_valid in ("yes", "no", "unknown")
        assert code.confidence in ("high", "medium", "low")
        assert code.account_state
        assert code.meaning.endswith(".")
        assert code.evidence == f"AADSTS{number}"


@pytest.mark.parametrize("number", sorted(RIGHT_PASSWORD))
def test_what_comes_after_the_password_proves_it(number: int) -> None:
    assert table()[number].status == "valid"


@pytest.mark.parametrize(
    ("number", "status", "state"),
    [
        (50126, "invalid", None),
        (50056, "invalid", "no_cloud_password"),
        (50034, "not_found", "not_found"),
        (50057, "disabled", "disabled"),
        (50053, "unknown", "locked_or_ip_blocked"),
        (50020, "unknown", "external"),
        (80002, "unknown", "pta_unavailable"),
        (530035, "unknown", "blocked_by_security_defaults"),
        (50058, "unknown", None),
    ],
)
def test_statuses(number: int, status: str, state: str | None) -> None:
    code = table()[number]
    assert (code.status, code.shown_state) == (status, state)


@pytest.mark.parametrize(
    ("numbers", "counts"),
    [
        ([50076, 7000215], 7000215),
        ([50126, 50053], 50053),
        ([50126, 90055], 90055),
        ([50076, 50126], 50126),
        ([50076, 80012], 50076),
        ([99999999, 50076], 50076),
        ([53003, 530035], 53003),
    ],
)
def test_the_code_that_says_least_of_the_user_counts(numbers: list[int], counts: int) -> None:
    for order in (numbers, numbers[::-1]):
        code = decisive(order)
        assert code is not None
        assert code.number == counts


@given(st.lists(st.sampled_from(sorted(table())), min_size=1, max_size=5))
def test_a_right_password_is_never_read_from_an_answer_that_also_says_otherwise(numbers: list[int]) -> None:
    code = decisive(numbers)
    assert code is not None
    others = [table()[number] for number in numbers]
    if code.status == "valid":
        assert not any(
            other.password_valid == "no" or other.account_state in (CONFIGURATION, LOCKED, THROTTLED)
            for other in others
        )


@given(st.lists(st.integers().filter(lambda number: number not in table()), max_size=5))
def test_unknown_codes_decide_nothing(numbers: list[int]) -> None:
    assert decisive(numbers) is None
