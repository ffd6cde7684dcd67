"""The SDK as its documentation shows it: typed answers, next links followed. Objects are read and let go.

Nothing is joined, encoded or stored. The client is the SDK's own, over plain HTTP/1.1, without a token. The
first page of all is read once before, so that loading the models is not counted.
"""

import argparse
import asyncio
import sys
import time
from typing import Any

import httpx
import msgspec
from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph_core import GraphClientFactory

from bench.processes.measure import peak_bytes
from bench.processes.sync import MODELS
from bench.results import TypedCost
from shared.graph.queries import LIST_PAGE, USER_PROPERTIES


async def measure(origin: str, user_pages: int, group_pages: int) -> TypedCost:
    """So many pages of users and of groups, and one of the report: the first ones."""
    cost = TypedCost({}, {}, {}, 0, 0)
    async with httpx.AsyncClient(timeout=60) as http:
        adapter = GraphRequestAdapter(
            AnonymousAuthenticationProvider(),
            client=GraphClientFactory.create_with_default_middleware(client=http),
        )
        adapter.base_url = f"{origin}/v1.0"
        graph: Any = GraphServiceClient(request_adapter=adapter)
        loops: dict[str, tuple[Any, Any, int]] = {
            "users": (graph.users, _selected_users(), user_pages),
            "groups": (graph.groups.delta, None, group_pages),
            "authentication": (graph.reports.authentication_methods.user_registration_details, None, 1),
        }
        for kind, (builder, configuration, most) in loops.items():
            answer = await builder.get(request_configuration=configuration)  # loads the models
            start = time.process_time()
            answer = await builder.get(request_configuration=configuration)
            objects, read = 0, 0
            while True:
                objects += len(answer.value or [])
                read += 1
                if not answer.odata_next_link or read >= most:
                    break
                answer = await builder.with_url(answer.odata_next_link).get()
            cost.cpu[kind] = time.process_time() - start
            cost.objects[kind] = objects
            cost.pages[kind] = read
    cost.model_modules = sum(name.startswith(MODELS) for name in sys.modules)
    cost.peak = peak_bytes()
    return cost


def _selected_users() -> Any:
    from msgraph.generated.users.users_request_builder import UsersRequestBuilder

    parameters = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(
        select=USER_PROPERTIES.removesuffix(",manager").split(","),
        expand=["manager($select=id)"],
        top=LIST_PAGE,
    )
    return RequestConfiguration(query_parameters=parameters)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.processes.typed", description=__doc__)
    parser.add_argument("--origin", required=True)
    parser.add_argument("--user-pages", type=int, required=True)
    parser.add_argument("--group-pages", type=int, required=True)
    arguments = parser.parse_args()
    cost = asyncio.run(measure(arguments.origin, arguments.user_pages, arguments.group_pages))
    print(msgspec.json.encode(cost).decode())


if __name__ == "__main__":
    main()
