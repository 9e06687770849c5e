"""Metrics as pure functions over what came back; each names its formula and source."""
