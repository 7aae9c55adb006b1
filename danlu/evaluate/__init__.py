"""What a trained model is worth: held-out measures, and the report of a run."""
