"""Hyperparameter search with SMAC."""
