"""What the enforcement suite asks, and how each answer is judged."""
