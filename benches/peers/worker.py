"""The worker's side of the protocol with `cargo xtask bench`.

A worker says what it is in one JSON line, then answers one JSON line per request line until stdin ends:

    {"ready": "torch 2.15.0"}
    {"what": "decode", "model": "DIR", "type": "f32", "tokens": 128, "depth": 0}   ->   {"value": 16.9}

`prompt` and `decode` are of decoders; `encode`, and `answer` about a text of `depth` tokens, of encoder–decoders.
`value` is in tokens/s (these four), seconds (load) or sentences/s (embed). A measurement that fails is answered
with {"error": "why"}.
"""

import json
import sys

SENTENCES = 32
"""How many sentences one measurement of `embed` takes, in batches."""


def serve(ready, measurements):
    # What libraries print must not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    say = lambda answer: print(json.dumps(answer), file=answers, flush=True)
    say({"ready": ready})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            say({"value": measurements[request.pop("what")](**request)})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"})
