"""What do the pixels of a file mean?

From a DICOM, NIfTI, PNG, JPEG or npz file to the grayscale that a reading workstation would
show, or to modality units. Knows no torch. Polarity, windows and LUTs: `grayscale`.
"""
