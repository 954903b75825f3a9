"""The tables and figures of the paper, made from finished runs; comparison of two systems."""
