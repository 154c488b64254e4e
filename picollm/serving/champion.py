"""The model that MLflow serves. This file is the whole of it: MLflow runs it wherever it loads the model, and nothing is unpickled."""

from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from picollm.core.errors import UserError

if TYPE_CHECKING:
    from picollm.loaded.model import Loaded


class Champion(PythonModel):
    def load_context(self, context: PythonModelContext) -> None:
        import picollm

        self.model: Loaded = picollm.load(context.artifacts["checkpoint"])

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[Any]:
        """What follows each prompt, which stand in the only column: texts, or where `scores` is true [{"token", "probability"}, ...], the likeliest first.

        Of an adder the answer to "1342+879". Raises MlflowException, which a server answers in one line, for what the model cannot take.
        """
        options = dict(params or {})
        answer = self._scores if options.pop("scores", False) else self._text
        try:
            return [answer(str(prompt), **options) for prompt in model_input.iloc[:, 0]]
        except UserError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error

    def _text(self, prompt: str, **options: Any) -> str:
        task = self.model.spelling.addition
        if task is None:
            return self.model.generate(prompt, **options)
        from picollm.evaluation._addition import adder
        from picollm.tasks.addition.bases import digits_of, value_of, write

        answer = adder.answer(self.model.model, task, adder.operands(task, prompt.split("+"), task.base))
        return write(digits_of(value_of(answer.digits, task.base), task.base), task.base)  # without zeros at its front

    def _scores(self, prompt: str, length: int = 1, seed: int = 0, stop: Any = (), **sampling: Any) -> list[dict[str, Any]]:
        return [{"token": token, "probability": probability} for token, probability in self.model.next_tokens(prompt, **sampling)]


set_model(Champion())
