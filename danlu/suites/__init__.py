"""Questions that a model answers untaught: how likely it finds each answer."""
