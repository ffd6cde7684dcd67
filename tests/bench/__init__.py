"""The bench, run at a tiny scale: what it shows, and what it counts. Never what it times."""
