"""Who may call the webhook: one interface, one file a scheme, and what keeps a message from being worked twice."""
