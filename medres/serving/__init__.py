"""How does one look at runs and scored archives on this machine?

A small local page on the loopback alone: runs beside each other, their evidence, archives as
worklists. It reads, and changes nothing.
"""
