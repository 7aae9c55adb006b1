"""What a user runs to trust the library: comparisons with other libraries, on the machine where it is used."""
