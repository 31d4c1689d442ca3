"""What do the pixels of a file mean?

From a DICOM, NIfTI, PNG, JPEG or npz file to the grayscale that a reading workstation would
show, or to modality units. Knows no torch. The door is `read`; polarity, windows, LUTs and
padding are `grayscale`'s; how a DICOM header asks for them is `dicom_rendering`'s.
"""
