"""What the paper names as failures without settings that could be repeated."""

from ..claim import Claim, Experiment

_TEXT = "a sentence without settings, lengths or accuracies"
_RESTARTS = "schedule, length and accuracy are not given; the paper's sentence is about a schedule with restarts"

CLAIM = Claim(
    "failures",
    "ImageNet with many networks, CIFAR-10 with some, and a schedule with restarts do not super-converge.",
    "arXiv 1708.07120v1, Sec. 3 and 6.2; v3 takes ImageNet and DenseNet back",
    (
        Experiment("failures/imagenet", "imagenet-v1-negative", None, obstacle=_TEXT),
        Experiment("failures/cifar10", "cifar10-v1-negative", None, obstacle=_TEXT),
        Experiment("failures/restarts", "sgdr-pattern", None, obstacle=_RESTARTS),
    ),
)
