"""Initial weights of a decoder by name.

| of                         | gpt2                           | scaled_normal                 | xavier_uniform           | torch_default                |
|----------------------------|--------------------------------|-------------------------------|--------------------------|------------------------------|
| embeddings                 | normal, 0.02                   | normal, 0.02                  | uniform, sqrt(6 / (V+D)) | normal, 1                    |
| an untied head             | normal, 0.02                   | normal, 0.02                  | uniform, sqrt(6 / (V+D)) | uniform, 1 / sqrt(D)         |
| maps of I to O channels    | normal, 0.02                   | normal, 1 / sqrt(I)           | uniform, sqrt(6 / (I+O)) | uniform, 1 / sqrt(I)         |
| maps into the residual     | normal, 0.02 / sqrt(2 n_layer) | normal, 1 / sqrt(2 n_layer I) | as the other maps        | as the other maps            |
| biases                     | 0                              | 0                             | 0                        | uniform, 1 / sqrt(I)         |

The same for all: norms 1 (bias 0), sinks 0, filters over time 1 for the token itself and 0.02 for those before it, the gates
of a decay forget over 1 to 1000 tokens.

`gpt2` is that of the public code (and of minGPT). `scaled_normal` keeps the size of what passes through at any width. With
`torch_default`, what PyTorch does by itself, a head tied to the embedding starts from a loss of hundreds of nats instead of
log V: the logit of the token that was just read is of the order of D. Maps that share a matrix (queries, keys and values; gate
and value) are drawn each by itself where their number of outputs counts.
"""

from typing import Literal

from torch import Tensor, nn

Init = Literal["gpt2", "scaled_normal", "xavier_uniform", "torch_default"]
INTO_RESIDUAL = ("attention.out", "mlp.down")


def initialise(model: nn.Module, init: Init, n_layer: int) -> None:
    """Draw the weights of all linear maps and embeddings, in the model's own order."""
    if init == "torch_default":
        return
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            depth = (2 * n_layer) ** -0.5 if name.endswith(INTO_RESIDUAL) else 1.0  # as many are added up in the residual stream
            if init == "xavier_uniform":
                for part in _parts(model, name, module.weight):
                    nn.init.xavier_uniform_(part)
            elif init == "scaled_normal" and isinstance(module, nn.Linear) and name != "head":
                nn.init.normal_(module.weight, std=depth * module.in_features**-0.5)
            else:
                nn.init.normal_(module.weight, std=0.02 * depth)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _parts(model: nn.Module, name: str, weight: Tensor) -> tuple[Tensor, ...]:
    """The maps that share a matrix, row by row, as views."""
    owner = model.get_submodule(name.rpartition(".")[0])
    rows: list[int] | None = getattr(owner, "parts", {}).get(name.rpartition(".")[2])
    return weight.data.split(rows) if rows else (weight,)
