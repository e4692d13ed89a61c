"""The telemetry of a batch by explicit loops in NumPy, from {"z": [2n][dim], "weights": [n][n]} in a file."""
import itertools
import json
import math
import sys

import numpy as np

case = json.load(open(sys.argv[1]))
z = np.array(case["z"])
w = np.array(case["weights"])
n = len(w)
unit = np.array([row / math.sqrt(sum(row * row)) for row in z])

participation, entropy = [], []
for t in range(2 * n):
    positive = [w[t % n, i % n] for i in range(2 * n) if i != t and w[t % n, i % n] > 0]
    p = np.array(positive) / sum(positive)
    participation.append(1 / sum(p * p))
    entropy.append(-sum(p * np.log(p)))


def uniformity(u):
    pairs = list(itertools.combinations(range(n), 2))
    return math.log(sum(math.exp(-2 * sum((u[i] - u[j]) ** 2)) for i, j in pairs) / len(pairs))


s = np.linalg.svd(z, compute_uv=False)
q = s / s.sum()
print(json.dumps({
    "effective_positives": np.mean(participation),
    "entropy": np.mean(entropy),
    "alignment": np.mean([sum((unit[i] - unit[n + i]) ** 2) for i in range(n)]),
    "uniformity": (uniformity(unit[:n]) + uniformity(unit[n:])) / 2,
    "rank_me": math.exp(-sum(v * math.log(v) for v in q if v > 0)),
    "embedding_std": np.mean(np.std(unit, axis=0)) * math.sqrt(z.shape[1]),
}))
