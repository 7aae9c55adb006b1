"""Work on many things, shared among processes of this machine or of a Ray cluster."""
