"""What guards need to know of a model, learned from it offline: one file a guard."""
