"""Documents to a memory-mapped token store, and from there to batches that depend on nothing but a step number."""
