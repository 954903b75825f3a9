"""Export of a trained model as a folder for the Hugging Face hub, with its model card."""
