"""The least time that a training step can take on a card: FLOPs and bytes counted layer by layer, each layer at the card's peak.

roofline.py [--encoder tinynet|resnet18] [--batch 64] [--size 512] [--card "NVIDIA H200"] [--tflops N --gbps N] [--bytes 2]
            [--layers] [--json|--markdown]
--card: by the name that the driver gives it, where PEAKS knows that; --tflops and --gbps: the peaks of another one, dense, from its
data sheet; --bytes: of a number in memory; --layers: the layers of each ResNet stage one by one.
The stages have their names from here alone: `gpu_bench layers` times what key() calls them, and measure.py joins the two.

What is counted. A convolution of two views: 2 FLOPs per multiplication and addition, forward once, backward twice (input and
weights; the first layer needs no gradient of its input). Bytes: every tensor that one fused kernel must read or write, once:
input, weights and output of a layer; its saved input and the gradients of both backward. ReLU and pooling ride in the
convolution before them (TinyNet keeps one byte per pooled pixel, which of four won); batch normalisation reads its input once more than the
convolution wrote it, since its statistics are of the whole batch. A floor is max(FLOPs / peak, bytes / bandwidth), summed.
"""
import argparse
import json
import re

# By the name that the driver gives the card: TFLOP/s of half precision on tensor cores with sums in float32, dense, and GB/s of its
# memory, from NVIDIA's data sheets and architecture papers. A part of a card (MIG) has another name, and no entry.
PEAKS = {
    "NVIDIA B200": (2250, 8000),
    "NVIDIA GH200 480GB": (989, 4000),
    "NVIDIA H200": (989, 4800),
    "NVIDIA H200 NVL": (836, 4800),
    "NVIDIA H100 80GB HBM3": (989, 3350),
    "NVIDIA H100 NVL": (835, 3900),
    "NVIDIA H100 PCIe": (756, 2000),
    "NVIDIA A100-SXM4-80GB": (312, 2039),
    "NVIDIA A100-SXM4-40GB": (312, 1555),
    "NVIDIA A100 80GB PCIe": (312, 1935),
    "NVIDIA A100-PCIE-40GB": (312, 1555),
    "NVIDIA A40": (150, 696),
    "NVIDIA A30": (165, 933),
    "NVIDIA A10": (125, 600),
    "NVIDIA RTX A6000": (155, 768),
    "NVIDIA L40S": (362, 864),
    "NVIDIA L40": (181, 864),
    "NVIDIA L4": (121, 300),
    "NVIDIA GeForce RTX 5090": (209, 1792),
    "NVIDIA GeForce RTX 4090": (165, 1008),
    "NVIDIA GeForce RTX 3090": (71, 936),
    "Tesla V100S-PCIE-32GB": (130, 1134),
    "Tesla V100-SXM2-32GB": (125, 900),
    "Tesla V100-SXM2-16GB": (125, 900),
    "Tesla V100-PCIE-32GB": (112, 900),
    "Tesla V100-PCIE-16GB": (112, 900),
    "Tesla T4": (65, 320),
}


def convolution(name, n, into, out, kernel, stride, padding, side, first=False, pooled=1, winner=0, norm=False):
    """A layer on square images: its side afterwards and (name, forward, backward), each (FLOPs, numbers moved, bytes beside)."""
    after = (side + 2 * padding - kernel) // stride + 1
    kept = after // pooled
    flops = 2 * n * out * after * after * into * kernel * kernel
    weights = into * out * kernel * kernel
    x, y = n * into * side * side, n * out * kept * kept
    passes = 2 if norm else 0  # written by the convolution, read by the normalisation
    forward = (flops, x + weights + y + passes * n * out * after * after, winner * y)
    # Gradient of y, saved x and weights are read; gradients of x and weights written.
    backward = (flops * (1 if first else 2), y + x + 2 * weights + (0 if first else x) + passes * n * out * after * after, winner * y)
    return kept, (name, forward, backward)


def tinynet(n, side):
    layers, into = [], 1
    for i, out in enumerate((16, 32, 64, 128, 256)):
        side, layer = convolution(f"conv{i + 1} 5x5, pool, ReLU", n, into, out, 5, 1, 0, side, first=i == 0, pooled=2, winner=1)
        layers.append(layer)
        into = out
    return layers, sum(a * b * 25 + b for a, b in zip((1, 16, 32, 64, 128), (16, 32, 64, 128, 256))), 256, 64


def resnet18(n, side):
    layers, parameters = [], 64 * 49 + 128
    side, layer = convolution("conv1 7x7/2, norm, pool", n, 1, 64, 7, 2, 3, side, first=True, pooled=2, winner=1, norm=True)
    layers.append(layer)
    into = 64
    for stage in range(4):
        out = 64 << stage
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            name = f"layer{stage + 1}.{block}"
            if stride == 2:
                _, layer = convolution(name + " 1x1/2", n, into, out, 1, 2, 0, side, norm=True)
                layers.append(layer)
                parameters += into * out + 2 * out
            side, layer = convolution(name + " 3x3", n, into, out, 3, stride, 1, side, norm=True)
            layers.append(layer)
            _, layer = convolution(name + " 3x3, sum", n, out, out, 3, 1, 1, side, norm=True)
            layers.append(layer)
            parameters += 9 * (into * out + out * out) + 4 * out
            into = out
    return layers, parameters, 512, 128


