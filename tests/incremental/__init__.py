"""Incremental runs: what a snapshot becomes when only what changed is read."""
