"""Recall as it is measured: through the product alone, beside simple baselines, with each stage's worth and cost."""
