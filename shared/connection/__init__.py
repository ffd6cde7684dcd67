"""The Test connector: permission by permission, what works and what to do about the rest.

settings ─▶ checks.py chooses ─▶ run.py tries them side by side ─▶ one row a capability
                                 └ vault.py, storage.py, sign_in.py, graph.py, validation_app.py
"""
