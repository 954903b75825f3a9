"""A trained model behind HTTP: requests of many clients share the model's batches."""
