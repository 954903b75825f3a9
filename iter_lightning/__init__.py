"""ITER: entities and relations from one pass of a transformer encoder."""
