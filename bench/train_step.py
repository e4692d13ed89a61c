"""What a Python trainer would do in a step: the same networks, WSP loss, Adam and augmentation, eager.

train_step.py [--encoder tinynet|resnet18] [--layout nchw|channels_last] [--threads 2] [--steps N] prints a line
of train_step_bench's form: name, median milliseconds per step, CPU milliseconds per step. --profile prints where the
time goes instead. Needs python3-torch.
"""
import argparse
import math
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

CHANNELS = (1, 16, 32, 64, 128, 256)


def tiny_net(relu_first):
    """Pooling before ReLU gives the same numbers for a quarter of ReLU's work: the faster program of the two."""
    layers = []
    for into, out in zip(CHANNELS, CHANNELS[1:]):
        relu, pool = nn.ReLU(inplace=True), nn.MaxPool2d(2)
        layers += [nn.Conv2d(into, out, 5), *((relu, pool) if relu_first else (pool, relu))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 256, 64


class Block(nn.Module):
    def __init__(self, into, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or into != out:
            self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


def resnet18():
    layers = [nn.Conv2d(1, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
              nn.MaxPool2d(3, 2, 1)]
    into = 64
    for stage in range(4):
        out = 64 << stage
        layers += [Block(into, out, 1 if stage == 0 else 2), Block(out, out, 1)]
        into = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512, 128


def affine(rng, probability=0.5):
    """One map from output to source in grid_sample's coordinates: flips, rotation, translation, resized crop."""
    def applied():
        return rng.random() < probability

    def uniform(low, high):
        return low + (high - low) * rng.random()

    flip_x, flip_y = (-1 if applied() else 1 for _ in range(2))
    angle = math.radians(uniform(-30, 30)) if applied() else 0
    shift_x, shift_y = (uniform(-0.4, 0.4) for _ in range(2)) if applied() else (0, 0)
    w = h = 1.0
    crop_x = crop_y = 0.0
    if applied():
        aspect = math.exp(uniform(-1, 1) * math.log(4 / 3))
        w, h = math.sqrt(0.7 * aspect), math.sqrt(0.7 / aspect)
        crop_x, crop_y = uniform(-1, 1) * (1 - w), uniform(-1, 1) * (1 - h)
    c, s = math.cos(angle), math.sin(angle)
    xx, xy, yx, yy = c * flip_x, s * flip_y, -s * flip_x, c * flip_y
    return [[w * xx, w * xy, crop_x - w * shift_x], [h * yx, h * yy, crop_y - h * shift_y]]


def draw_views(hu, rng):
    n, size = hu.shape[0], hu.shape[1]
    image = hu.unsqueeze(1).float().add_(100).mul_(1 / 500)
    theta = torch.tensor([affine(rng) for _ in range(2 * n)])
    grid = F.affine_grid(theta, (2 * n, 1, size, size), align_corners=False)
    return F.grid_sample(image.repeat(2, 1, 1, 1), grid, align_corners=False)


def wsp_loss(z, label, depth, sigma=0.1, temperature=0.1):
    label, depth = label.repeat(2), depth.repeat(2)
    own = torch.eye(len(z), dtype=torch.bool)
    w = torch.exp((depth[:, None] - depth) ** 2 / (-2 * sigma**2)) * (label[:, None] == label)
    w = w.masked_fill(own, 0)
    w = w / w.sum(1, keepdim=True)
    z = F.normalize(z)
    s = z @ z.t() / temperature
    log_p = s - torch.logsumexp(s.masked_fill(own, -torch.inf), 1, keepdim=True)
    return -(w * log_p).sum(1).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", choices=("tinynet", "resnet18"), default="tinynet")
    parser.add_argument("--layout", choices=("nchw", "channels_last"), default="nchw")
    parser.add_argument("--relu-first", action="store_true", help="TinyNet as in its paper: ReLU, then pooling")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)

    encoder, representation, latent = tiny_net(args.relu_first) if args.encoder == "tinynet" else resnet18()
    head = nn.Sequential(nn.Linear(representation, representation // 2), nn.ReLU(inplace=True),
                         nn.Linear(representation // 2, latent))
    network = nn.Sequential(encoder, head).train()
    memory = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
    network = network.to(memory_format=memory)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-4)

    import random
    rng = random.Random(1)
    hu = torch.randint(-100, 401, (args.batch, args.size, args.size), dtype=torch.int16)
    label = torch.arange(args.batch) % 4
    depth = torch.rand(args.batch, dtype=torch.float64).float()

    def step():
        views = draw_views(hu, rng).contiguous(memory_format=memory)
        optimizer.zero_grad(set_to_none=True)
        loss = wsp_loss(network(views), label, depth)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(args.warm_up):
        step()
    if args.profile:
        with torch.autograd.profiler.profile(record_shapes=True) as profile:
            for _ in range(args.steps):
                step()
        print(profile.key_averages(group_by_input_shape=True).table(sort_by="self_cpu_time_total", row_limit=40,
                                                                     max_name_column_width=40))
        return
    times = []
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(args.steps):
        begin = time.perf_counter()
        loss = step()
        times.append(1000 * (time.perf_counter() - begin))
    end = resource.getrusage(resource.RUSAGE_SELF)
    spent = end.ru_utime + end.ru_stime - cpu.ru_utime - cpu.ru_stime
    print(f"python-{args.layout} {statistics.median(times):.2f} {1000 * spent / args.steps:.2f} loss {loss:.4f}")


if __name__ == "__main__":
    main()
