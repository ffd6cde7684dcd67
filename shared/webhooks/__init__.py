"""Who may call the webhook: one interface, one file a scheme, and no call worked twice."""
