"""Trains the global forecasting network of skein on the arrays that make-arrays.ts wrote.

    python training/train.py --arrays FOLDER --out FOLDER [--minutes 15] [--seed 1] [--hidden 256] [--decoder 96]

Needs PyTorch (2 or later) and numpy; a CPU will do (with bfloat16 units in minutes), a GPU is used where there is one.
Writes weights.json (half precision, base64, what the package ships), recorded.json (inputs and answers for the test
that the TypeScript inference is the same function), metrics.json, and with the package `onnx` model.onnx.

The network: an encoder of the context, a decoder per horizon that sees the encoding and the horizon's features. Its
answer is a mixture of the candidates (softmax) plus a bounded correction; the other quantiles lie at exp(head) above or
below, so that they cannot cross and cannot explode.
"""
import argparse
import base64
import json
import math
import pathlib
import time

import numpy as np
import torch
from torch import nn

LOSS_QUANTILE_WEIGHTS = [0.3, 1.0, 1.0, 1.0]
LOSS_MAX_WEIGHT = 0.3
TARGET_DEVIATIONS_MAX = 15.0
# Of the scale over the standard deviation: of a series that hardly varies nothing can be learnt but that.
WEIGHT_MAX = 4.0


def sinh(x):
    """Spelt out: the operator is not in every ONNX operator set."""
    return 0.5 * (torch.exp(x) - torch.exp(-x))


class Network(nn.Module):
    def __init__(self, layout, hidden, decoder):
        super().__init__()
        self.layout = layout
        self.encode1 = nn.Linear(layout["CONTEXT_FEATURES"], hidden)
        self.encode2 = nn.Linear(hidden, hidden)
        self.join = nn.Linear(hidden, decoder)
        self.horizon = nn.Linear(layout["HORIZON_FEATURES"], decoder, bias=False)
        self.decode = nn.Linear(decoder, 64)
        self.heads = nn.Linear(64, layout["HEADS"])
        with torch.no_grad():
            self.heads.weight.mul_(0.1)
            self.heads.bias.zero_()
            # A mixture of everything, distances of about a scale.
            self.heads.bias[layout["CANDIDATES"] + 1 :] = -0.7

    def forward(self, context, horizon, candidates):
        """context n x C, horizon n x h x F, candidates n x h x K (z): n x h x ANSWERS, in z."""
        lay = self.layout
        first = torch.relu(self.encode1(context))
        encoded = torch.relu(self.encode2(first)) + first
        joined = torch.relu(self.join(encoded).unsqueeze(1) + self.horizon(horizon))
        heads = self.heads(torch.relu(self.decode(joined))).float()
        k = lay["CANDIDATES"]
        shares = torch.softmax(heads[..., :k], -1)
        limit = lay["CORRECTION_MAX"]
        middle = (shares * candidates).sum(-1, keepdim=True) + sinh(heads[..., k : k + 1].clamp(-limit, limit))
        distance = torch.exp(heads[..., k + 1 :].clamp(lay["DISTANCE_LOG_MIN"], lay["DISTANCE_LOG_MAX"]))
        low = middle - distance[..., 0:1]
        high = middle + distance[..., 1:2]
        higher = high + distance[..., 2:3]
        most = middle + distance[..., 3:4]
        most_high = torch.maximum(most, high + distance[..., 4:5])
        most_higher = torch.maximum(most_high, higher + distance[..., 5:6])
        zero = candidates[..., k - 1 : k]
        return torch.maximum(torch.cat([low, middle, high, higher, most, most_high, most_higher], -1), zero)


def load(folder, name, layout):
    tasks = layout["tasks"][["train", "held-out", "evaluate"].index(name)]
    h = layout["horizons"]

    def read(part, shape):
        return torch.from_numpy(np.fromfile(folder / f"{name}.{part}.f32", np.float32).reshape(shape))

    context = read("context", (tasks, layout["CONTEXT_FEATURES"]))
    horizon = read("horizon", (tasks, h, layout["HORIZON_FEATURES"]))
    target = read("target", (tasks, h * layout["targets"] + 2))
    return {
        "context": context,
        "horizon": horizon,
        "target": target[:, : h * layout["targets"]].reshape(tasks, h, layout["targets"]),
        "group": target[:, -2].long(),
        "length": target[:, -1],
    }


