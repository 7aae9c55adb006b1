"""Files of a user's own to examples of a task: readers, columns, forms, checks, findings, splits. No torch."""
