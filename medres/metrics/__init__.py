"""How good is it, and how sure are we?

Clinical metrics in torch, float64 inside, each with an interval whose formula is named. Knows
no files.
"""
