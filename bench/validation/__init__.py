"""Measures what credential validation adds to the two services that it waits for.

upstream.py     a process: the simulated tenant, which answers after a known time and says how long it took
app.py          a process: the app and its callers; prints what each call took
costs.py        what is printed
measure.py      starts the two and a real Azurite
summary.py      verdicts and tables
"""
