"""Applications on top of extraction and training: thin layers over libraries."""
