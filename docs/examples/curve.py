"""Draws the curves of a training, as an SVG: `python3 curve.py TRAINER_STATE_JSON OUT.svg`.

The losses of the steps, and of the evaluations where there are some; the accuracy, where it is measured, on a scale of its own.
"""

import json
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 56, 56, 24, 40
COLOURS = {"loss": "#3b6ea5", "eval_loss": "#c0563b", "eval_accuracy": "#4a8c4a"}
NAMES = {"loss": "loss", "eval_loss": "loss of the evaluation", "eval_accuracy": "accuracy"}


def scale(low, high, start, end):
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def ticks(low, high, count=5):
    return [low + (high - low) * at / (count - 1) for at in range(count)]


def text(x, y, words, anchor="middle", colour="#555"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def main():
    state, out = sys.argv[1:3]
    history = json.load(open(state))["log_history"]
    curves = {key: [(entry["step"], entry[key]) for entry in history if key in entry] for key in COLOURS}
    curves = {key: points for key, points in curves.items() if points}
    steps = [step for points in curves.values() for step, _ in points]
    losses = [loss for key in ("loss", "eval_loss") for _, loss in curves.get(key, [])]
    x = scale(0, max(steps), LEFT, WIDTH - RIGHT)
    y = scale(0, max(losses), HEIGHT - BOTTOM, TOP)
    parts = []
    for step in ticks(0, max(steps)):
        parts.append(text(x(step), HEIGHT - BOTTOM + 18, f"{step:.0f}"))
    for loss in ticks(0, max(losses)):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(loss):.1f}" y2="{y(loss):.1f}" stroke="#ddd"/>')
        parts.append(text(LEFT - 8, y(loss) + 4, f"{loss:.2f}", "end"))
    of = {"loss": y, "eval_loss": y}
    if "eval_accuracy" in curves:
        worst = min(value for _, value in curves["eval_accuracy"])
        low = int(worst * 20) / 20
        of["eval_accuracy"] = scale(low, 1.0, HEIGHT - BOTTOM, TOP)
        for value in ticks(low, 1.0):
            parts.append(text(WIDTH - RIGHT + 8, of["eval_accuracy"](value) + 4, f"{value:.2f}", "start", COLOURS["eval_accuracy"]))
    for at, (key, points) in enumerate(curves.items()):
        line = " ".join(f"{x(step):.1f},{of[key](value):.1f}" for step, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[key]}" stroke-width="1.5"/>')
        parts.append(text(LEFT + 12 + 190 * at, TOP - 8, NAMES[key], "start", COLOURS[key]))
    parts.append(text(WIDTH / 2, HEIGHT - 6, "step"))
    style = 'font-family="sans-serif" font-size="11"'
    with open(out, "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {style}>\n')
        file.write('<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")


main()
