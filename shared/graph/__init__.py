"""Microsoft Graph: requests through the official SDK, answers as bytes, one policy for every fault."""
