"""The product: what Entra Connector does, without any Azure Functions type."""
