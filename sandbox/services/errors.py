"""What keeps the sandbox from doing what it was asked."""


class SandboxError(Exception):
    """A sentence for the person at the terminal: what is wrong, and what to do."""
