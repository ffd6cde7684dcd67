"""The bench of credential validation over a few calls, and its own arithmetic."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.document import VALIDATION, markers, update
from bench.results import Machine
from bench.table import markdown_of, show_sections
from bench.validation.app import covered
from bench.validation.costs import (
    ATTEMPT,
    GRAPH_SECONDS,
    MEMORY,
    MIXES,
    NO_ATTEMPT,
    SIGN_IN_SECONDS,
    CallCost,
    Load,
    MixCost,
    ValidationCosts,
)
from bench.validation.measure import measure
from bench.validation.summary import bars, describe, percentile, sections

LOADS = (Load(1), Load(3, every=0.1), Load(3))


@pytest.fixture(scope="module")
def costs() -> ValidationCosts:
    """All work is done by other processes, and nothing here is timed."""
    said: list[str] = []
    measured = measure(said.append, loads=LOADS, calls=6)
    assert said
    return measured


def test_every_kind_is_measured_under_every_load(costs: ValidationCosts) -> None:
    assert [(mix.mix, mix.load) for mix in costs.mixes] == [(mix, load) for load in LOADS for mix in MIXES]
    for mix in costs.mixes:
        assert len(mix.calls) == 6
        assert mix.cpu > 0
        for call in mix.calls:
            assert 0 < call.storage < call.added < call.total
            assert call.turn <= call.own


def test_the_services_waits_are_known(costs: ValidationCosts) -> None:
    least = {NO_ATTEMPT: GRAPH_SECONDS, ATTEMPT: GRAPH_SECONDS + SIGN_IN_SECONDS, MEMORY: GRAPH_SECONDS}
    for mix in costs.mixes:
        for call in mix.calls:
            assert least[mix.mix] <= call.upstream < call.total


def test_requests_to_storage(costs: ValidationCosts) -> None:
    """Claim, audit, answer; what is remembered; user and tenant charged, user settled."""
    assert {mix.mix: mix.storage_requests for mix in costs.mixes[:3]} == {
        NO_ATTEMPT: 3,
        ATTEMPT: 3 + 1 + 2 + 1,
        MEMORY: 3 + 1,
    }


def test_tables_hold_for_terminal_and_document(costs: ValidationCosts, tmp_path: Path) -> None:
    output = io.StringIO()
    show_sections(describe(costs), sections(costs), Console(file=output, width=160))
    text = markdown_of(describe(costs), sections(costs))
    for bar in bars(costs):
        assert bar.name in output.getvalue()
        assert bar.name in text
    begin, end = markers(VALIDATION)
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    update(document, VALIDATION, text)
    assert document.read_text() == f"before\n{begin}\n\n{text}\n\n{end}\nafter\n"
    assert begin in (Path(__file__).parents[2] / "docs" / "performance.md").read_text()


def test_costs_survive_json(costs: ValidationCosts) -> None:
    assert msgspec.json.decode(msgspec.json.encode(costs), type=ValidationCosts) == costs


def test_what_is_our_own() -> None:
    call = CallCost("ada@contoso.com", total=0.250, storage=0.040, turn=0.004, upstream=0.180)
    assert call.added == pytest.approx(0.070)
    assert call.own == pytest.approx(0.030)


def test_bars_are_of_the_most_callers() -> None:
    def mix(callers: int, *own: float, every: float = 0.0) -> MixCost:
        calls = [CallCost("ada@contoso.com", 0.2 + seconds, 0.0, 0.0, 0.2) for seconds in own]
        return MixCost(ATTEMPT, Load(callers, every), calls, 1.0, 1.0, 1.0)

    machine = Machine(2, "a machine", "3.13.0")
    good, bad = [0.005] * 99 + [0.2], [0.005] * 98 + [0.2, 0.2]
    assert [bar.holds for bar in bars(ValidationCosts(machine, [mix(1, 0.9), mix(20, *good)]))] == [
        True,
        True,
    ]
    assert [bar.holds for bar in bars(ValidationCosts(machine, [mix(1, 0.0), mix(20, *bad)]))] == [
        True,
        False,
    ]

    paced = ValidationCosts(machine, [mix(1, 0.0), mix(20, *good, every=2.0), mix(20, *bad)])
    assert [(bar.name, bar.holds) for bar in bars(paced)] == [
        ("one attempt, 20 callers, a call each 2 s: p50 of our own below 10 ms", True),
        ("one attempt, 20 callers, a call each 2 s: p99 of our own below 50 ms", True),
        ("one attempt, 20 callers, without a pause: p50 of our own below 10 ms", True),
        ("one attempt, 20 callers, without a pause: p99 of our own below 50 ms", False),
    ]


def test_percentiles() -> None:
    assert percentile(range(1, 101), 50) == 50
    assert percentile(range(1, 101), 99) == 99
    assert percentile([7.0], 99) == 7.0


def test_seconds_that_lie_within_each_other_count_once() -> None:
    assert covered([]) == 0
    assert covered([(4, 5), (0, 2), (1, 3), (1, 2)]) == 4
