"""What does training leave behind?

A directory in MONAI bundle layout: written, read, checked. Loading it runs none of its code.
"""
