"""What `alerts.bicep` and `workbook.bicep` promise: one test a promise."""

import re
from pathlib import Path

import pytest

from tests.infra.bicep import template
from tests.operate.logs import query_names
from tests.operate.rules import ALERTS, DURATIONS, RULES, Rule

MAIN = template("main.bicep")
WORKBOOK = template("modules/workbook.bicep")
RUNBOOK = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()

EACH_RULE = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())


def test_every_alert_query_has_one_rule_of_its_name() -> None:
    assert [rule.file for rule in RULES.values()] == [f"alerts/{name}.kql" for name in RULES]
    assert sorted(rule.file for rule in RULES.values()) == query_names("alerts")


@EACH_RULE
def test_a_rule_reads_the_workspace_and_nothing_else(rule: Rule) -> None:
    assert rule.resource.properties["scopes"] == ["workspaceId"]
    (condition,) = rule.resource.properties["criteria"]["allOf"]
    assert condition["query"] == r"'${events}\n${rule.query}'"
    assert ALERTS.variables["events"] == "loadTextContent('../queries/events.kql')"


@EACH_RULE
def test_a_rule_compares_the_one_number_with_its_threshold(rule: Rule) -> None:
    (condition,) = rule.resource.properties["criteria"]["allOf"]
    assert (condition["metricMeasureColumn"], condition["timeAggregation"]) == ("Value", "Maximum")
    assert (condition["operator"], condition["threshold"]) == ("GreaterThanOrEqual", "rule.threshold")
    assert condition["failingPeriods"] == {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1}
    assert rule.threshold >= 1


@EACH_RULE
def test_a_rule_ends_its_alert_by_itself(rule: Rule) -> None:
    assert rule.resource.properties["enabled"] is True
    assert rule.resource.properties["autoMitigate"] is True


@EACH_RULE
def test_a_rule_looks_often_enough_and_leaves_no_gap(rule: Rule) -> None:
    """Logs arrive minutes late, so that two looks in a row overlap."""
    properties = rule.resource.properties
    every = DURATIONS[properties["evaluationFrequency"]]
    assert properties["overrideQueryTimeRange"] == "rule.range"
    assert properties["windowSize"] == "rule.range == 'P2D' ? longestWindow : rule.range"
    assert DURATIONS[ALERTS.variables["longestWindow"]] <= DURATIONS["P1D"]
    assert 2 * every <= rule.reads <= DURATIONS["P2D"]


def test_what_leaves_consumers_or_callers_without_answers_is_urgent() -> None:
    urgent = {name for name, rule in RULES.items() if rule.resource.properties["severity"] == 1}
    assert urgent == {"no-publish", "validation-stopped", "host-start"}
    assert {rule.resource.properties["severity"] for rule in RULES.values()} == {1, 2}
    for name in urgent:
        assert RULES[name].resource.properties["evaluationFrequency"] == "PT15M"


@EACH_RULE
def test_a_rule_works_in_a_workspace_without_tables(rule: Rule) -> None:
    assert rule.resource.properties["skipQueryValidation"] is True


@EACH_RULE
def test_a_rule_calls_the_action_group(rule: Rule) -> None:
    groups = rule.resource.properties["actions"]["actionGroups"]
    assert groups == "empty(alertEmails) ? [] : [actionGroup.id]"


def test_the_action_group_is_made_for_those_who_are_to_be_called() -> None:
    group = ALERTS.one("Microsoft.Insights/actionGroups")
    assert group.condition == "!empty(alertEmails)"
    assert group.properties["enabled"] is True
    assert "for address in alertEmails" in group.properties["emailReceivers"]


@EACH_RULE
def test_a_rule_leads_to_its_section_of_the_runbook(rule: Rule) -> None:
    assert rule.resource.properties["description"] == "'What to do: ${runbook}#${rule.name}'"
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    }
    assert rule.name in anchors


@EACH_RULE
def test_the_runbook_answers_the_same_questions_of_every_alert(rule: Rule) -> None:
    section = RUNBOOK.split(f"\n### {rule.name}\n")[1].split("\n### ")[0].split("\n## ")[0]
    asked = re.findall(r"^\*\*(.+?)\*\*", section, re.MULTILINE)
    assert asked == ["What happened.", "Why it matters.", "Find out.", "Mend.", "It is over"]


def test_the_workbook_reads_the_same_workspace() -> None:
    workbook = WORKBOOK.one("Microsoft.Insights/workbooks")
    assert workbook.properties["sourceId"] == "workspaceId"
    assert workbook.body["kind"] == "shared"
    for items in ("directoryItems", "credentialItems"):
        assert "crossComponentResources: [workspaceId]" in WORKBOOK.variables[items]
        assert r"query: '${events}\n${panel.query}'" in WORKBOOK.variables[items]


@pytest.mark.parametrize("module", ["alerts", "workbook"])
def test_every_deployment_has_both_over_the_workspace_of_the_app(module: str) -> None:
    made = MAIN.modules[module]
    assert made.condition is None
    assert made.path == (ALERTS if module == "alerts" else WORKBOOK).path
    assert made.parameters["workspaceId"] == "monitoring.outputs.workspaceId"


def test_whom_a_deployment_calls_and_when() -> None:
    given = MAIN.modules["alerts"].parameters
    assert given["alertEmails"] == (
        "empty(alertEmail) ? [] : map(split(alertEmail, ','), address => trim(address))"
    )
    assert given["publishWithinHours"] == "publishWithinHours"
    ours, theirs = MAIN.parameters["publishWithinHours"], ALERTS.parameters["publishWithinHours"]
    assert (ours.default, ours.decorators["maxValue"]) == (theirs.default, theirs.decorators["maxValue"])


def test_the_storage_account_logs_what_goes_into_its_queues() -> None:
    """What the alert on the poison queue reads."""
    logs = template("modules/data-storage.bicep").resources["queueLogs"].properties
    assert {"category": "StorageWrite", "enabled": True} in logs["logs"]
    assert logs["workspaceId"] == "workspaceId"
