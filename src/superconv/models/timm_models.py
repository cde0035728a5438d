"""Networks of the package timm, where it is installed: names "timm/NAME"."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..near_names import near


def build_timm(
    name: str, num_classes: int, in_channels: int | None, image_size: Any, options: dict[str, Any]
) -> nn.Module:
    """`timm.create_model(name, pretrained=False, num_classes=..., **options)`.

    Args:
        name: as timm spells it.
        num_classes: outputs.
        in_channels: of the images; None: timm's default, 3.
        image_size: handed on as `img_size`, which only some of timm's families take; None: not handed on.
        options: any further argument of timm's model.
    Raises: ValueError: timm is missing or does not import here, it has no such model, or the model refuses an option.
    """
    try:
        import timm
    except Exception as error:  # a torchvision that does not fit torch fails with a RuntimeError
        raise ValueError(
            f"model 'timm/{name}' needs the package timm, which does not import here ({error}); "
            "pip install 'superconv[timm]'"
        ) from error
    if not timm.is_model(name.split(".")[0]):
        raise ValueError(f"model 'timm/{name}': timm has no such model; {near(name, timm.list_models())[:400]} ...")
    if in_channels is not None:
        options["in_chans"] = in_channels
    if image_size is not None:
        options["img_size"] = image_size
    try:
        return timm.create_model(name, num_classes=num_classes, **options)
    except TypeError as error:
        raise ValueError(f"model 'timm/{name}' does not take one of the options {sorted(options)}: {error}") from error
