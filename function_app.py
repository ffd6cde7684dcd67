"""Composition root: what Azure Functions finds here is what the app does."""

import azure.functions as func

from functions.connection import connection
from functions.credentials import credentials
from functions.directory_sync import directory_sync

app = func.FunctionApp()
app.register_functions(directory_sync)
app.register_functions(credentials)
app.register_functions(connection)
