"""What our training step on a card is set beside: the method of the paper in PyTorch, written from its description.

baseline.py --mode eager|compiled [--encoder tinynet|resnet18] [--device cuda] prints one JSON object: milliseconds per step
(a row of steps, waited for as a whole), the peak of memory and the loss.

eager: float32 with PyTorch's own defaults (cuDNN may use TF32, matrix products may not), augmentations one after the other.
compiled: torch.compile, channels-last, bfloat16 autocast, all augmentations of a view in one grid_sample.
"""
import argparse
import json
import math
import pathlib
import random
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from train_step import affine, resnet18, tiny_net  # noqa: E402  the same networks as on the CPU


def one_by_one(image, rng, probability=0.5):
    """The paper's augmentations of one view, each its own operation on the slices that it was drawn for."""
    n, _, size, _ = image.shape

    def drawn():
        return [i for i in range(n) if rng.random() < probability]

    def sampled(rows, theta):
        part = image[rows]
        grid = F.affine_grid(torch.tensor(theta, device=image.device), part.shape, align_corners=False)
        image[rows] = F.grid_sample(part, grid, align_corners=False)

    image = image.clone()
    for axis in (3, 2):
        rows = drawn()
        if rows:
            image[rows] = image[rows].flip(axis)
    rows = drawn()
    if rows:
        angles = [math.radians(rng.uniform(-30, 30)) for _ in rows]
        sampled(rows, [[[math.cos(a), math.sin(a), 0.0], [-math.sin(a), math.cos(a), 0.0]] for a in angles])
    rows = drawn()
    if rows:
        sampled(rows, [[[1.0, 0.0, rng.uniform(-0.4, 0.4)], [0.0, 1.0, rng.uniform(-0.4, 0.4)]] for _ in rows])
    for i in drawn():
        aspect = math.exp(rng.uniform(-1, 1) * math.log(4 / 3))
        h, w = min(size, round(size * math.sqrt(0.7 / aspect))), min(size, round(size * math.sqrt(0.7 * aspect)))
        top, left = rng.randint(0, size - h), rng.randint(0, size - w)
        crop = image[i:i + 1, :, top:top + h, left:left + w]
        image[i:i + 1] = F.interpolate(crop, size=(size, size), mode="bilinear", align_corners=False)
    return image


def views_one_by_one(hu, rng):
    image = (hu.unsqueeze(1).float() + 100) / 500
    return torch.cat([one_by_one(image, rng), one_by_one(image, rng)])


def views_at_once(hu, rng):
    n, size = hu.shape[0], hu.shape[1]
    image = (hu.unsqueeze(1).float() + 100) / 500
    theta = torch.tensor([affine(rng) for _ in range(2 * n)]).to(hu.device, non_blocking=True)
    grid = F.affine_grid(theta, (2 * n, 1, size, size), align_corners=False)
    return F.grid_sample(image.repeat(2, 1, 1, 1), grid, align_corners=False)


def wsp_loss(z, label, depth, sigma=0.1, temperature=0.1):
    """Equation 4: every other view is a positive, weighted by the kernel of depths within the same label."""
    label, depth = label.repeat(2), depth.repeat(2)
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    w = torch.exp((depth[:, None] - depth) ** 2 / (-2 * sigma**2)) * (label[:, None] == label)
    w = w.masked_fill(own, 0)
    w = w / w.sum(1, keepdim=True)
    z = F.normalize(z.float())
    s = z @ z.t() / temperature
    log_p = s - torch.logsumexp(s.masked_fill(own, -torch.inf), 1, keepdim=True)
    return -(w * log_p).sum(1).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("eager", "compiled"), required=True)
    parser.add_argument("--encoder", choices=("tinynet", "resnet18"), default="tinynet")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=5)
    args = parser.parse_args()
    on_card = args.device.startswith("cuda")
    compiled = args.mode == "compiled"
    torch.manual_seed(1)
    # The method's own order, ReLU and then pooling; the compiled program gets the cheaper one, which computes the same.
    encoder, representation, latent = tiny_net(not compiled) if args.encoder == "tinynet" else resnet18()
    head = nn.Sequential(nn.Linear(representation, representation // 2), nn.ReLU(inplace=True),
                         nn.Linear(representation // 2, latent))
    network = nn.Sequential(encoder, head).train().to(args.device)
    views_of = views_one_by_one
    run = network
    if compiled:
        views_of = views_at_once
        network = network.to(memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True
        run = torch.compile(network) if hasattr(torch, "compile") else network
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-4,
                                 **({"fused": True} if compiled and on_card else {}))
    rng = random.Random(1)
    hu = torch.randint(-100, 401, (args.batch, args.size, args.size), dtype=torch.int16).to(args.device)
    label = (torch.arange(args.batch) % 4).to(args.device)
    depth = torch.rand(args.batch).to(args.device)

    def step():
        views = views_of(hu, rng)
        if compiled:
            views = views.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda" if on_card else "cpu", torch.bfloat16, enabled=compiled):
            z = run(views)
        loss = wsp_loss(z, label, depth)
        loss.backward()
        optimizer.step()
        return loss

    def wait():
        if on_card:
            torch.cuda.synchronize()

    for _ in range(args.warm_up):
        step()
    wait()
    if on_card:
        torch.cuda.reset_peak_memory_stats()
    used = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.perf_counter()
    for _ in range(args.steps):
        loss = step()
    wait()
    ms = 1000 * (time.perf_counter() - begin) / args.steps
    end = resource.getrusage(resource.RUSAGE_SELF)
    found = {"ms": ms, "loss": loss.item(), "torch": torch.__version__, "compiled": hasattr(torch, "compile") and compiled,
             "cpu_ms": 1000 * (end.ru_utime + end.ru_stime - used.ru_utime - used.ru_stime) / args.steps}
    if on_card:
        found["peak_MiB"] = torch.cuda.max_memory_allocated() / 2**20
        found["card"] = torch.cuda.get_device_name()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
