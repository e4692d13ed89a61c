"""The same cross-validation by scikit-learn: StandardScaler and LogisticRegression per fold, mean per subject, AUC."""
import json
import sys
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

subjects, slices, features = 155, 40, 512
if sys.argv[1] == "make":
    r = np.random.default_rng(0)
    base = r.standard_normal((subjects, features))
    y = (base[:, 0] + base[:, 1] + 2 * r.standard_normal(subjects) > 0).astype(np.uint8)
    # Features of a network are correlated and have scales of their own.
    mix = r.standard_normal((features, features)) / np.sqrt(features) + np.eye(features)
    x = ((base[:, None] + r.standard_normal((subjects, slices, features))) @ mix) * r.uniform(0.1, 3, features) + 1
    fold = np.zeros(subjects, np.uint8)
    for c in (0, 1):
        fold[y == c] = r.permutation(np.arange((y == c).sum()) % 5)
    with open(sys.argv[2], "wb") as f:
        f.write(x.reshape(-1, features).astype(np.float32).tobytes() + y.tobytes() + fold.tobytes())
    sys.exit()

raw = open(sys.argv[1], "rb").read()
count = subjects * slices * features
x = np.frombuffer(raw[:4 * count], np.float32).reshape(-1, features)
y, fold = np.frombuffer(raw[4 * count:], np.uint8).reshape(2, subjects)
subject = np.repeat(np.arange(subjects), slices)
for _ in range(int(sys.argv[2])):
    start, cpu = time.perf_counter(), time.process_time()
    data = x.astype(np.float64)
    aucs, passes = [], []
    for k in range(5):
        test = fold[subject] == k
        scaler = StandardScaler().fit(data[~test])
        model = LogisticRegression(C=1.0, solver=sys.argv[3], tol=float(sys.argv[4]), max_iter=10000)
        model.fit(scaler.transform(data[~test]), y[subject][~test])
        p = model.predict_proba(scaler.transform(data[test]))[:, 1]
        who = subject[test]
        ids = np.unique(who)
        aucs.append(roc_auc_score(y[ids], [p[who == s].mean() for s in ids]))
        passes.append(int(model.n_iter_[0]))
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu_s": time.process_time() - cpu,
                      "auc": float(np.mean(aucs)), "iterations": passes}), flush=True)
