"""``danlu trace``: from a row of a training, or a document, back to the file and the byte that it comes from."""
