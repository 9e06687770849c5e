"""What may be tried against what is to be forgotten: one file a mechanism."""
