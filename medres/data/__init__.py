"""Which images, whose, and in which split?

The manifest, splits by patient, leakage checks, and normalisation fitted on training patients.
"""
