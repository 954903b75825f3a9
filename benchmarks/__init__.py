"""Benchmarks of speed and memory, and measures of the code; part of a checkout, not of the installed package."""
