"""The whole app as a person meets it: processes, TLS, real SDKs, queues and storage."""
