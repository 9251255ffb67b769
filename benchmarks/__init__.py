"""Measurements, each with the command that gives it: see docs/performance.md."""
