"""Plan, launch, resume, and collect runs."""
