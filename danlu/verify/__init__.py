"""What a user runs to trust the library, where it is used: comparisons with others, and promises that are tried."""
