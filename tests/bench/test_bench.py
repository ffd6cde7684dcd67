"""The whole bench over a few hundred users, and its own arithmetic."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bench.document import ONE_SCALE, markers, update
from bench.graph_time import full_time, incremental_time
from bench.growth import GrowthSummary
from bench.pages.archive import Archive, gunzip
from bench.pages.changes import ROUNDS
from bench.pages.make import FULL, MINT, groups_delta, make_pages, users_delta
from bench.processes.floor import DECODERS
from bench.results import Growth, Results
from bench.run import Plan, grow, run
from bench.scale import GROUPS_A_PAGE, LINKS_A_PAGE, Scale
from bench.summary import MOST_MODULES, Spread, Summary
from bench.table import markdown, show
from shared.graph.queries import LIST_PAGE

SCALE = Scale(2_000, 600, 10_000)
"""Of pages that are only made."""
RUN_SCALE = Scale(300, 100, 1_500)
GROWTH_SCALE = Scale(1_200, 120, 1_200)

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
def measured() -> tuple[Results, Growth]:
    """Both ways of measuring, at once: all work is done by other processes, and nothing here is timed."""
    said: list[str] = []
    plan = Plan(RUN_SCALE, repetitions=1, typed_users=50, typed_group_pages=1, indexing_pairs=1)
    with ThreadPoolExecutor(2) as threads:
        growth = threads.submit(grow, [GROWTH_SCALE], [2], said.append)
        results = threads.submit(run, plan, said.append)
    assert said
    return results.result(), growth.result()


@pytest.fixture(scope="module")
def results(measured: tuple[Results, Growth]) -> Results:
    return measured[0]


@pytest.fixture(scope="module")
def growth(measured: tuple[Results, Growth]) -> Growth:
    return measured[1]


def test_sync_publishes_everything_with_the_least_requests(results: Results) -> None:
    for sync in (results.repetitions[0].sync, results.repetitions[0].bare):
        assert sync.rows["users"] == RUN_SCALE.users
        assert sync.rows["groups"] == RUN_SCALE.groups
        # A random member may be drawn twice for one group.
        assert RUN_SCALE.memberships * 0.99 <= sync.rows["memberships"] <= RUN_SCALE.memberships
        assert sync.kind == "full"
        assert sync.requests == RUN_SCALE.least_requests
        assert sync.model_modules < MOST_MODULES
    assert results.repetitions[0].sync.rows["ocsf-users"] == RUN_SCALE.users
    assert "ocsf-users" not in results.repetitions[0].bare.rows


def test_incremental_syncs_follow_the_links_that_the_last_one_stored(results: Results) -> None:
    users, memberships, nothing, _ = results.repetitions[0].rounds
    full = results.repetitions[0].sync
    for sync in (users, memberships, nothing):
        assert sync.kind == "incremental"
        assert sync.requests == 2
        assert sync.rows["users"] == RUN_SCALE.users
        assert 0 < sync.cpu < full.cpu
    assert users.changes == {"users": 1, "groups": 0, "memberships": 0}
    assert users.touched.groups == 0
    # A changed membership changes its user and its group; what is added may have been there.
    assert 1 <= memberships.changes["memberships"] <= 3
    assert memberships.changes["groups"] > 0
    assert memberships.changes["users"] > 1
    assert sum(nothing.changes.values()) == 0
    assert (nothing.touched.members, nothing.touched.groups) == (0, 0)
    assert nothing.digest == memberships.digest != users.digest != full.digest


def test_all_read_again_is_a_full_sync_that_compares(results: Results) -> None:
    *_, nothing, again = results.repetitions[0].rounds
    assert again.kind == "full"
    # Beside all pages, what the deltas tell and who lies in the bin.
    assert again.requests == RUN_SCALE.least_requests + 3
    assert again.rows == nothing.rows | {"memberships": results.repetitions[0].sync.rows["memberships"]}
    assert again.changes["users"] >= 2
    assert again.touched.members == again.touched.all_members


def test_each_cost_is_measured(results: Results) -> None:
    one = results.repetitions[0]
    assert sorted(one.sync.phases) == sorted(PHASES)
    assert min(msgspec.structs.astuple(one.floor)) > 0
    assert one.sync.start_cpu > 0
    assert one.sync.start_peak < one.sync.peak
    assert results.typed.objects == {
        "users": RUN_SCALE.users,
        "groups": results.typed.objects["groups"],
        "authentication": RUN_SCALE.report_rows,
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
    begin, end = markers(ONE_SCALE)
    document.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    update(document, ONE_SCALE, text)
    update(document, ONE_SCALE, text)
    assert document.read_text() == f"before\n{begin}\n\n{text}\n\n{end}\nafter\n"
    with pytest.raises(ValueError, match="no markers"):
        update(Path(__file__).with_name("__init__.py"), ONE_SCALE, text)


def test_results_survive_json(results: Results, growth: Growth) -> None:
    assert msgspec.json.decode(msgspec.json.encode(results), type=Results) == results
    assert msgspec.json.decode(msgspec.json.encode(growth), type=Growth) == growth


def test_several_workers_publish_the_same_parts(growth: Growth) -> None:
    for one in growth.sizes:
        assert [worker.digest for worker in one.workers] == [one.sync.digest] * 2
        assert sum(worker.messages for worker in one.workers) >= len(FULL)


def test_growth_is_shown(growth: Growth) -> None:
    one = growth.sizes[0]
    slower = msgspec.structs.replace(
        one,
        scale=Scale(2_400, 240, 2_400),
        sync=msgspec.structs.replace(
            one.sync, phases={name: cpu * 2.8 for name, cpu in one.sync.phases.items()}
        ),
    )
    summary = GrowthSummary(Growth(growth.machine, [one, slower]))
    cpu, memory = summary.bars()[:2]
    assert (cpu.measured, cpu.holds) == ("1.40 x", False)
    assert (memory.measured, memory.holds) == ("1.00 x", True)
    assert len(GrowthSummary(growth).bars()) == len(summary.bars()) - 2
    text = markdown(summary)
    for bar in summary.bars():
        assert bar.name in text
    assert "| groups | 120 | 240 |" in text


def test_graph_time_is_that_of_the_longest_chain(growth: Growth) -> None:
    one = growth.sizes[-1]
    full = full_time(one.scale, one.pages)
    # 2 pages of the list, mint and replay; 1,200 links; 1,080 rows of the report.
    assert (full.users, full.groups, full.report) == (1.0, 0.75, 4.0)
    assert (full.units, full.total) == (2 * 2 + 2 + 3, 4.0)
    assert one.sync.requests == one.scale.least_requests
    assert incremental_time(one.pages, 1).total == 0.25


def test_pages_are_cut_as_graph_cuts_them(tmp_path: Path) -> None:
    make_pages(SCALE, "http://127.0.0.1:1", tmp_path)
    archive = Archive(tmp_path)
    users, links = 0, 0
    for number in range(archive.count("users")):
        page = DECODERS["users"].decode(gunzip(archive.stored("users", number)))
        assert len(page.value) == min(LIST_PAGE, SCALE.users - users)
        assert page.delta_link is None
        assert (page.next_link is None) == (number + 1 == archive.count("users"))
        users += len(page.value)
    assert archive.count("users") == SCALE.user_pages
    assert archive.count("authentication") == SCALE.report_pages
    for number in range(archive.count("groups")):
        page = DECODERS["groups"].decode(gunzip(archive.stored("groups", number)))
        assert len(page.value) <= GROUPS_A_PAGE
        assert (page.delta_link is None) == (number + 1 < archive.count("groups"))
        on_page = sum(len(group.members or ()) + len(group.owners or ()) for group in page.value)
        assert on_page <= LINKS_A_PAGE
        links += on_page
    assert (users, links) == (SCALE.users, SCALE.memberships)
    facts = archive.facts["users"]
    assert 1_100 < facts.plain / facts.objects < 1_600
    assert facts.plain / facts.compressed < 8


def test_stored_links_lead_from_round_to_round(tmp_path: Path) -> None:
    make_pages(SCALE, "http://127.0.0.1:1", tmp_path)
    archive = Archive(tmp_path)
    for kind, then, decoder in (
        (MINT, users_delta(0), "users"),
        (users_delta(0), users_delta(1), "users"),
        *((users_delta(n), users_delta(n + 1), "users") for n in range(1, len(ROUNDS) + 1)),
        *((groups_delta(n), groups_delta(n + 1), "groups") for n in range(1, len(ROUNDS) + 1)),
    ):
        page = DECODERS[decoder].decode(gunzip(archive.stored(kind, archive.count(kind) - 1)))
        assert page.delta_link is not None
        assert page.delta_link.endswith(f".{then}.0")
    assert [archive.facts[users_delta(n)].objects for n in range(5)] == [0, 2, 2, 0, 0]
    changed = DECODERS["groups"].decode(gunzip(archive.stored(groups_delta(2), 0))).value
    links = [link for group in changed for link in group.members]
    assert len(links) == 10
    assert sum(link.removed is not None for link in links) == 5


def test_pages_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_pages(Scale(300, 20, 900), "http://127.0.0.1:1", tmp_path / name)
    assert (tmp_path / "one/pages.bin").read_bytes() == (tmp_path / "two/pages.bin").read_bytes()


def test_spread() -> None:
    assert Spread.of([3.0, 1.0, 2.0]).text(1, " x") == "2.0 x (1.0 to 3.0)"
    assert Spread.of([0.5]).percent.text(0, " %") == "50 %"
