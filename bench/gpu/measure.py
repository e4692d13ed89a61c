"""The tables of docs/PERFORMANCE.md's GPU section: ours and theirs in turns, medians, beside the targets; and each stage of a step
beside its floor.

measure.py --build BUILD [--device cuda] [--out results.json] [--python PYTHON] [--budget SECONDS] [--limit SECONDS] [--quick]
           [--tflops N --gbps N] [--go-on KEY]
prints the tables and writes them as JSON: per row ours, theirs, ratio, target, met ("yes", "no" or "not run: why"); per stage its counts,
floor, measured time and gap. The floor is that of the card, by its name (roofline.PEAKS) or by --tflops and --gbps of its data sheet;
of another card it stays unknown. --quick uses sizes that mean nothing and judges nothing: it shows that every program runs, on the CPU
too. With --go-on KEY what results.json has under the same KEY is not measured again. Exit 0 where every row was run, 75 where time
alone was missing, else 1.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import roofline

HERE = pathlib.Path(__file__).resolve().parent


class NotRun(Exception):
    pass


class Bench:
    def __init__(self, args):
        self.args = args
        self.build = pathlib.Path(args.build)
        self.quick = args.quick
        self.cuda = args.device.startswith("cuda")
        self.turns = 1 if args.quick else 3
        self.began = time.monotonic()
        self.before = 0  # seconds of earlier calls
        self.steps = {}  # (encoder, side) -> results of the turns, shared by several rows
        self.facts = {"device": args.device, "quick": args.quick}
        self.work = tempfile.TemporaryDirectory(prefix="wsp-gpu-bench-")

    def left(self):
        return self.args.budget - (time.monotonic() - self.began)

    def command(self, *command):
        """What a program prints. One that hangs or fails costs its own row alone."""
        if self.left() < 15:
            raise NotRun("out of time")
        command = [str(part) for part in command]
        if not pathlib.Path(command[0]).exists() and "/" in command[0]:
            raise NotRun(f"{command[0]} was not built")
        limit = min(self.left(), self.args.limit)
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit)
        except subprocess.TimeoutExpired:
            raise NotRun("out of time" if limit < self.args.limit else f"not done in {limit:.0f} s") from None
        except OSError as why:
            raise NotRun(f"{command[0]}: {why.strerror}") from None
        if done.returncode != 0:
            print(f"*** {' '.join(command)}\n{done.stderr[-2000:]}", file=sys.stderr)
            told = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
            # Hints may follow the error.
            named = [line for line in told if re.match(r"[\w.]*(Error|Exception): ", line)]
            raise NotRun((named or told)[-1][:160])
        return done.stdout

    def last_json(self, *command):
        lines = self.command(*command).strip().splitlines()
        try:
            return json.loads(lines[-1])
        except (IndexError, ValueError):
            raise NotRun(f"{pathlib.Path(str(command[0])).name} printed no JSON") from None

    # Programs -------------------------------------------------------------------------------------------------------

    def size(self):
        return ["--batch", 2, "--size", 160, "--steps", 1, "--warm-up", 1] if self.quick else \
            ["--batch", 64, "--size", 512, "--steps", 20, "--warm-up", 5]

    def ours(self, encoder, *more):
        return self.last_json(self.build / "bench/train_step_bench", "--json", "--device", self.args.device, "--encoder",
                              encoder, "--precision", "bf16" if self.cuda else "fp32", *self.size(), *more)

    def theirs(self, encoder, mode):
        found = self.last_json(self.args.python, HERE / "baseline.py", "--mode", mode, "--encoder", encoder, "--device",
                               self.args.device, *self.size())
        self.facts.setdefault("torch_of_python", found["torch"])
        if "card" in found:
            self.facts["card"] = found["card"]
        return found

    def in_turns(self, encoder):
        """Results of every side, in turns. A side that fails takes no further turn and leaves the others theirs."""
        if encoder not in self.steps:
            sides = {"eager": lambda: self.theirs(encoder, "eager"), "ours": lambda: self.ours(encoder),
                     "compiled": lambda: self.theirs(encoder, "compiled")}
            found = self.steps[encoder] = {side: [] for side in sides}
            found["why"] = {}
            for _ in range(self.turns):
                for side, once in sides.items():
                    if side in found["why"]:
                        continue
                    try:
                        found[side].append(once())
                    except NotRun as why:
                        found["why"][side] = str(why)
        return self.steps[encoder]

    def results(self, encoder, side):
        found = self.in_turns(encoder)
        if not found[side]:
            raise NotRun(f"{side}: {found['why'][side]}")
        return found[side]

    def median_ms(self, encoder, side):
        return statistics.median(r["ms"] for r in self.results(encoder, side))

    # Rows: each returns ours, theirs, ratio, unit -------------------------------------------------------------------------

    def step(self, encoder, mode):
        ours, theirs = self.median_ms(encoder, "ours"), self.median_ms(encoder, mode)
        return ours, theirs, theirs / ours, "ms"

    def part(self, name, ratio, *more, fact=None):
        calls = ["--turns", 1, "--calls", 1] if self.quick else ["--turns", 5, "--calls", 10]
        found = self.last_json(self.build / "bench/gpu/gpu_bench", name, "--device", self.args.device, *calls, *more)
        if "by" in found:
            self.facts[f"{fact or name}_by"] = found["by"]
        return found["ours_ms"], found["theirs_ms"], ratio(found["ours_ms"], found["theirs_ms"]), "ms"

    def augmentation(self):
        return self.part("augmentation", lambda ours, theirs: theirs / ours,
                         *(["--batch", 2, "--size", 64] if self.quick else []))

    def loss(self):
        return self.part("loss", lambda ours, theirs: ours / theirs,
                         *(["--rows", 256, "--dim", 16, "--tile", 64] if self.quick else []))

    def loss_of_a_number(self, method):
        """4,096 rows: L^exp and Rank-N-Contrast are whole matrices on a card."""
        size = ["--rows", 256, "--dim", 16, "--tile", 64] if self.quick else ["--rows", 4096]
        return self.part("loss", lambda ours, theirs: ours / theirs, "--method", method, *size, fact=f"loss_{method}")

    def unet(self):
        return self.part("unet", lambda ours, theirs: theirs / ours,
                         *(["--slices", 2, "--size", 64, "--width", 8, "--depth", 2] if self.quick else []))

    def embed(self, encoder):
        ours, theirs, ratio, unit = self.part(
            "embed", lambda ours, theirs: theirs / ours, "--dataset", self.dataset(), "--encoder", encoder,
            *(["--batch", 16, "--size", 160] if self.quick else []))
        self.facts[f"embed_{encoder}_slices"] = self.slices()
        return ours, theirs, ratio, unit

    def pooling(self):
        return self.part("pooling", lambda ours, theirs: theirs / ours,
                         *(["--batch", 1, "--size", 32] if self.quick else []))

    def step_with(self, encoder, option):
        """The step with an option that is off by default, beside the step without it."""
        if not self.cuda:
            raise NotRun("needs a card")
        usual = self.median_ms(encoder, "ours")
        found = statistics.median(self.ours(encoder, option)["ms"] for _ in range(self.turns))
        return found, usual, usual / found, "ms"

    def slices(self):
        return 64 if self.quick else 1024

    def dataset(self):
        """Shards in the page cache, made once."""
        data = pathlib.Path(self.work.name) / "data"
        if not (data / "dataset.json").exists():
            self.command(self.build / "bench/loader_bench", data, "--only-make", "--slices", self.slices())
        return data

    def waiting(self):
        data, run = self.dataset(), pathlib.Path(self.work.name) / "run"
        batch, steps, size = (2, 6, 160) if self.quick else (64, 60, 512)
        self.command(self.build / "tools/wsp-train", data, "--out", run, "--encoder", "tinynet", "--image-size", size,
                     "--batch", batch, "--device", self.args.device, "--precision", "bf16" if self.cuda else "fp32",
                     "--hold-back", 0, "--probe-every", 0, "--epochs", 1, "--samples-per-epoch", 100000, "--max-steps",
                     steps, "--log-every", 2, "--no-tensorboard", "--log-level", "warn")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        shares = [line["wait_share"] for line in lines if line["kind"] == "train"]
        if not shares:
            raise NotRun("wsp-train wrote no line of a step")
        share = 100 * statistics.mean(shares[len(shares) // 2:])  # the ring is full by then
        return share, None, share / 100, "%"

    def memory(self, micro_batch):
        if not self.cuda:
            raise NotRun("memory is counted on a card only")
        eager = self.results("resnet18", "eager")
        ours = self.ours("resnet18", "--micro-batch", micro_batch) if micro_batch else self.results("resnet18", "ours")[0]
        if "peak_MiB" not in ours:
            raise NotRun("this build counts no memory: its nvcc and its LibTorch have different CUDAs, or one has none")
        theirs = statistics.median(r["peak_MiB"] for r in eager)
        return ours["peak_MiB"], theirs, ours["peak_MiB"] / theirs, "MiB"

    def large_batch(self):
        size = ["--batch", 8, "--size", 64, "--micro-batch", 4, "--compare-micro-batch", 2] if self.quick else \
            ["--batch", 4096, "--size", 512, "--micro-batch", 64, "--compare-micro-batch", 32]
        limit = ["--memory-limit-gb", 16] if self.cuda else []
        found = self.last_json(self.build / "bench/train_step_bench", "--json", "--device", self.args.device, "--encoder",
                               "resnet18", "--norm", "group", "--precision", "bf16" if self.cuda else "fp32", "--steps", 1,
                               "--warm-up", 0, "--loss-tile", 1024, *size, *limit)
        return found["gradient_difference"], None, found["gradient_difference"], "relative"

    def deterministic(self):
        usual = self.median_ms("resnet18", "ours")
        found = self.ours("resnet18", "--deterministic")
        return found["ms"], usual, found["ms"] / usual, "ms"

    # Stages of a step ---------------------------------------------------------------------------------------------------

    def peaks(self, found):
        """TFLOP/s and GB/s of the card that a program ran on; None twice where nothing is known of it."""
        if self.args.tflops is not None:
            return self.args.tflops, self.args.gbps
        return roofline.PEAKS.get(self.facts.get("card"), (None, None)) if found["bytes"] == 2 else (None, None)

    def stages(self, encoder):
        """The rows of roofline.py, measured; all are timed, or none stands."""
        size = ["--batch", 2, "--size", 160, "--turns", 1, "--calls", 1] if self.quick else \
            ["--batch", 64, "--size", 512, "--turns", 5, "--calls", 10]
        found = self.last_json(self.build / "bench/gpu/gpu_bench", "layers", "--encoder", encoder, "--device", self.args.device, *size)
        if "card" in found:
            self.facts["card"] = found["card"]
        tflops, gbps = self.peaks(found)
        rows = roofline.table(encoder, found["batch"], found["size"], found["bytes"], tflops, gbps)
        timed = [each["stage"] for each in found["stages"]]
        if timed != [row["key"] for row in rows]:
            raise NotRun(f"gpu_bench times {timed}, and roofline.py has {[row['key'] for row in rows]}")
        for row, each in zip(rows, found["stages"]):
            row["measured_ms"] = each["ms"]
            row["gap"] = None if row["floor_ms"] is None else each["ms"] / row["floor_ms"]
        counts = {name: found[name] for name in ("batch", "size", "precision", "channels_last", "bytes")}
        return {**counts, "tflops": tflops, "gbps": gbps, "rows": rows}


def described(bench, stages):
    """What a table of stages is of, and what is missing."""
    where = bench.facts.get("card", bench.args.device)
    floor = f"floor at {stages['tflops']:g} TFLOP/s and {stages['gbps']:g} GB/s" if stages["tflops"] is not None else \
        f"floor and gap left out, since no peaks of half precision are known of '{where}': --tflops and --gbps of its data sheet give them"
    return (f"{stages['encoder']}, batch {stages['batch']}, two views, {stages['size']}², {stages['precision']}"
            f"{', channels-last' if stages['channels_last'] else ''}, on {where}; {floor}")


def rows(bench):
    """(what, against, target in words, how it is judged, measurement)"""
    at_least = lambda bound: lambda ratio: ratio >= bound  # noqa: E731
    at_most = lambda bound: lambda ratio: ratio <= bound  # noqa: E731
    for encoder in ("tinynet", "resnet18"):
        yield f"step, {encoder}", "eager, TF32 convolutions", ">= 3 x", at_least(3), lambda e=encoder: bench.step(e, "eager")
    for encoder, bound in (("tinynet", 1.1), ("resnet18", 1.0)):
        yield f"step, {encoder}", "compiled, bf16", f">= {bound} x", at_least(bound), lambda e=encoder: bench.step(e, "compiled")
    for option in ("--cuda-kernels", "--cuda-graph"):
        for encoder in ("tinynet", "resnet18"):
            yield f"{option}, {encoder}", "step without", "(measured)", lambda ratio: True, \
                lambda e=encoder, o=option: bench.step_with(e, o)
    yield "augmentation", "device copy", ">= 0.60 x", at_least(0.6), bench.augmentation
    yield "loss, 16,384 rows", "its cuBLAS products", "<= 2 x", at_most(2), bench.loss
    for method in ("yaware", "lexp", "rnc"):
        yield f"loss, {method}, 4,096 rows", "its cuBLAS products", "(measured)", lambda ratio: True, \
            lambda m=method: bench.loss_of_a_number(m)
    yield "bias, ReLU, pool, layer 1", "LibTorch", "(measured)", lambda ratio: True, bench.pooling
    yield "waiting for data", "", "< 1 %", lambda share: share < 0.01, bench.waiting
    yield "peak memory, resnet18", "eager", "<= 0.55 x", at_most(0.55), lambda: bench.memory(0)
    yield "the same, micro-batch 16", "eager", "<= 0.30 x", at_most(0.3), lambda: bench.memory(1 if bench.quick else 16)
    yield "batch 4,096 in 16 GB", "micro-batch 32", "<= 0.02", at_most(0.02), bench.large_batch
    for encoder in ("tinynet", "resnet18"):
        yield f"embed, {encoder}", "bare forward", "(none)", lambda ratio: True, lambda e=encoder: bench.embed(e)
    yield "U-Net inference", "bare forward", ">= 0.90 x", at_least(0.9), bench.unet
    yield "step, deterministic", "resnet18, not so", "(measured)", lambda ratio: True, bench.deterministic


def keep(bench, table, stages, out):
    """Write the tables as far as they have come: whoever ends the run early keeps them."""
    bench.facts["seconds"] = round(bench.before + time.monotonic() - bench.began, 1)
    out.write_text(json.dumps({"key": bench.args.go_on, "facts": bench.facts, "rows": table, "stages": stages,
                               "steps": bench.steps}, indent=1) + "\n")


def kept(bench, out):
    """Rows by what and against, and stages by encoder, that an earlier call measured under the same key; its facts and steps."""
    try:
        found = json.loads(out.read_text())
        if bench.args.go_on is None or found["key"] != bench.args.go_on:
            return {}, {}
        bench.facts.update(found["facts"])
        bench.before = found["facts"]["seconds"]
        bench.steps.update({encoder: sides for encoder, sides in found["steps"].items() if not sides["why"]})
        return ({(row["what"], row["against"]): row for row in found["rows"] if not row["met"].startswith("not run")},
                {each["encoder"]: each for each in found["stages"] if each["met"] == "measured"})
    except (OSError, ValueError, KeyError, TypeError):
        return {}, {}


def attempted(measure):
    """What was measured, and why not."""
    try:
        return measure(), None
    except NotRun as why:
        return None, f"not run: {why}"
    except Exception as why:  # noqa: BLE001  no fault of one row may cost the table
        return None, f"not run: {type(why).__name__}: {why}"[:160]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/gpu-node")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("gpu-results.json"))
    parser.add_argument("--budget", type=float, default=400)
    parser.add_argument("--limit", type=float, default=100, help="seconds that one program may take")
    parser.add_argument("--tflops", type=float, help="of half precision, dense")
    parser.add_argument("--gbps", type=float, help="of the card's memory")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--go-on", metavar="KEY", help="of what is measured: source and card")
    parser.add_argument("--list", action="store_true", help="only say what would be measured")
    args = parser.parse_args()
    if (args.tflops is None) != (args.gbps is None):
        parser.error("--tflops and --gbps go together")
    bench = Bench(args)
    if args.list:
        for what, against, target, *_ in rows(bench):
            print(f"  {what:26}{against:26}target {target}")
        print("  every stage of a step      its floor (bench/gpu/roofline.py), TinyNet and ResNet-18")
        return 0
    table, stages = [], []
    old_rows, old_stages = kept(bench, args.out)
    for what, against, target, judge, measure in rows(bench):
        row = {"what": what, "against": against, "target": target, "ours": None, "theirs": None, "ratio": None}
        old = old_rows.get((what, against))
        found, row["met"] = (None, "") if old else attempted(measure)
        if old:
            row = old
        elif found is not None:
            row["ours"], row["theirs"], row["ratio"], row["unit"] = found
            row["met"] = "not judged" if args.quick else "yes" if judge(row["ratio"]) else "no"
        table.append(row)
        keep(bench, table, stages, args.out)
        print(f"... {what}, {against}: {row['met']}", file=sys.stderr, flush=True)
    for encoder in ("tinynet", "resnet18"):
        old = old_stages.get(encoder)
        found, why = (old, None) if old else attempted(lambda e=encoder: bench.stages(e))
        stages.append({"encoder": encoder, "met": why or "measured", **(found or {"rows": []})})
        keep(bench, table, stages, args.out)
        print(f"... stages, {encoder}: {stages[-1]['met']}", file=sys.stderr, flush=True)

    for found in stages:
        print(f"{described(bench, found)}\n\n{roofline.markdown(found['rows'])}\n" if found["rows"] else
              f"stages of {found['encoder']}: {found['met']}\n")

    def number(value):
        return "-" if value is None else f"{value:.4g}"

    print(f"{'what':26}{'against':26}{'ours':>10}{'theirs':>10}{'ratio':>8}  {'target':12}met")
    for row in table:
        print(f"{row['what']:26}{row['against']:26}{number(row['ours']):>10}{number(row['theirs']):>10}"
              f"{number(row['ratio']):>8}  {row['target']:12}{row['met']}")
    print(f"{bench.facts.get('card', args.device)}, {bench.facts['seconds']} s -> {args.out}")
    missing = {row["met"] for row in table + stages if row["met"].startswith("not run")}
    return 0 if not missing else 75 if all(why.endswith("out of time") for why in missing) else 1


if __name__ == "__main__":
    sys.exit(main())
