"""The ways to explain: what in an image speaks for the cosine of its embedding to a reference.

Each is a function of (subject, image [size, size, 3] uint8, reference [dims]) that returns heat
[size, size], 0 to 1. A new one is a function in a file here and a line below. Those of `FOR_ANY`
ask an encoder for nothing but embeddings.
"""

from bct_keras.explain.keras_maps import gradcam_plus_plus, saliency, scorecam
from bct_keras.explain.occlusion import occlusion

FOR_ANY = {"Occlusion": occlusion}
FOR_KERAS = {"Grad-CAM++": gradcam_plus_plus, "Score-CAM": scorecam, "Saliency": saliency}
