"""Each guard, shown at work on the demo model: ``lethe guards show NAME``."""
