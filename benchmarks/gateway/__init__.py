"""What the gateway costs, beside a bare relay and another proxy, in one run."""
