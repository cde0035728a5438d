"""ImageNet with ResNet-50 and Inception-ResNet-v2."""

from ..claim import Claim, Experiment

_DATA = "ImageNet-sized folders cannot be trained on by this package yet: it reads a data set into memory"

CLAIM = Claim(
    "imagenet",
    "With weight decay reduced to 3e-6 1cycle beats step decay over eight times as many updates.",
    "arXiv 1708.07120v3, Fig. 6",
    (
        Experiment("imagenet/resnet50-step", "v3fig6a-imagenet-resnet50-step", None, obstacle=_DATA),
        *(
            Experiment(f"imagenet/resnet50-{wd}", f"{f}-imagenet-resnet50-1cycle-wd{wd}", None, obstacle=_DATA)
            for wd, f in (("1e-5", "v3fig6a"), ("3e-6", "v3fig6a"), ("1e-6", "v3"))
        ),
        Experiment(
            "imagenet/inception-step", "v3fig6b-imagenet-inceptionresnetv2-step", None, obstacle=_DATA
        ),
        *(
            Experiment(
                f"imagenet/inception-{wd}", f"{f}-imagenet-inceptionresnetv2-1cycle-wd{wd}", None, obstacle=_DATA
            )
            for wd, f in (("3e-6", "v3fig6b"), ("1e-6", "v3fig6b"), ("1e-5", "v3"))
        ),
    ),
)  # fmt: skip
