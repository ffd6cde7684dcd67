"""What deploys the app: templates, scripts, and the package."""
