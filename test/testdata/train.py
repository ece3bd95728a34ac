import csv, json, sys
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

with open("/job/tumours.csv") as f:
    rows = list(csv.DictReader(f))
x = [[float(v) for k, v in r.items() if k not in ("patient", "diagnosis")] for r in rows]
y = [r["diagnosis"] for r in rows]
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
found = {"patients": len(rows), "accuracy": round(cross_val_score(model, x, y, cv=5).mean(), 3)}
with open("/out/result", "w") as f:
    json.dump(found, f)
