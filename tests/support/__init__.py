"""What tests share: a world of tenant, storage and sync, in one process and on one event loop."""
