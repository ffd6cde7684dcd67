"""`python docs/live_probe.py`: asks a real tenant what no simulated one can tell. See live-probe.md.

It only reads, sends at most 60 requests, and shows counts, codes and shortened ids: no name, token or link.
With --sign-in it looks at one test user instead, and with --yes too it signs in as that user.
"""

import argparse
import asyncio
import getpass
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.probe.directory import DirectoryQuestions
from docs.probe.findings import Findings
from docs.probe.lookups import LookupQuestions
from docs.probe.requests import Requests
from docs.probe.sign_in import PLAN, NotTried, SignInQuestions, TestUser
from shared.composition import App
from shared.config import Settings
from shared.credentials.candidates import Password
from shared.credentials.probe import SignInProbe
from shared.errors import ConfigurationError, SecretUnavailable, SignInRefused
from shared.graph.client import GraphClient
from shared.graph.policy import Usage
from shared.identity.credentials import graph_credential

LOCAL_SETTINGS = Path(__file__).parents[1] / "local.settings.json"

type Ask = Callable[[str], str]
type Sleep = Callable[[float], Awaitable[Any]]
type Connect = Callable[[str | None, Mapping[str, str]], AbstractAsyncContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Connection:
    """One tenant, as the app reaches it."""

    settings: Settings
    graph: GraphClient
    sign_in: Callable[[], Awaitable[SignInProbe]] | None
    """None with the sign-in of the Azure CLI, which is not the app's."""


@asynccontextmanager
async def connected(tenant: str | None, environment: Mapping[str, str]) -> AsyncIterator[Connection]:
    """As the app's settings say; or, for a tenant by its id, Graph with the sign-in of the Azure CLI."""
    async with AsyncExitStack() as stack:
        if tenant is None:
            app = App(Settings.from_environment(environment))
            stack.push_async_callback(app.close)
            yield Connection(app.settings, await app.graph(), app.connection_clients().probe)
            return
        from azure.identity.aio import AzureCliCredential

        kept = {name: environment.get(name, "") for name in ("ENTRA_CLOUD", "GRAPH_ENDPOINT")}
        settings = Settings.from_environment(
            kept
            | {
                "ENTRA_TENANT_ID": tenant,
                "ENTRA_CREDENTIAL": "managed-identity",
                # Settings are checked as a whole; no storage is touched.
                "DIRECTORY_STORAGE": "UseDevelopmentStorage=true",
            }
        )
        credential = graph_credential(settings, None, AzureCliCredential(tenant_id=settings.tenant_id))
        stack.push_async_callback(credential.close)
        graph = GraphClient(credential, settings.graph_origin, settings.cloud.graph_scope)
        yield Connection(settings, await stack.enter_async_context(graph), None)


class _LocalSettings(msgspec.Struct):
    """The file in which Azure Functions Core Tools keep settings."""

    values: dict[str, str] = msgspec.field(name="Values", default_factory=dict)
    is_encrypted: bool = msgspec.field(name="IsEncrypted", default=False)


def environment(file: Path | None) -> dict[str, str]:
    """The settings of the file, if there is one, below those of the process. Raises `ConfigurationError`."""
    if file is None:
        return dict(os.environ)
    try:
        local = msgspec.json.decode(file.read_bytes(), type=_LocalSettings)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        raise ConfigurationError(
            [f"{file} cannot be read: see local.settings.json.example for its form."]
        ) from None
    if local.is_encrypted:
        raise ConfigurationError([f"{file} is encrypted: run `func settings decrypt` first."])
    return local.values | os.environ


def hidden(prompt: str) -> str:
    """What is typed, which the terminal does not show."""
    if not sys.stdin.isatty():
        raise ConfigurationError(
            ["PROBE_USER and PROBE_PASSWORD are missing: set them, or run the probe in a terminal."]
        )
    return getpass.getpass(prompt)


def main(
    argv: Sequence[str] | None = None,
    *,
    connect: Connect = connected,
    ask: Ask = hidden,
    sleep: Sleep = asyncio.sleep,
) -> int:
    """Exit code 0 whatever was seen, 1 without a sign-in or a test user, 2 for wrong arguments."""
    arguments = _arguments(argv)
    findings, usage, problem = Findings(), Usage(), None
    try:
        if arguments.sign_in:
            asyncio.run(_sign_in(arguments, findings, connect, ask, sleep))
        else:
            usage = asyncio.run(_ask_graph(arguments, findings, connect))
    except (ConfigurationError, SecretUnavailable, SignInRefused) as error:
        problem = f"No sign-in. {error}"
    except NotTried as reason:
        problem = f"Nothing was tried. {reason}"
    if findings:
        print(findings.table())
    if usage.requests:
        print(f"\n{usage.requests} requests, all of them read-only; {usage.resource_units} resource units.")
    if arguments.keep_link and arguments.keep_link.exists():
        print(
            f"\n{arguments.keep_link} holds a delta link of this tenant's groups: show it to nobody, and "
            "delete it afterwards.\nNow add a member to a test group and remove another one, wait five "
            "minutes, and run:"
            f"\n  python docs/live_probe.py --continue {arguments.keep_link}"
        )
    if problem:
        print(problem, file=sys.stderr)
        return 1
    if arguments.json:
        told = {"requests": usage.requests, "resource_units": usage.resource_units, "findings": findings}
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
    return 0


async def _ask_graph(arguments: argparse.Namespace, findings: Findings, connect: Connect) -> Usage:
    async with connect(arguments.tenant, environment(arguments.settings)) as connection:
        requests = Requests(connection.graph)
        directory, lookups = DirectoryQuestions(requests, findings), LookupQuestions(requests, findings)
        if arguments.link is not None:
            await directory.continue_from(arguments.link)
            return requests.usage
        await directory.counts()
        users = await directory.users()
        listed = await directory.users_list(users)
        groups = await directory.groups()
        await directory.report()
        await directory.sign_ins()
        await directory.methods(users)
        await directory.deleted_users()
        await directory.latest(arguments.keep_link)
        await lookups.domains()
        await lookups.lockout()
        await lookups.membership(groups)
        await lookups.find(users)
        await lookups.find_deleted()
        lookups.password_dates(listed)
        directory.costs()
        return requests.usage


async def _sign_in(
    arguments: argparse.Namespace, findings: Findings, connect: Connect, ask: Ask, sleep: Sleep
) -> None:
    # From the process alone: a password does not belong in a file of settings.
    name = os.environ.get("PROBE_USER") or ask("User principal name of the test user (not shown): ")
    text = os.environ.get("PROBE_PASSWORD") or ask("Password of the test user (not shown): ")
    test_user = TestUser(name.strip(), Password(text))
    async with connect(None, environment(arguments.settings)) as connection:
        assert connection.sign_in is not None
        questions = SignInQuestions(
            connection.settings,
            Requests(connection.graph),
            await connection.sign_in(),
            findings,
            sleep,
        )
        await questions.self_test()
        account = await questions.look_at(test_user)
        print(PLAN)
        if account.unasked:
            print(f"The app itself would answer `{account.unasked.status}` and try nothing.")
        if not account.roles_are_known:
            print(
                "Graph does not tell whether the user holds a directory role. Make sure that it holds none."
            )
        if arguments.show_link:
            link = connection.settings.cloud.link_to_user(account.user.id)
            print(f"The user's page, as the app links to it; open it and see:\n  {link}")
        if arguments.yes:
            print(flush=True)
            await questions.try_passwords(account, test_user.password)
        else:
            print("No user's password was tried yet. Run it again with --yes.\n")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python docs/live_probe.py", description=__doc__)
    parser.add_argument(
        "--tenant",
        metavar="ID",
        help="with the Azure CLI's sign-in to this tenant, not with the app's settings",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        default=LOCAL_SETTINGS if LOCAL_SETTINGS.is_file() else None,
        help="settings that are not in the environment (default: local.settings.json, if it is there)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings as JSON, too")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument(
        "--keep-link", type=Path, metavar="FILE", help="keep the link of `latest` in a new file"
    )
    steps.add_argument("--continue", type=Path, dest="kept", metavar="FILE", help="ask what that link shows")
    steps.add_argument(
        "--sign-in", action="store_true", help="look at a test user instead, and show what would be tried"
    )
    parser.add_argument("--yes", action="store_true", help="with --sign-in: try it")
    parser.add_argument("--show-link", action="store_true", help="with --sign-in: link to the user's page")
    arguments = parser.parse_args(argv)
    arguments.link = None
    for path in filter(None, (arguments.keep_link, arguments.json)):
        if not path.parent.is_dir():
            parser.error(f"{path.parent} is no folder")
    if arguments.keep_link and arguments.keep_link.exists():
        parser.error(f"{arguments.keep_link} exists already; it is not overwritten")
    if arguments.sign_in and arguments.tenant:
        parser.error("--sign-in needs the app's settings, not --tenant")
    if (arguments.yes or arguments.show_link) and not arguments.sign_in:
        parser.error("--yes and --show-link go with --sign-in")
    if arguments.kept:
        try:
            arguments.link = arguments.kept.read_text().strip()
        except (OSError, UnicodeDecodeError):
            parser.error(f"{arguments.kept} cannot be read")
    return arguments


if __name__ == "__main__":
    # Libraries would warn on the console, some of them with an account's name.
    logging.getLogger().addHandler(logging.NullHandler())
    sys.exit(main())
