"""A tiny labelled data set of pictures: a bright square is the finding."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(
    folder: Path, patients: int = 30, per_patient: int = 2, size: int = 40, seed: int = 0
) -> Path:
    """Write pictures and their manifest; returns the manifest's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        label = patient % 2
        for number in range(per_patient):
            pixels = rng.normal(100, 20, (size, size + 8))
            if label:
                row, column = rng.integers(4, size - 14, 2)
                pixels[row : row + 10, column : column + 10] += 90
            name = f"{patient}_{number}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
            rows.append((name, f"patient-{patient}", label))
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "patient_id", "label"])
        table.writerows(rows)
    return manifest
