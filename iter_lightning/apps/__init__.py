"""Applications on top of the extractor; each subpackage is one of them."""
