"""Many runs: plans and launchers, tables and figures of the paper, hyperparameter sweeps, the W&B dashboard."""
