"""The least time that a training step can take on a card: FLOPs and bytes counted layer by layer, each layer at the card's peak.

roofline.py [--encoder tinynet|resnet18] [--batch 64] [--size 512] [--tflops 989] [--gbps 4800] [--bytes 2] [--json]
--tflops and --gbps: peaks of the card, dense, from its data sheet (default: H200, bf16); --bytes: of a number in memory.

What is counted. A convolution of two views: 2 FLOPs per multiplication and addition, forward once, backward twice (input and
weights; the first layer needs no gradient of its input). Bytes: every tensor that one fused kernel must read or write, once:
input, weights and output of a layer; its saved input and the gradients of both backward. ReLU and pooling ride in the
convolution before them (TinyNet keeps one byte per pooled pixel, which of four won); batch normalisation reads its input once more than the
convolution wrote it, since its statistics are of the whole batch. A floor is max(FLOPs / peak, bytes / bandwidth), summed.
"""
import argparse
import json


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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--encoder", choices=("tinynet", "resnet18"), default="resnet18")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--tflops", type=float, default=989)
    parser.add_argument("--gbps", type=float, default=4800)
    parser.add_argument("--bytes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = stages(args.encoder, args.batch, args.size, args.bytes)
    rows = [{"stage": name, "GFLOP": flops / 1e9, "MB": moved / 1e6,
             "floor_ms": floor_ms(flops, moved, args.tflops, args.gbps),
             "bound": "compute" if flops / (args.tflops * 1e12) > moved / (args.gbps * 1e9) else "memory"}
            for name, flops, moved in found]
    if args.json:
        print(json.dumps({"arguments": vars(args), "rows": rows, "floor_ms": sum(r["floor_ms"] for r in rows)}))
        return
    print(f"{'stage':36}{'GFLOP':>10}{'MB':>10}{'floor ms':>10}  bound by")
    for r in rows:
        print(f"{r['stage']:36}{r['GFLOP']:10.2f}{r['MB']:10.1f}{r['floor_ms']:10.4f}  {r['bound']}")
    print(f"{'whole step':36}{sum(r['GFLOP'] for r in rows):10.1f}{sum(r['MB'] for r in rows):10.1f}"
          f"{sum(r['floor_ms'] for r in rows):10.3f}")


if __name__ == "__main__":
    main()
