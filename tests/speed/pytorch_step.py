"""PyTorch's side of train.py, for a Python that has torch and nothing of ours: images/s of each
memory layout.

iResNet-18 with a softmax over 100 classes at 112 x 112, forward, backward, and SGD with momentum
and weight decay.
"""

import json
import statistics
import sys
import time

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]


class Block(nn.Module):
    def __init__(self, given: int, width: int, stride: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(given),
            nn.Conv2d(given, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        narrowed = [nn.Conv2d(given, width, 1, stride, bias=False), nn.BatchNorm2d(width)]
        self.shortcut = nn.Sequential(*(narrowed if stride > 1 else []))

    def forward(self, features):
        return self.branch(features) + self.shortcut(features)


def network(classes: int) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.PReLU(64),
    ]
    given = 64
    for width in (64, 128, 256, 512):
        layers += [Block(given, width, 2), Block(width, width, 1)]
        given = width
    ending = [nn.BatchNorm2d(512), nn.Flatten(), nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)]
    return nn.Sequential(*layers, *ending, nn.Linear(512, classes, bias=False))


def images_per_second(batch_size: int, layout: torch.memory_format) -> float:
    model = network(100).to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    images = torch.rand(batch_size, 3, 112, 112).contiguous(memory_format=layout)
    labels = torch.arange(batch_size) % 100
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return batch_size / statistics.median(seconds[2:])


if __name__ == "__main__":
    layouts = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
    print(
        json.dumps(
            {name: images_per_second(int(sys.argv[1]), layout) for name, layout in layouts.items()}
        )
    )