def stages(encoder, batch, size, bytes_each):
    """[(name, FLOPs, bytes)] of a whole step."""
    n = 2 * batch
    layers, parameters, representation, latent = (tinynet if encoder == "tinynet" else resnet18)(n, size)
    parameters += representation * (representation // 2 + latent // 2) + representation // 2 + latent
    found = [("augmentation", 16 * n * size * size, batch * size * size * 2 + n * size * size * bytes_each)]
    for name, forward, backward in layers:
        found.append((name + ", forward", forward[0], forward[1] * bytes_each + forward[2]))
        found.append((name + ", backward", backward[0], backward[1] * bytes_each + backward[2]))
    found.append(("loss, both ways", 3 * 2 * n * n * latent, 4 * n * latent * bytes_each))
    found.append(("Adam, float32", 12 * parameters, 7 * 4 * parameters))
    return found


def floor_ms(flops, moved, tflops, gbps):
    return 1000 * max(flops / (tflops * 1e12), moved / (gbps * 1e9))


def stage_of(layer):
    """The layers of a ResNet stage are one: "layer1.0 3x3, sum, forward" is of "layer1, forward"."""
    return re.sub(r"^(layer\d)\..*(, (?:forward|backward))$", r"\1\2", layer)


def key(stage):
    """What `gpu_bench layers` calls a stage: "conv2 5x5, pool, ReLU, backward" is its "conv2 backward"."""
    words = stage.replace(",", "").split()
    return " ".join(words[:1] + [word for word in words[-1:] if word in ("forward", "backward")])


def table(encoder, batch, size, bytes_each, tflops=None, gbps=None, of=stage_of):
    """A row for each stage, the whole step last. The floor of layers taken together is the sum of theirs; without peaks None."""
    found = {}
    for name, flops, moved in stages(encoder, batch, size, bytes_each):
        found.setdefault(of(name), []).append((flops, moved))
    found["whole step"] = [layer for layers in list(found.values()) for layer in layers]
    rows = []
    for name, layers in found.items():
        flops, moved = (sum(counts) for counts in zip(*layers))
        known = tflops is not None and gbps is not None
        rows.append({"stage": name, "key": key(name), "GFLOP": flops / 1e9, "MB": moved / 1e6,
                     "floor_ms": sum(floor_ms(*layer, tflops, gbps) for layer in layers) if known else None,
                     "bound": None if not known else "compute" if flops / (tflops * 1e12) > moved / (gbps * 1e9) else "memory"})
    return rows


def markdown(rows):
    """The rows as docs/PERFORMANCE.md has them; "measured_ms" stands there once it is known, and the gap is measured / floor."""
    lines = ["| stage | GFLOP | MB | floor, ms | measured, ms | gap |", "|---|---|---|---|---|---|"]
    for row in rows:
        floor, measured = row["floor_ms"], row.get("measured_ms")
        bold = "**" if row["key"] == "whole" else ""
        gap = "" if floor is None or measured is None else f" {measured / floor:.{0 if measured >= 100 * floor else 1}f}"
        lines.append(f"| {bold}{row['stage']}{bold} | {row['GFLOP']:.4g} | {row['MB']:.4g} | "
                     f"{'unknown' if floor is None else f'{bold}{floor:.3f}{bold}'} | "
                     f"{'not yet measured' if measured is None else f'{measured:.3f}'} |{gap} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", choices=("tinynet", "resnet18"), default="resnet18")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--card", default="NVIDIA H200")
    parser.add_argument("--tflops", type=float)
    parser.add_argument("--gbps", type=float)
    parser.add_argument("--bytes", type=int, default=2)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    if (args.tflops is None) != (args.gbps is None):
        parser.error("--tflops and --gbps go together")
    if args.tflops is None:
        if args.card not in PEAKS:
            parser.error(f"no peaks are known of '{args.card}': give --tflops and --gbps of its data sheet")
        args.tflops, args.gbps = PEAKS[args.card]
    rows = table(args.encoder, args.batch, args.size, args.bytes, args.tflops, args.gbps,
                 of=(lambda layer: layer) if args.layers else stage_of)
    if args.json:
        print(json.dumps({"arguments": vars(args), "rows": rows}))
    elif args.markdown:
        print(markdown(rows))
    else:
        print(f"{'stage':36}{'GFLOP':>10}{'MB':>10}{'floor ms':>10}  bound by")
        for r in rows:
            print(f"{r['stage']:36}{r['GFLOP']:10.2f}{r['MB']:10.1f}{r['floor_ms']:10.4f}  {r['bound']}")


if __name__ == "__main__":
    main()
