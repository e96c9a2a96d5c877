"""InsightFace's iResNet, an image of 0..255 in and an embedding out.

The model normalises its pixels itself, so that whoever runs the saved encoder cannot forget to.
"""

import keras
from keras import layers


def iresnet18(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    return iresnet(image_size, dims, (2, 2, 2, 2), (64, 128, 256, 512), dropout, "iresnet18")


def iresnet34(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    return iresnet(image_size, dims, (3, 4, 6, 3), (64, 128, 256, 512), dropout, "iresnet34")


def iresnet50(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    return iresnet(image_size, dims, (3, 4, 14, 3), (64, 128, 256, 512), dropout, "iresnet50")


def iresnet100(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    return iresnet(image_size, dims, (3, 13, 30, 3), (64, 128, 256, 512), dropout, "iresnet100")


def iresnet200(image_size: int, dims: int, dropout: float = 0.0) -> keras.Model:
    return iresnet(image_size, dims, (6, 26, 60, 6), (64, 128, 256, 512), dropout, "iresnet200")


def iresnet_small(image_size: int, dims: int, width: int = 32, dropout: float = 0.0) -> keras.Model:
    """Eight layers for images of 28 to 64 pixels, small enough to train on two CPU cores in a minute."""
    widths = (width, 2 * width, 4 * width)
    return iresnet(image_size, dims, (1, 1, 1), widths, dropout, "iresnet_small", stem_stride=2)


def iresnet(image_size, dims, depths, widths, dropout, name, stem_stride=1):
    """https://arxiv.org/abs/2004.04989, in the form of InsightFace's arcface_torch."""
    image = keras.Input((image_size, image_size, 3), name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    features = convolution(features, widths[0], kernel=3, stride=stem_stride)
    features = prelu(batch_norm(features))
    for depth, width in zip(depths, widths, strict=True):
        for block in range(depth):
            features = residual_block(features, width, stride=2 if block == 0 else 1)
    features = batch_norm(features)
    features = layers.Dropout(dropout)(features)
    features = layers.Flatten()(features)
    features = layers.Dense(dims)(features)
    # The scale is fixed at 1: the head only sees directions. float32 whatever the precision policy.
    embedding = batch_norm(features, scale=False, dtype="float32")
    return keras.Model(image, embedding, name=name)


def residual_block(features, width, stride):
    shortcut = features
    if stride != 1:
        # The same numbers as a strided 1x1 convolution, whose gradient one_dnn.py tells about.
        shortcut = batch_norm(convolution(features[:, ::stride, ::stride], width, kernel=1, stride=1))
    features = batch_norm(features)
    features = convolution(features, width, kernel=3, stride=1)
    features = prelu(batch_norm(features))
    features = convolution(features, width, kernel=3, stride=stride)
    features = batch_norm(features)
    return layers.Add()([features, shortcut])


def convolution(features, width, kernel, stride):
    features, padding = padded(features, kernel, stride)
    start = keras.initializers.RandomNormal(stddev=0.1)
    convolve = layers.Conv2D(width, kernel, stride, padding, use_bias=False, kernel_initializer=start)  # pyright: ignore
    return convolve(features)


def padded(features, kernel, stride):
    """What a convolution is given, and its padding, for as many rows above as below."""
    if stride == 1:
        return features, "same"
    # Where the stride is larger, "same" pads on one side only; where it is 1, this layer would cost a copy.
    return layers.ZeroPadding2D(kernel // 2)(features), "valid"


def batch_norm(features, **options):
    # Synchronized, so that two replicas train as one does.
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=True, **options)(features)


def prelu(features):
    start = keras.initializers.Constant(0.25)
    return layers.PReLU(alpha_initializer=start, shared_axes=[1, 2])(features)  # pyright: ignore[reportArgumentType]
