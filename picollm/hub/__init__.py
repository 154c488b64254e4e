"""Trained models to and from the Hugging Face Hub: a shared folder is a checkpoint of ours with a model card, so `picollm.load` reads it too.

Built on huggingface_hub's own mixin, which has `save_pretrained`, `from_pretrained` and `push_to_hub`; nothing is pickled. The Hub is that of
HF_ENDPOINT, the token that of HF_TOKEN or `hf auth login`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import ModelCard, ModelHubMixin, get_token, hf_hub_download
from huggingface_hub.errors import HFValidationError
from torch import Tensor, nn

from picollm.core.errors import UserError
from picollm.exchange import must_be_empty
from picollm.hub import card
from picollm.models import Model
from picollm.training import checkpoints

FILES = ("config.json", "model.safetensors")


class SharedModel(nn.Module, ModelHubMixin):
    """A model of ours with what its checkpoint says of it: `SharedModel.from_pretrained("user/adder")(ids)`, `.trained` is the model itself."""

    def __init__(self, trained: Model, about: dict[str, Any], root: Path = Path()) -> None:
        """`about`: what stands in the checkpoint's config.json. `root`: where the run's metrics lie, for the card."""
        super().__init__()
        self.trained, self.about, self.root = trained, about, root

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, V)."""
        logits: Tensor = self.trained(ids)
        return logits

    @classmethod
    def of(cls, checkpoint: Path) -> "SharedModel":
        """Ready to evaluate."""
        return cls(checkpoints.load_model(checkpoint), checkpoints.read_config(checkpoint)).eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        facts = {key: value for key, value in self.about.items() if key not in ("format", "vocab_size")}
        checkpoints.save_model(save_directory, self.trained, facts)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> "SharedModel":
        folder = Path(model_id)
        if not folder.is_dir():
            asked = {key: options[key] for key in ("revision", "cache_dir", "force_download", "local_files_only", "token")}
            with _told(model_id):
                for name in FILES:
                    folder = Path(hf_hub_download(model_id, name, **asked)).parent
        return cls.of(folder)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        return card.of(self.trained, self.about, self.root)


def share(checkpoint: Path, folder: Path, repository: str | None = None, private: bool = False) -> str:
    """Write the checkpoint and its card into a new folder, and push the same to the Hub if a repository such as user/adder is named. Returns where it is."""
    must_be_empty(folder)
    if repository and get_token() is None:
        raise UserError("HF_TOKEN: is not set, and nobody is logged in; set it to a token with write access, or run `hf auth login`")
    model = SharedModel.of(checkpoint)
    model.save_pretrained(folder)
    if not repository:
        return str(folder)
    with _told(repository):
        return str(model.push_to_hub(repository, private=private, commit_message=f"{model.about.get('run', 'model')}, shared by picollm"))


@contextmanager
def _told(repository: str) -> Iterator[None]:
    """What the network or the Hub refuses, in one line."""
    try:
        yield
    except HFValidationError as error:
        raise UserError(f"{repository}: is no name of a repository; give one such as user/adder") from error
    except (httpx2.HTTPError, OSError) as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{repository}: the Hub cannot be reached or refuses ({said}); check the network, HF_ENDPOINT, the name and the token") from error
