"""What `live_probe.py` asks a real tenant, and what it makes of the answers. No part of the app."""
