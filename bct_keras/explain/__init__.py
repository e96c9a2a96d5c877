"""Explanations: (subject, image [size, size, 3] uint8, reference [dims]) -> [size, size] heat, 0
to 1.

A new one is a function in a file here and a line below; `FOR_ANY` asks an encoder for nothing but
embeddings.
"""

from bct_keras.explain.keras_maps import gradcam_plus_plus, saliency, scorecam
from bct_keras.explain.occlusion import occlusion

FOR_ANY = {"Occlusion": occlusion}
FOR_KERAS = {"Grad-CAM++": gradcam_plus_plus, "Score-CAM": scorecam, "Saliency": saliency}
