"""Training with Lightning: the module, a data module a corpus, and the run folder."""
