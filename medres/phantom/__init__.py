"""What would a radiograph look like if we knew everything about the patient?

Synthetic chests in closed form, their X-ray projections and CT-like volumes, and the sample data
set that is written from them. Knows no torch.
"""
