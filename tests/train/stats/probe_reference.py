"""What scikit-learn, scipy and other formulas make of a problem: JSON in a file, JSON to stdout."""
import json
import sys

import numpy as np
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, recall_score, roc_auc_score, silhouette_score
from sklearn.preprocessing import StandardScaler

problem = json.load(open(sys.argv[1]))
x = np.array(problem["x"]).reshape(-1, problem["dimensions"])
first, positive = problem["first"], np.array(problem["positive"])
subject = np.repeat(np.arange(len(positive)), np.diff(first))


def midranks(v):
    return stats.rankdata(v)  # average ranks


def delong(scores, y):
    """Sun and Xu 2014, by midranks, for one or two scores: covariance of the areas."""
    m, n = int(y.sum()), int((1 - y).sum())
    v10, v01, areas = [], [], []
    for s in scores:
        a, b = s[y == 1], s[y == 0]
        rank = midranks(np.concatenate([a, b]))
        areas.append(rank[:m].sum() / m / n - (m + 1) / 2 / n)
        v10.append((rank[:m] - midranks(a)) / n)
        v01.append(1 - (rank[m:] - midranks(b)) / m)
    cov = np.cov(np.array(v10)).reshape(len(scores), -1) / m + np.cov(np.array(v01)).reshape(len(scores), -1) / n
    return areas, cov


fits = []
for fit in problem["fits"]:
    weight = np.array(fit["weight"])[subject]
    rows = np.repeat(np.arange(len(subject)), weight)  # a subject that counts twice stands there twice
    scaler = StandardScaler().fit(x[rows])
    model = LogisticRegression(C=fit["c"], solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(scaler.transform(x[rows]), positive[subject][rows])
    p = model.predict_proba(scaler.transform(x))[:, 1]
    fits.append({"coef": model.coef_[0].tolist(), "intercept": model.intercept_[0],
                 "prob": [p[subject == s].mean() for s in range(len(positive))]})

a, b, y = np.array(problem["score_a"]), np.array(problem["score_b"]), np.array(problem["truth"])
areas, cov = delong([a, b], y)
difference_se = float(np.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]))
logit = np.log(a / (1 - a))[:, None]
recalibrated = LogisticRegression(penalty=None if problem["new"] else "none", tol=1e-12, max_iter=10000).fit(logit, y)
pca = PCA(3, svd_solver="full").fit(x)
print(json.dumps({
    "fits": fits,
    "auc": roc_auc_score(y, a), "auc_se": float(np.sqrt(cov[0, 0])), "areas": areas, "difference_se": difference_se,
    "difference_p": float(2 * stats.norm.sf(abs(areas[0] - areas[1]) / difference_se)),
    "bacc": balanced_accuracy_score(y, a > 0.5), "brier": brier_score_loss(y, a),
    "sensitivity": recall_score(y, a > 0.5), "specificity": recall_score(1 - y, a <= 0.5),
    "slope": recalibrated.coef_[0, 0], "intercept": recalibrated.intercept_[0],
    "components": pca.components_.tolist(), "ratio": pca.explained_variance_ratio_.tolist(),
    "silhouette": silhouette_score(x, positive[subject]),
    "pearson": stats.pearsonr(a, b)[0], "quantile": float(np.percentile(a, 2.5)),
}))
