"""An example of bringing your own model: a few lines of PyTorch, exported to the ONNX file that skein takes as an expert.

    python training/own_model.py [--out training/example]

Input `contexts` [count, context steps] and `features` [count, 10 + 2 x horizons] as `BatchExpert` documents them (asinh
of the value over the mean of the window; then what was a day and a week before each horizon), output `quantiles`
[count, horizons, quantiles] in the same scale. Also writes recorded.json: inputs, and what PyTorch answered.
"""
import argparse
import json
import pathlib

import torch
from torch import nn

CONTEXT_STEPS = 16
HORIZON_STEPS = [1, 4, 16]
QUANTILES = [0.5, 0.9, 0.99]
STATIC = 10


class YesterdayOrLevel(nn.Module):
    """Halfway between the level of the window and yesterday, where yesterday is known; bands from the window's spread."""

    def forward(self, contexts, features):
        level = contexts[:, -8:].mean(1, keepdim=True)
        spread = (contexts - contexts.mean(1, keepdim=True)).abs().mean(1, keepdim=True) + 0.01
        known = features[:, 8:9]
        yesterday = features[:, STATIC::2]
        middle = known * 0.5 * (yesterday + level) + (1 - known) * level.expand(-1, len(HORIZON_STEPS))
        steps = torch.tensor([float(ahead) for ahead in HORIZON_STEPS])
        width = spread * torch.sqrt(1 + 0.05 * steps)
        bands = torch.tensor([0.0, 1.6, 3.3])
        return middle.unsqueeze(-1) + width.unsqueeze(-1) * bands


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "example")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    model = YesterdayOrLevel().eval()
    contexts = torch.rand(5, CONTEXT_STEPS)
    features = torch.rand(5, STATIC + 2 * len(HORIZON_STEPS))
    features[:, 8] = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])
    torch.onnx.export(
        model,
        (contexts, features),
        str(out / "own-model.onnx"),
        input_names=["contexts", "features"],
        output_names=["quantiles"],
        dynamic_axes={name: {0: "count"} for name in ["contexts", "features", "quantiles"]},
        opset_version=17,
        dynamo=False,
    )
    flat = lambda tensor: [float(f"{number:.9g}") for number in tensor.flatten().tolist()]
    recorded = {
        "contextSteps": CONTEXT_STEPS,
        "horizonSteps": HORIZON_STEPS,
        "quantiles": QUANTILES,
        "count": 5,
        "contexts": flat(contexts),
        "features": flat(features),
        "answers": flat(model(contexts, features)),
    }
    (out / "recorded.json").write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
