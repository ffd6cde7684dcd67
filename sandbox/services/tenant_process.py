"""`python -m sandbox.services.tenant_process`: a generated tenant over TLS until it is interrupted."""

import argparse
import asyncio
import gc
import signal
import ssl
import sys
from pathlib import Path

from sandbox.tenant import Tenant, TenantServer, generate

READY = "Tenant ready on"


def main() -> int:
    arguments = _arguments()
    return asyncio.run(_serve(arguments))


async def _serve(arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tenant = Tenant(generate(users=arguments.users, seed=arguments.seed))
    # A company of 50,000 is millions of objects that will not become garbage.
    gc.freeze()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(arguments.certificate, arguments.key)
    async with TenantServer(tenant, context) as server:
        print(f"{READY} {server.url}", flush=True)
        await stop.wait()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.services.tenant_process", description=__doc__)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--certificate", type=Path, required=True, help="PEM")
    parser.add_argument("--key", type=Path, required=True, help="PEM")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
