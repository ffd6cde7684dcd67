"""Runs a script of infra/ with the fake `az` on its path."""

import os
import socketserver
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.infra import fake_az

REPOSITORY = Path(__file__).parents[2]
INFRA = REPOSITORY / "infra"

TENANT = "72f988bf-0000-4000-8000-000000000001"
IDENTITY = "1d000000-0000-4000-8000-00000000000a"
"""The object id of a managed identity."""
CALLER = "1d000000-0000-4000-8000-00000000000b"
"""The client id of the same."""
VAULT = "kv-test"

PERMISSIONS = (
    "User.Read.All",
    "GroupMember.Read.All",
    "Member.Read.Hidden",
    "AuditLog.Read.All",
    "UserAuthenticationMethod.Read.All",
    "User-LifeCycleInfo.Read.All",
    "Domain.Read.All",
    "GroupSettings.Read.All",
    "User.ReadWrite.All",
)


def role_id(number: int) -> str:
    return f"b0000000-0000-4000-8000-{number:012}"


def tenant_state() -> dict[str, Any]:
    """A tenant with Microsoft Graph, whose delegated permissions bear the same names, and one identity."""
    roles = [
        {"id": role_id(number), "value": value, "allowedMemberTypes": ["Application"]}
        for number, value in enumerate(PERMISSIONS)
    ]
    roles += [
        {**role, "id": role_id(100 + n), "allowedMemberTypes": ["User"]} for n, role in enumerate(roles)
    ]
    return {
        "account": {"tenantId": TENANT},
        "cloud": {
            "name": "AzureCloud",
            "endpoints": {
                "microsoftGraphResourceId": "https://graph.microsoft.com/",
                "activeDirectory": "https://login.microsoftonline.com",
            },
        },
        "graph": None,
        "vault": VAULT,
        "secrets": {},
        "applications": [],
        "servicePrincipals": [
            {
                "id": "60000000-0000-4000-8000-000000000001",
                "appId": "00000003-0000-0000-c000-000000000000",
                "displayName": "Microsoft Graph",
                "appRoles": roles,
            },
            {"id": IDENTITY, "appId": CALLER, "displayName": "id-entra"},
        ],
        "assignments": [],
        "passwords": [],
        "failures": [],
        "forbidden": None,
        "ids": 0,
        "calls": [],
    }


@dataclass(frozen=True)
class Ran:
    """What a script printed, and how it ended."""

    code: int
    output: str
    errors: str


# The program on the path only hands its arguments on, and standard input where it is asked for.
PROGRAM = r"""#!/usr/bin/env bash
exec 3<>/dev/tcp/127.0.0.1/{port}
{{ printf '%s\0' "$#" "$@"; [[ " $* " != *" /dev/stdin "* ]] || cat; printf '\0'; }} >&3
read -r status <&3
if ((status)); then cat <&3 >&2; else cat <&3; fi
exit "$status"
"""


class AzureCli:
    """One tenant, and scripts that are run against it. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.state = tenant_state()
        self._bin = folder
        self._server = socketserver.TCPServer(("127.0.0.1", 0), self._handler())
        program = self._bin / "az"
        program.write_text(PROGRAM.format(port=self._server.server_address[1]))
        program.chmod(0o755)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        state = self.state

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                count = int(self._text())
                arguments = [self._text() for _ in range(count)]
                status, written = fake_az.run(state, arguments, self._text())
                self.wfile.write(f"{status}\n{written}".encode())

            def _text(self) -> str:
                letters = bytearray()
                while letter := self.rfile.read(1).strip(b"\0"):
                    letters += letter
                return letters.decode()

        return Handler

    def run(self, script: str, *arguments: str, tenant: str = TENANT, stdin: str = "") -> Ran:
        done = subprocess.run(
            ["bash", str(INFRA / script), *arguments, "--tenant", tenant],
            env={"PATH": f"{self._bin}:{os.environ['PATH']}", "RETRY_SECONDS": "0"},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def writes(self) -> list[list[str]]:
        """The calls so far that changed something."""
        return [
            call
            for call in self.state["calls"]
            if ("--method" in call and call[call.index("--method") + 1] != "GET")
            or call[:3] == ["keyvault", "secret", "set"]
        ]

    def granted(self, principal: str) -> set[str]:
        return {
            PERMISSIONS[int(one["appRoleId"][-12:])]
            for one in self.state["assignments"]
            if one["principalId"] == principal
        }
