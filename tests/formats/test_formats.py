import subprocess
import sys

import pytest

from shared.errors import ConfigurationError
from shared.formats import FORMATS, formats_named
from shared.formats.facts import epoch_milliseconds
from tests.formats.people import CONTEXT


def test_formats_come_in_the_order_asked_for_and_once() -> None:
    assert [format_.name for format_ in formats_named(["sekoia", "ocsf", "sekoia"], CONTEXT)] == [
        "sekoia",
        "ocsf",
    ]
    assert formats_named([], CONTEXT) == []


def test_all_unknown_names_are_reported_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        formats_named(["ocsf", "scim", "ecs"], CONTEXT)
    assert [problem.split("'")[1] for problem in caught.value.problems] == ["scim", "ecs"]


def test_a_format_is_listed_under_its_own_name() -> None:
    assert list(FORMATS) == ["ocsf", "sekoia"] == [format_.name for format_ in FORMATS.values()]


def test_importing_the_formats_loads_no_sdk() -> None:
    heavy = {"azure", "msgraph", "kiota_abstractions", "httpx", "pydantic", "jsonschema"}
    code = f"import sys, shared.formats; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("time", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-04T05:06:07Z", 1772600767000),
        ("2026-03-04T05:06:07.8Z", 1772600767800),
        ("2026-03-04T05:06:07.891999Z", 1772600767891),
        ("1969-12-31T23:59:59Z", -1000),
        ("9999-12-31T23:59:59.999999Z", 253402300799999),
    ],
)
def test_times_are_whole_milliseconds(time: str, milliseconds: int) -> None:
    assert epoch_milliseconds(time) == milliseconds
