"""The options that say what is trained, shared by all verbs that train: data, network, preparation, pictures."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from .options import DataDir

if TYPE_CHECKING:
    from ..task import Task


_OF_FOLDERS = ("image_size", "streaming", "crop_scale", "corrupt", "decoding_threads")


@dataclass(frozen=True)
class TaskOptions:
    """What was given; every field is an option of the same name. It pickles, so that workers can make the task."""

    data: Annotated[str | None, typer.Option(help="mnist5k, mnist, cifar10, ... or folder:PATH.")] = None
    model: Annotated[str | None, typer.Option(help="lenet, mlp, resnet20, ... or timm/NAME.")] = None
    task: Annotated[
        str | None,
        typer.Option(help="Your own: package.module:function or file.py:function, returning a Task."),
    ] = None
    data_dir: DataDir = None
    preparation: Annotated[
        str | None,
        typer.Option(
            help="mean-image (subtracted, range 0-255, as in the paper), scaled (1/256) or identity; default: the "
            "data's own, mean and deviation per channel."
        ),
    ] = None
    mirror: Annotated[
        bool | None, typer.Option(help="Mirror training pictures at random; default: the data's own.")
    ] = None
    crop_padding: Annotated[
        int | None, typer.Option(help="Random crops of pictures padded by this many pixels; default: the data's own.")
    ] = None
    image_size: Annotated[
        int | None, typer.Option(help="Side of a folder's pictures; default: 64 (imagenette 128, imagenet 224).")
    ] = None
    streaming: Annotated[
        bool | None,
        typer.Option(
            "--streaming/--in-memory",
            help="Decode a folder's pictures as they are drawn, randomly cropped, or once; default: once, up to 4 GB.",
        ),
    ] = None
    crop_scale: Annotated[
        float | None,
        typer.Option(help="Smallest share of a picture that a random-resized crop keeps; streams; default: 0.08."),
    ] = None
    corrupt: Annotated[
        str | None, typer.Option(help="refuse or skip a folder's pictures that cannot be decoded; default: refuse.")
    ] = None
    decoding_threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode a folder's pictures; default: one a core.")
    ] = None

    def make(self) -> Task:
        """The task, its pictures prepared as the options say.

        Raises: ValueError: both ways to name it, or neither; options that do not fit.
        """
        from ..experiments.arm_parts import VALIDATION_SAMPLES

        found = self._find()
        if self.preparation is None and self.mirror is None and self.crop_padding is None:
            return found
        splits = found.data.with_validation(VALIDATION_SAMPLES)  # so that a mean image knows the training part alone
        prepared = splits.prepared(self.preparation, mirror=self.mirror, crop_padding=self.crop_padding)
        return replace(found, data=prepared)

    def check_augmentation(self, augment: bool) -> None:
        """Refuse an augmentation that was asked for where there shall be none. Raises: ValueError."""
        asked = {"--mirror": self.mirror, "--crop-padding": self.crop_padding, "--crop-scale": self.crop_scale}
        given = [option for option, value in asked.items() if value]
        if given and not augment:
            raise ValueError(f"{', '.join(given)} would be ignored with --no-augment; leave one of them out")

    def maker(self) -> Callable[[], Task]:
        """A function that makes the task, here and in every worker; what is wrong with it is said now."""
        self.make()
        return self.make

    def _find(self) -> Task:
        from ..data.catalog import is_folder
        from ..task import load_task, named_task

        if self.task is not None:
            if self.data is not None or self.model is not None:
                raise ValueError("give either --task, or --data and --model, not both")
            self._refuse(("data_dir", *_OF_FOLDERS), "of --data alone; a --task has its data already")
            return load_task(self.task)
        if self.data is None or self.model is None:
            raise ValueError(
                "say what to train: --data NAME --model NAME (for example --data mnist5k --model lenet-bn), or --task "
                "package.module:function"
            )
        if not is_folder(self.data):
            self._refuse(_OF_FOLDERS, f"for folders of pictures alone (--data folder:PATH); {self.data} is none")
        return named_task(self.data, self.model, data_dir=self.data_dir, data_options=self._pictures())

    def _refuse(self, options: Sequence[str], why: str) -> None:
        """Options that would be ignored are named. Raises: ValueError."""
        given = {name: getattr(self, name) for name in options if getattr(self, name) is not None}
        names = ["--in-memory" if value is False else f"--{name.replace('_', '-')}" for name, value in given.items()]
        if names:
            raise ValueError(f"{', '.join(names)}: {why}")

    def _pictures(self) -> dict[str, Any]:
        """Arguments of `superconv.data.load` for a folder of pictures; what was not given is left to it."""
        given = {
            "image_size": self.image_size,
            "streaming": self.streaming,
            "crop_scale": None if self.crop_scale is None else (self.crop_scale, 1.0),
            "corrupt": self.corrupt,
            "workers": self.decoding_threads,
        }
        return {name: value for name, value in given.items() if value is not None}


def with_task_options(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb as a command line wants it: its parameter `what: TaskOptions` spread out into these options."""
    hints = get_type_hints(verb, include_extras=True)
    options = get_type_hints(TaskOptions, include_extras=True)
    names = [field.name for field in fields(TaskOptions)]

    @functools.wraps(verb)
    def command(**given: Any) -> None:
        verb(what=TaskOptions(**{name: given.pop(name) for name in names}), **given)

    spread: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb).parameters.values():
        by_name = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        if parameter.name == "what":
            spread += [by_name.replace(name=name, annotation=options[name], default=None) for name in names]
        else:
            spread.append(by_name.replace(annotation=hints[parameter.name]))
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in spread}
    command.__signature__ = inspect.Signature(spread)  # type: ignore[attr-defined]
    return command
