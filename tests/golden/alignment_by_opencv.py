"""Writes alignment.npz: what OpenCV's warpAffine makes of three images.

python -m venv VENV && VENV/bin/pip install opencv-python-headless==5.0.0.93
VENV/bin/python tests/golden/alignment_by_opencv.py tests/golden/alignment.npz
"""

import sys

import cv2  # pyright: ignore[reportMissingImports]
import numpy as np

TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
# Width, height, and how much larger than the template, turned by how much (radians), moved by how
# much the face is.
FACES = [
    (90, 110, 0.7, 0.3, (-4, 2)),
    (120, 100, 0.9, -0.2, (18, -6)),
    (64, 64, 0.55, 0.05, (0, 0)),
]


def similarity(points: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Umeyama's, by a singular value decomposition: [2, 3]."""
    from_centre, goal_from_centre = points - points.mean(0), goal - goal.mean(0)
    u, singular, v = np.linalg.svd(goal_from_centre.T @ from_centre)
    sign = np.array([1.0, np.sign(np.linalg.det(u @ v))])
    turn = u @ np.diag(sign) @ v
    scale = (singular * sign).sum() / (from_centre**2).sum()
    return np.hstack([scale * turn, (goal.mean(0) - scale * turn @ points.mean(0))[:, None]])


def main(out: str) -> None:
    random, stored = np.random.default_rng(0), {}
    for number, (width, height, scale, turn, shift) in enumerate(FACES):
        coarse = random.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = (TEMPLATE - 56) @ rotation.T * scale + np.array([width, height]) / 2 + shift
        points += random.normal(0, 1.5, points.shape)
        matrix = similarity(points, TEMPLATE)
        stored |= {f"image{number}": image, f"points{number}": points, f"matrix{number}": matrix}
        # Every other pixel of both directions: enough, and a quarter as large.
        stored[f"aligned{number}"] = cv2.warpAffine(image, matrix, (112, 112), borderValue=0)[
            ::2, ::2
        ]
    np.savez_compressed(out, **stored)


if __name__ == "__main__":
    main(sys.argv[1])
