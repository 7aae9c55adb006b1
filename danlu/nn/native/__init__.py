"""C++ of our own, compiled where it first runs, for what torch's compiler does not do well."""
