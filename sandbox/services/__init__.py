"""The sandbox's processes: the simulated tenant, Azurite, and the local host with the app."""
