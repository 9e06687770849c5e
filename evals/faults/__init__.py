"""Deliberately broken variants of the product, to show that the enforcement suite finds them."""
