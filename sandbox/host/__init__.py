"""A local Azure Functions host: runs a Python v2 app in Microsoft's own worker library, without Core Tools.

Nothing is imported here, so that the time to index an app can be measured (`worker.indexing_seconds`).
"""
