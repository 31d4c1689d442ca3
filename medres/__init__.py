"""medres: self-configuring 2D grayscale classification, as a MONAI plugin.

The folders are stations on one line, and each imports only from those before it::

    imaging -> data -> phantom -> transforms -> models -> metrics
        -> training -> guard -> bundle -> export -> scoring -> reports -> serving
"""

__version__ = "0.1.0"
