"""Which images, whose, and in which split?

The manifest, splits by patient, leakage checks, normalisation fitted on training patients, and
the synthetic radiographs of the sample data.
"""
