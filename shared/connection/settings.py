"""The settings themselves, and what is told when they are wrong: then nothing else can be tried."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import override

from shared.connection.interface import Check, Finding, Row, ok
from shared.errors import ConfigurationError

SETTINGS = "settings"


@dataclass(kw_only=True)
class SettingsCheck(Check):
    """All problems of the settings at once; None for settings that were read."""

    capability: str = SETTINGS
    permission: str | None = None
    error: ConfigurationError | None = None

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        if self.error is None:
            return ok("All settings are well-formed.")
        return Finding(
            "misconfigured",
            " ".join(self.error.problems),
            "az functionapp config appsettings set --name <app> --resource-group <group> --settings "
            "<name>=<value>; docs/settings.md has them all.",
        )


@dataclass(kw_only=True)
class Untried(Check):
    """Stands for a capability while the settings are wrong."""

    needs: tuple[str, ...] = (SETTINGS,)

    @override
    async def run(self, earlier: Mapping[str, Row]) -> Finding:
        raise AssertionError("it is only made where the settings are wrong")
