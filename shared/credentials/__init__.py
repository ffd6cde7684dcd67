"""Credential validation: is this leaked password still good? Without locking anybody out.

    candidates ─▶ the user in Graph ─▶ answers that need no attempt ─▶ memory ─▶ budgets, charged ─▶ probe
    (what the      (users.py)           (prechecks.py)                 (ledger.py, budgets.py)      (probe.py)
     caller sent)                                                                                      │
                                          audit.py, ledger.py ◀─ verdict (verdicts.py, codes.py) ◀─────┘

`validator.py` holds the order of these steps. All else is one step each.
"""
