"""The in-process engine's server: the same wire as vLLM with the plugin, on transformers."""
