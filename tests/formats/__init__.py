"""Tests of shared/formats and of the published schemas."""
