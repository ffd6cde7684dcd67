"""`make demo` and `make sandbox`: a sync watched through the app's API and shown from what it published."""
