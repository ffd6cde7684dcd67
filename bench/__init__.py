"""Measures the app: a full sync beside the least that its pages cost, and beside the SDK's typed loop.

`python -m bench` runs everything and shows one table; `docs/performance.md` explains what is compared with
what. Every measured thing is a process of its own, and speed is only ever a ratio within one run.
"""
