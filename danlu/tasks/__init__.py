"""What models are used for: forms of data, heads, scores."""
