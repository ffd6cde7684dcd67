"""The whole bench over 2,000 users, and its own arithmetic."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.document import BEGIN, END, update
from bench.pages.archive import Archive, gunzip
from bench.pages.make import make_pages
from bench.processes.floor import DECODERS
from bench.results import Results
from bench.run import Plan, run
from bench.scale import GROUPS_A_PAGE, LINKS_A_PAGE, USERS_A_PAGE, Scale
from bench.summary import MOST_MODULES, Spread, Summary
from bench.table import markdown, show

SCALE = Scale(2_000, 600, 10_000)
COUNT_REQUESTS = 2

PHASES = [
    "start of the run",
    "collect users",
    "collect groups",
    "collect authentication",
    "build members",
    "prepare build",
    "build groups",
    "publish",
]


@pytest.fixture(scope="module")
def results() -> Results:
    said: list[str] = []
    plan = Plan(SCALE, repetitions=1, typed_users=50, typed_group_pages=1, indexing_pairs=1)
    measured = run(plan, said.append)
    assert said
    return measured


def test_sync_publishes_everything_with_the_least_requests(results: Results) -> None:
    for sync in (results.repetitions[0].sync, results.repetitions[0].bare):
        assert sync.rows["users"] == SCALE.users
        assert sync.rows["groups"] == SCALE.groups
        # A random member may be drawn twice for one group.
        assert SCALE.memberships * 0.999 <= sync.rows["memberships"] <= SCALE.memberships
        assert sync.requests == SCALE.least_requests + COUNT_REQUESTS
        assert sync.model_modules < MOST_MODULES
    assert results.repetitions[0].sync.rows["ocsf-users"] == SCALE.users
    assert "ocsf-users" not in results.repetitions[0].bare.rows


def test_each_cost_is_measured(results: Results) -> None:
    one = results.repetitions[0]
    assert sorted(one.sync.phases) == sorted(PHASES)
    assert min(msgspec.structs.astuple(one.floor)) > 0
    assert one.sync.start_cpu > 0
    assert one.sync.start_peak < one.sync.peak
    assert results.typed.objects == {
        "users": 50,
        "groups": results.typed.objects["groups"],
        "authentication": 999,
    }
    assert results.typed.model_modules > MOST_MODULES
    assert results.indexing[0].empty.functions == 1
    assert results.indexing[0].app.functions > 1


def test_tables_hold_for_terminal_and_document(results: Results, tmp_path: Path) -> None:
    summary = Summary(results)
    output = io.StringIO()
    show(summary, Console(file=output, width=160))
    text = markdown(summary)
    for bar in summary.bars():
        assert bar.name in output.getvalue()
        assert bar.name in text
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    update(document, text)
    update(document, text)
    assert document.read_text() == f"before\n{BEGIN}\n\n{text}\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="no markers"):
        update(Path(__file__).with_name("__init__.py"), text)


def test_results_survive_json(results: Results) -> None:
    assert msgspec.json.decode(msgspec.json.encode(results), type=Results) == results


def test_pages_are_cut_as_graph_cuts_them(tmp_path: Path) -> None:
    make_pages(SCALE, "http://127.0.0.1:1", tmp_path, listed_users=10)
    archive = Archive(tmp_path)
    users, links = 0, 0
    for number in range(archive.count("users")):
        page = DECODERS["users"].decode(gunzip(archive.stored("users", number)))
        assert len(page.value) <= USERS_A_PAGE
        assert (page.delta_link is None) == (number + 1 < archive.count("users"))
        users += len(page.value)
    for number in range(archive.count("groups")):
        page = DECODERS["groups"].decode(gunzip(archive.stored("groups", number)))
        assert len(page.value) <= GROUPS_A_PAGE
        on_page = sum(len(group.members or ()) + len(group.owners or ()) for group in page.value)
        assert on_page <= LINKS_A_PAGE
        links += on_page
    assert (users, links) == (SCALE.users, SCALE.memberships)
    facts = archive.facts["users"]
    assert 1_100 < facts.plain / facts.objects < 1_600
    assert facts.plain / facts.compressed < 8


def test_pages_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_pages(Scale(300, 20, 900), "http://127.0.0.1:1", tmp_path / name, listed_users=10)
    assert (tmp_path / "one/pages.bin").read_bytes() == (tmp_path / "two/pages.bin").read_bytes()


def test_spread() -> None:
    assert Spread.of([3.0, 1.0, 2.0]).text(1, " x") == "2.0 x (1.0 to 3.0)"
