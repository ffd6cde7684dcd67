"""Stand-in for the generated protobuf module that the worker library gets injected as `protos`.

The library never imports protobuf. While it indexes an app it only builds these messages and compares with
a few constants, whose numbers are those of FunctionRpc.proto; invocations take the native path, without
messages.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar


class StatusResult(SimpleNamespace):
    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1


class BindingInfo(SimpleNamespace):
    """Direction (`out`, `inout`) and data type (`undefined`) of a binding."""

    undefined: ClassVar[int] = 0
    out: ClassVar[int] = 1
    inout: ClassVar[int] = 2


class RpcException(SimpleNamespace):
    """`message` and `stack_trace`."""


class RpcFunctionMetadata(SimpleNamespace):
    """`name`, `function_id`, `raw_bindings` (JSON text each), `retry_options`."""


class RpcRetryOptions(SimpleNamespace):
    """`max_retry_count`, `retry_strategy` and its intervals."""


class WorkerMetadata(SimpleNamespace):
    """Versions of the worker."""


class WorkerInitResponse(SimpleNamespace):
    """`result` and `capabilities`."""


class FunctionMetadataResponse(SimpleNamespace):
    """`function_metadata_results` and `result`."""


class FunctionLoadResponse(SimpleNamespace):
    """`function_id` and `result`."""
