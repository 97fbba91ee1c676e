"""Tiny random models of the reference, shared by the scripts that make cases and golden files."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402
import transformers  # noqa: E402

torch.set_num_threads(int(os.environ.get("NT", "1")))
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

VERSIONS = dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__)


def randomise(model, generator):
    """Draw every parameter anew.

    The stock initialisation leaves each bias at 0 and each norm weight at 1, and with its standard deviation of 0.02
    a tiny model's logits are almost constant: a forgotten bias, a `1 + weight` norm or a dropped residual would not
    show. Vectors, and what is saved beside the parameters, move a little around their initial value; matrices get 1/sqrt(fan in). Under a tied head a strong
    embedding would repeat the same token for ever, so it is weak there and the matrices are stronger.
    """
    tied = getattr(model.config, "tie_word_embeddings", False) and model.can_generate()
    embedding_std, gain = (0.06, 2.0) if tied else (0.5, 1.0)
    drawn = set()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.data_ptr() in drawn:
                continue
            drawn.add(parameter.data_ptr())
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("linear_attn.A_log"):
                # The stock rates of decay forget everything at the next token.
                parameter.copy_(2 * torch.rand(parameter.shape, generator=generator) - 3)
            elif parameter.ndim < 2:
                parameter.add_(0.1 * noise)
            elif "embed" in name:
                parameter.copy_(embedding_std * noise)
            else:
                parameter.copy_(gain * parameter.shape[-1] ** -0.5 * noise)
        # What is saved and not trained, such as the score correction of routers.
        saved = model.state_dict().keys()
        for name, buffer in model.named_buffers():
            if name in saved and buffer.is_floating_point():
                buffer.add_(0.1 * torch.randn(buffer.shape, generator=generator))
