"""What guards cost inside the engine: stock vLLM and ours, interleaved in one run."""
