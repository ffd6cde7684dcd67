"""What the product's own errors mean for a row. Throttling and silence are never a missing permission."""

from shared.connection.interface import Finding, Status
from shared.errors import (
    ConfigurationError,
    EntraConnectorError,
    GraphError,
    GraphRefused,
    GraphRequestRejected,
    GraphThrottled,
    InvalidPage,
    SecretTrouble,
    SecretUnavailable,
    SignInRefused,
)

VAULT_STATUS: dict[SecretTrouble, Status] = {
    "missing": "misconfigured",
    "unusable": "misconfigured",
    "no-identity": "misconfigured",
    "refused": "missing-permission",
    "firewall": "unreachable",
    "unreachable": "unreachable",
}
ASK_AGAIN = "Ask again in some minutes; if it stays so, check the app's outbound network."


def finding_of(error: EntraConnectorError) -> Finding:
    """What an error says that a check did not look at more closely. Its message has what to do as well."""
    match error:
        case SecretUnavailable():
            status = VAULT_STATUS[error.trouble]
            return Finding(status, f"Not checked: {error}", "First settle the rows of Key Vault.")
        case SignInRefused():
            return sign_in_finding(error)
        case GraphError():
            return graph_finding(error)
        case ConfigurationError():
            return Finding("misconfigured", " ".join(error.problems), "Correct the settings that it names.")
        case _:
            return Finding("unreachable", str(error), ASK_AGAIN)


def sign_in_finding(error: SignInRefused, fix: str | None = None) -> Finding:
    """The sentence of `shared/identity/refusals.py`: what happened, and what to do."""
    if error.unreachable:
        return Finding("unreachable", str(error), ASK_AGAIN)
    return Finding("misconfigured", str(error), fix or "docs/identity.md says what the code asks for.")


def graph_finding(error: GraphError, grant: str = "Grant it, and give admin consent.") -> Finding:
    """`grant` is how the permission is granted, where that is what is missing."""
    match error:
        case GraphThrottled():
            return Finding(
                "unreachable",
                f"Graph throttles the app. This says nothing about the permission. ({error})",
                f"Ask again in {max(1, round(error.retry_after))} s; if it stays so, look for another app "
                "that asks too much.",
            )
        case GraphRefused() if error.status == 401:
            return Finding("misconfigured", str(error), "Check ENTRA_TENANT_ID and ENTRA_CLOUD.")
        case GraphRefused() if error.reason == "licence":
            return Finding(
                "missing-licence",
                str(error),
                "Get Microsoft Entra ID P1 or P2, or take the dataset out of DIRECTORY_DATASETS.",
            )
        case GraphRefused() if not error.code:
            return Finding(
                "unreachable",
                "Something between the app and Graph answers 403: the answer is none of Graph's.",
                "Let the app reach Graph without a proxy or a firewall that answers in its place.",
            )
        case GraphRefused():
            return Finding("missing-permission", str(error), grant)
        case GraphRequestRejected():
            return Finding(
                "misconfigured", str(error), "Check ENTRA_CLOUD; docs/graph.md says what is asked of Graph."
            )
        case InvalidPage():
            return Finding(
                "unreachable",
                str(error),
                "Let the app reach Graph without a proxy that changes answers.",
            )
        case _:
            return Finding("unreachable", str(error), ASK_AGAIN)
