"""The online probe by scikit-learn, from slices in a JSON file: nearest neighbours by explicit loops."""
import json
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

case = json.load(open(sys.argv[1]))
x, q = np.array(case["train"]["features"]), np.array(case["held_back"]["features"])
y, truth = np.array(case["train"]["label"]), np.array(case["held_back"]["label"])
subject = np.array(case["held_back"]["subject"])
classes = np.unique(y)


def scores(p):
    ids = np.unique(subject)
    mean = np.array([p[subject == s].mean(axis=0) for s in ids])
    label = np.array([truth[subject == s][0] for s in ids])
    guess = classes[mean.argmax(axis=1)]
    if len(classes) == 2:
        auc = roc_auc_score(label, mean[:, 1])
    else:
        auc = np.mean([roc_auc_score(label == c, mean[:, k]) for k, c in enumerate(classes)])
    return [auc, balanced_accuracy_score(label, guess), accuracy_score(label, guess)]


def knn(k, temperature):
    p = np.zeros((len(q), len(classes)))
    for i, row in enumerate(q):
        cosine = np.array([row @ v / np.linalg.norm(row) / np.linalg.norm(v) for v in x])
        for j in np.argsort(-cosine)[:k]:
            p[i, np.searchsorted(classes, y[j])] += np.exp(cosine[j] / temperature)
    return p / p.sum(axis=1, keepdims=True)


scaler = StandardScaler().fit(x)
model = LogisticRegression(C=case["c"], solver="newton-cg", tol=1e-8, max_iter=1000).fit(scaler.transform(x), y)
print(json.dumps({
    "coefficients": model.coef_.tolist(),
    "intercepts": model.intercept_.tolist(),
    "knn_probability": knn(case["k"], 0.07).tolist(),
    "knn": scores(knn(case["k"], 0.07)),
    "logistic": scores(model.predict_proba(scaler.transform(q))),
}))
