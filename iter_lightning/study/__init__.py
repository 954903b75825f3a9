"""More than one run: seeds, folds, sweeps, tables, figures, provenance, launchers."""
