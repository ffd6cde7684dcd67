"""docs/deploy.md says what the templates and scripts do: parameters, outputs, options, permissions, costs."""

import re
import subprocess
from pathlib import Path

from tests.docs.deploy_tables import MAIN, PAGE, with_tables
from tests.infra.bicep import template
from tests.infra.test_contract import granted_by_script

ROOT = Path(__file__).parents[2]
TEXT = PAGE.read_text()
SECURITY = (ROOT / "docs/security.md").read_text()


def test_parameters_settings_and_costs_are_as_computed() -> None:
    """`python -m tests.docs.deploy_tables` puts them right."""
    assert with_tables(TEXT) == TEXT


def test_every_parameter_stands_in_a_table() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert MAIN.parameters.keys() - rows == set()


def test_outputs_and_parameters_that_are_named_exist() -> None:
    outputs = set(re.findall(r"output ([A-Z_]+)\b", TEXT)) | {"DIRECTORY_CONTAINER_URL", "WEBHOOK_URL"}
    outputs |= set(re.findall(r"`(EGRESS_ADDRESS)`", TEXT))
    assert len(outputs) > 5
    assert outputs <= MAIN.outputs.keys()
    named = set(re.findall(r"`([a-z]+[A-Z]\w+)(?:=\w+)?`", TEXT + SECURITY))
    assert named <= MAIN.parameters.keys()


def test_options_of_the_scripts_exist() -> None:
    for script in ("grant-permissions.sh", "create-secrets.sh"):
        told = subprocess.run(
            ["bash", str(ROOT / "infra" / script), "--help"], capture_output=True, text=True, check=True
        ).stdout
        calls = re.findall(rf"infra/{re.escape(script)}((?:[^\n`]|\\\n)*)", TEXT + SECURITY)
        assert calls, script
        for call in calls:
            call = re.sub(r'"\$\(output [A-Z_]+\)"|<[^>]+>', "x", call)
            for option in re.findall(r"(?<!\S)--[a-z-]+", call):
                assert option in told, f"{script} {option}"
            command = re.match(r" ([a-z]+-[a-z]+)", call)
            assert command is None or f"\n  {command[1]} " in told, call


def test_permissions_by_capability_are_those_that_the_script_grants() -> None:
    table = TEXT.split("| capability |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \|", table, re.MULTILINE)
    assert {name: re.findall(r"`([^`]+)`", cell) for name, cell in rows} == granted_by_script()


def test_azd_variables_are_those_of_the_parameters_file() -> None:
    known = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "infra/main.parameters.json").read_text()))
    assert set(re.findall(r"azd env set ([A-Z_]+) ", TEXT)) <= known


def test_links_lead_somewhere() -> None:
    for page, text in (("deploy.md", TEXT), ("security.md", SECURITY)):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
            assert (ROOT / "docs" / target).is_file(), f"{page}: {target}"


def test_security_says_of_every_container_queue_and_table_what_it_holds() -> None:
    data = template("modules/data-storage.bicep").variables
    names = {*data["queueNames"], *data["tableNames"], data["stateContainer"], data["auditContainer"]}
    kept = SECURITY.split("## What is kept")[1].split("\n## ")[0]
    assert names | {MAIN.parameters["directoryContainer"].default} <= set(re.findall(r"`([\w-]+)`", kept))


def test_security_names_the_audit_as_it_is_written() -> None:
    """Object ids, and neither passwords nor names."""
    from shared.credentials.audit import AuditEntry

    fields = set(AuditEntry.__struct_fields__)
    assert fields & {"password", "username", "user_principal_name", "email"} == set()
    assert "user" in fields


def test_readme_leads_to_both_pages() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "docs/deploy.md" in readme
    assert "docs/security.md" in readme


def test_readme_names_the_cost_that_was_computed() -> None:
    sums = re.findall(r"^\| \*\*sum\*\* .*?\*\*\$(\d+)\*\* \| \*\*\$(\d+)\*\*", TEXT, re.MULTILINE)
    assert [int(fifty_thousand) for _, fifty_thousand in sums] == [1]
    assert "about a dollar a month for 50,000 users" in (ROOT / "README.md").read_text()
