"""The alert rules as `alerts.bicep` deploys them: query, threshold, and how far back they read."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.infra.bicep import Expression, Resource, Template, template
from tests.operate.logs import Workspace, query_text

ALERTS: Template = template("modules/alerts.bicep")
DURATIONS = {
    "PT15M": timedelta(minutes=15),
    "PT30M": timedelta(minutes=30),
    "PT1H": timedelta(hours=1),
    "PT6H": timedelta(hours=6),
    "P1D": timedelta(days=1),
    "P2D": timedelta(days=2),
}


@dataclass(frozen=True)
class Rule:
    name: str
    file: str
    """Below `infra/queries`."""
    threshold: int
    """As deployed by default."""
    reads: timedelta
    resource: Resource
    """What deploys it."""

    def fires(self, workspace: Workspace, now: datetime) -> bool:
        """Whether the rule would raise its alert at this moment."""
        (row,) = workspace.query(query_text(self.file), now, self.reads)
        return bool(row["Value"] >= self.threshold)


def _rule(described: dict[str, Any], resource: Resource) -> Rule:
    threshold = described["threshold"]
    if isinstance(threshold, Expression):
        threshold = ALERTS.parameters[threshold].default
    loaded = re.fullmatch(r"loadTextContent\('\.\./queries/(.+)'\)", described["query"])
    assert loaded is not None
    return Rule(described["name"], loaded[1], threshold, DURATIONS[described["range"]], resource)


RULES = {
    one["name"]: _rule(one, resource)
    for resource in ALERTS.of_type("Microsoft.Insights/scheduledQueryRules")
    for one in ALERTS.variables[resource.loop or ""]
}


def firing(workspace: Workspace, now: datetime) -> set[str]:
    """The names of all rules that would raise their alert at this moment."""
    return {name for name, rule in RULES.items() if rule.fires(workspace, now)}
