"""From the start of the process to the first token.   torch_start.py MODEL THREADS PROMPT

MODEL is a folder, or a GGUF file (which transformers dequantises to f32).
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

model, threads, prompt = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)
logging.disable_progress_bar()
source = {"gguf_file": model.name} if model.is_file() else {}
folder = model.parent if model.is_file() else model
tokenizer = AutoTokenizer.from_pretrained(folder, **source)
inputs = tokenizer(prompt, return_tensors="pt")
decoder = AutoModelForCausalLM.from_pretrained(folder, **source)
output = decoder.generate(**inputs, max_new_tokens=1, do_sample=False)
print(tokenizer.decode(output[0, -1:]))
