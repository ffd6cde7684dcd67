"""What can keep the host from running an app.

HostError
├── IndexingFailed      the worker library could not load function_app.py
├── SettingMissing      a binding names an app setting that is not there
├── UnsupportedApp      the app is right, but uses something that this local host does not do
├── InvalidSetting      a value that the real host would refuse too (schedule, host.json)
└── InvocationFailed    a function raised, or ran longer than functionTimeout
"""

from __future__ import annotations


class HostError(Exception):
    """Base of everything that the host reports about an app."""


class IndexingFailed(HostError):
    """The worker library answered `Failure`; `stack_trace` is the app's, when there is one."""

    def __init__(self, message: str, stack_trace: str = "") -> None:
        super().__init__(message)
        self.stack_trace = stack_trace


class SettingMissing(HostError):
    """An app setting that a binding needs is not in the environment."""


class UnsupportedApp(HostError):
    """The app needs a binding, route constraint or retry policy that only the real host has."""


class InvalidSetting(HostError):
    """A schedule, host.json or connection value that cannot be read."""


class InvocationFailed(HostError):
    """A function raised. `stack_trace` is what the worker library reports."""

    def __init__(self, function: str, message: str, stack_trace: str = "") -> None:
        super().__init__(f"{function}: {message}")
        self.stack_trace = stack_trace