def pinball(target, answers, quantiles):
    error = target.unsqueeze(-1) - answers
    return torch.maximum(quantiles * error, (quantiles - 1) * error)


def losses(answers, target, layout):
    """Pinball losses in standard deviations of the context: of the value's quantiles and of the maximum's."""
    device = answers.device
    value_quantiles = torch.tensor(layout["QUANTILES"], device=device)
    max_quantiles = torch.tensor(layout["MAX_QUANTILES"], device=device)
    weight = target[..., 2:3].clamp(max=WEIGHT_MAX)
    limit = TARGET_DEVIATIONS_MAX / weight[..., 0]
    value = target[..., 0].clamp(-limit, limit)
    largest = target[..., 1].clamp(-limit, limit)
    n = len(layout["QUANTILES"])
    return (
        2 * weight * pinball(value, answers[..., :n], value_quantiles),
        2 * weight * pinball(largest, answers[..., n:], max_quantiles),
    )


def evaluate(network, data, layout, device):
    """Per set: mean scaled quantile loss of the network, of seasonal naive and of an exponential level, and coverage."""
    rows = []
    with torch.no_grad():
        for start in range(0, len(data["context"]), 16384):
            part = slice(start, start + 16384)
            horizon = data["horizon"][part].to(device)
            candidates = torch.sinh(horizon[..., : layout["CANDIDATES"]])
            answers = network(data["context"][part].to(device), horizon, candidates)
            target = data["target"][part].to(device)
            value, largest = losses(answers, target, layout)
            bars = torch.tensor([0.5, 0.9, 0.99], device=device)
            weight = target[..., 2:3].clamp(max=WEIGHT_MAX)
            limit = TARGET_DEVIATIONS_MAX / weight[..., 0]
            clipped = target[..., 0].clamp(-limit, limit)
            naive = (2 * weight * pinball(clipped, target[..., 3:6], bars)).mean(-1)
            level = (2 * weight * pinball(clipped, target[..., 6:9], bars)).mean(-1)
            rows.append(
                torch.stack(
                    [
                        value[..., 1:].mean(-1),
                        naive,
                        level,
                        (target[..., 0] <= answers[..., 2] + 1e-6).float(),
                        (target[..., 0] <= answers[..., 3] + 1e-6).float(),
                        (target[..., 1] <= answers[..., 5] + 1e-6).float(),
                        largest.mean(-1),
                    ],
                    -1,
                ).cpu()
            )
    rows = torch.cat(rows)
    result = {}
    for group in data["group"].unique().tolist():
        mean = rows[data["group"] == group].mean((0, 1)).tolist()
        names = ["sql", "naive", "level", "covered90", "covered99", "maxCovered90", "maxLoss"]
        result[layout["groups"][group]] = {name: round(number, 4) for name, number in zip(names, mean)}
    return result


def ratio(result):
    """Geometric mean over sets of the loss against the better of the two baselines."""
    return math.exp(sum(math.log(r["sql"] / min(r["naive"], r["level"])) for r in result.values()) / len(result))


def tensors_of(network):
    """Every tensor, matrices as input x output."""
    named = {}
    for name, parameter in network.named_parameters():
        tensor = parameter.detach().float().cpu()
        named[name] = (tensor.t() if tensor.ndim == 2 else tensor).contiguous()
    return named


