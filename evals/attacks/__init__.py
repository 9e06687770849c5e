"""The attack kit: every known way around a filter, as generators of prompts.

``registry.ATTACKS`` lists them; ``docs/attacks.md`` is generated from it.  Families are files:
an attack is a function from what is to be drawn out to the prompts that try it.
"""
