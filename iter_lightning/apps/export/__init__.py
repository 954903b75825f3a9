"""A trained model for others: the Hugging Face folder with its model card, ONNX graphs, the hub."""
