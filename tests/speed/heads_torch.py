"""A step of PyTorch with the mathematics of heads.py's: seconds of each, as JSON.

Run by heads.py.
"""

import json
import math
import sys
import time

import torch  # pyright: ignore[reportMissingImports]

MARGIN, SCALE, MOMENTUM, L2, RATE = 0.5, 64.0, 0.9, 5e-4, 0.1


def loss_of(embeddings, weights, labels):
    normalize = torch.nn.functional.normalize
    cosine = torch.nn.functional.linear(normalize(embeddings), normalize(weights)).clamp(-1, 1)
    places = (torch.arange(len(labels)), labels)
    own = cosine[places]
    # cos(t + m) = cos t cos m - sin t sin m
    turned = own * math.cos(MARGIN) - torch.sqrt((1 - own * own).clamp(min=1e-6)) * math.sin(MARGIN)
    return torch.nn.functional.cross_entropy(SCALE * cosine.index_put(places, turned), labels)


def full_step(layer, weights, images, labels):
    optimizer = torch.optim.SGD(
        [*layer.parameters(), weights], RATE, momentum=MOMENTUM, weight_decay=L2
    )

    def step():
        optimizer.zero_grad()
        loss_of(layer(images), weights, labels).backward()
        optimizer.step()

    return step


def sampled_step(layer, weights, images, labels, share):
    optimizer = torch.optim.SGD(layer.parameters(), RATE, momentum=MOMENTUM, weight_decay=L2)
    weights = weights.detach()
    buffer = torch.zeros_like(weights)
    count = math.ceil(share * len(weights))

    def step():
        optimizer.zero_grad()
        numbers = torch.rand(len(weights))
        numbers[labels] = 2.0
        chosen = torch.topk(numbers, count)[1].sort()[0]
        rows = weights[chosen].requires_grad_()
        loss_of(layer(images), rows, torch.searchsorted(chosen, labels)).backward()
        optimizer.step()
        with torch.no_grad():
            moved = buffer[chosen].mul_(MOMENTUM).add_(rows.grad).add_(rows, alpha=L2)
            buffer[chosen] = moved
            weights[chosen] = rows.sub_(moved, alpha=RATE)

    return step


def main() -> None:
    classes, dims, batch, share, repeats = (float(value) for value in sys.argv[1:])
    torch.manual_seed(0)
    layer = torch.nn.Linear(int(dims), int(dims))
    weights = torch.nn.Parameter(torch.randn(int(classes), int(dims)) * 0.01)
    images, labels = (
        torch.randn(int(batch), int(dims)),
        torch.randint(0, int(classes), (int(batch),)),
    )
    given = (layer, weights, images, labels)
    step = full_step(*given) if share == 1 else sampled_step(*given, share)
    seconds = []
    for _ in range(3 + int(repeats)):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": sorted(seconds[3:])[int(repeats) // 2]}))


if __name__ == "__main__":
    main()
