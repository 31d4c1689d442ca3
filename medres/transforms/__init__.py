"""How does a file become a network input?

MONAI dictionary transforms over `imaging`: load, normalise, geometry, augmentation; and the
whole preprocessing as one record with a digest.
"""
