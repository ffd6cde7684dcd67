"""Queues over TLS with the managed identity, shared keys unused: the way of a deployed app."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from azure.storage.queue import QueueClient

from sandbox.azurite import Azurite
from sandbox.certificates import make_server_certificates
from tests.sandbox.host_process import HostProcess, eventually
from tests.sandbox.test_host import enqueue


def unsigned_token() -> str:
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000001/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in [*parts, b"signature"])


@contextmanager
def identity_endpoint(requests: list[tuple[str, str | None]]) -> Iterator[str]:
    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append((self.path, self.headers["X-IDENTITY-HEADER"]))
            token = {"access_token": unsigned_token(), "expires_on": int(time.time()) + 3600}
            body = json.dumps(
                token | {"token_type": "Bearer", "resource": "https://storage.azure.com"}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/msi/token"
        finally:
            server.shutdown()
            thread.join()


def test_message_is_read_with_the_managed_identity(tmp_path: Path) -> None:
    certificates = make_server_certificates(tmp_path)
    requests: list[tuple[str, str | None]] = []
    with Azurite(certificates=certificates) as azurite, identity_endpoint(requests) as endpoint:
        account = azurite.account()
        environment = certificates.environment | {
            "STORE__queueServiceUri": account.queue_uri,
            "AZURE_CLIENT_ID": "11111111-0000-0000-0000-000000000000",
            "IDENTITY_ENDPOINT": endpoint,
            "IDENTITY_HEADER": "secret of the instance",
        }
        with QueueClient.from_connection_string(
            account.connection_string, "work", connection_verify=str(certificates.authority)
        ) as queue:
            queue.create_queue()
            with HostProcess(environment) as host:
                enqueue(queue, "by identity")
                eventually(lambda: "by identity" in [entry.get("text") for entry in host.seen()])
    path, header = requests[0]
    assert "client_id=11111111-0000-0000-0000-000000000000" in path
    assert "resource=https://storage.azure.com" in path
    assert header == "secret of the instance"