def halved(network):
    """The network with its weights rounded as they are shipped."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())
    return network


def export(network, layout, sample, out, about):
    tensors = tensors_of(network)
    data = b"".join(tensor.half().numpy().tobytes() for tensor in tensors.values())
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    weights = {"format": "skein-network-1", **about, "shapes": shapes, "half": base64.b64encode(data).decode()}
    (out / "weights.json").write_text(json.dumps(weights, indent=2) + "\n")
    context, horizon = sample["context"], sample["horizon"]
    candidates = torch.sinh(horizon[..., : layout["CANDIDATES"]])
    with torch.no_grad():
        answers = network(context, horizon, candidates)
    flat = lambda tensor: [float(f"{number:.9g}") for number in tensor.flatten().tolist()]
    recorded = {
        "count": len(context),
        "horizons": horizon.shape[1],
        "context": flat(context),
        "horizon": flat(horizon),
        "answers": flat(answers),
    }
    (out / "recorded.json").write_text(json.dumps(recorded) + "\n")
    try:
        torch.onnx.export(
            network,
            (context, horizon, candidates),
            str(out / "model.onnx"),
            input_names=["context", "horizon", "candidates"],
            output_names=["answers"],
            dynamic_axes={name: {0: "count", 1: "horizons"} if name != "context" else {0: "count"}
                          for name in ["context", "horizon", "candidates", "answers"]},
            dynamo=False,
        )
    except Exception as error:  # the package onnx is not needed to train
        print(f"no model.onnx: {error}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--arrays", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=15, help="time limit; the schedule is by --steps")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--decoder", type=int, default=96)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--without", default="", help="sets to leave out, by name and comma: what is it worth unseen?")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options.out.mkdir(parents=True, exist_ok=True)
    layout = json.loads((options.arrays / "layout.json").read_text())
    train = load(options.arrays, "train", layout)
    left_out = [layout["groups"].index(name) for name in options.without.split(",") if name]
    if left_out:
        kept = ~torch.isin(train["group"], torch.tensor(left_out))
        train = {part: tensor[kept] for part, tensor in train.items()}
    held_out = load(options.arrays, "held-out", layout)
    evaluation = load(options.arrays, "evaluate", layout)
    network = Network(layout, options.hidden, options.decoder).to(device)
    averaged = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998))
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"{count} weights, {len(train['context'])} tasks, on {device}", flush=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-2)
    value_weights = torch.tensor(LOSS_QUANTILE_WEIGHTS, device=device)
    order = torch.randperm(len(train["context"]))
    position = 0
    began = time.time()
    total = 0.0
    for step in range(options.steps):
        warm = min(1.0, (step + 1) / 300)
        rate = options.rate * warm * (0.5 * (1 + math.cos(math.pi * step / options.steps)) + 0.01)
        for group in optimiser.param_groups:
            group["lr"] = rate
        if position + options.batch > len(order):
            order = torch.randperm(len(order))
            position = 0
        rows = order[position : position + options.batch]
        position += options.batch
        context = train["context"][rows].to(device)
        horizon = train["horizon"][rows].to(device)
        target = train["target"][rows].to(device)
        candidates = torch.sinh(horizon[..., : layout["CANDIDATES"]])
        with torch.autocast(device.type, dtype=torch.bfloat16):
            answers = network(context, horizon, candidates)
        value, largest = losses(answers, target, layout)
        loss = (value * value_weights).mean() + LOSS_MAX_WEIGHT * largest.mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        functional_norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        averaged.update_parameters(network)
        total += loss.item()
        if (step + 1) % 1000 == 0 or step + 1 == options.steps:
            held = evaluate(averaged.module.eval(), held_out, layout, device)
            other = evaluate(averaged.module, evaluation, layout, device)
            took = time.time() - began
            print(f"step {step + 1} {took:.0f}s loss {total / 1000:.4f} norm {functional_norm:.2f} "
                  f"held out {ratio(held):.4f} other sets {ratio(other):.4f}", flush=True)
            total = 0.0
        if time.time() - began > options.minutes * 60:
            print(f"time is up at step {step + 1}")
            break
    final = halved(averaged.module.eval()).cpu()
    metrics = {
        "held-out": evaluate(final, held_out, layout, torch.device("cpu")),
        "evaluation-only": evaluate(final, evaluation, layout, torch.device("cpu")),
    }
    metrics["ratios"] = {name: round(ratio(result), 4) for name, result in metrics.items()}
    (options.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(json.dumps(metrics, indent=1))
    about = {"seed": options.seed, "steps": options.steps, "weights": count}
    # Recorded rows travel with the tests: of sets whose licence allows it.
    rows = torch.linspace(0, len(held_out["context"]) - 1, 16).long()
    export(final, layout, {part: held_out[part][rows] for part in ["context", "horizon"]}, options.out, about)
    torch.save(final.state_dict(), options.out / "network.pt")


if __name__ == "__main__":
    main()
