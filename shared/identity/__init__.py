"""Who the app is: its own identity, the secrets that it may read, and its sign-in to Microsoft Graph.

Everything here belongs to the event loop that it is first used on. Imports of the Azure SDK wait until then.
"""
