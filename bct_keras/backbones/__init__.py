"""Holds the backbones: an image of 0..255 in, an embedding out.

A new one is a function in a file here and a line below.
"""

from bct_keras.backbones import applications, iresnet, mobilefacenet, vit

BACKBONES = {
    "iresnet18": iresnet.iresnet18,
    "iresnet34": iresnet.iresnet34,
    "iresnet50": iresnet.iresnet50,
    "iresnet100": iresnet.iresnet100,
    "iresnet200": iresnet.iresnet200,
    "iresnet_small": iresnet.iresnet_small,
    "mobilefacenet": mobilefacenet.mobilefacenet,
    "vit_tiny": vit.vit_tiny,
    "vit_small": vit.vit_small,
    "vit_base": vit.vit_base,
    "applications": applications.applications,
}
