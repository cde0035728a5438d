"""The paper's claims, one file each."""

from ..claim import Claim
from . import (
    batch_size,
    batch_statistics,
    cifar100,
    cifar100_one_cycle,
    companion,
    cyclical_momentum,
    data_size,
    densenet,
    depth,
    dropout,
    failures,
    fair_headline,
    hessian_free,
    imagenet,
    imagenette,
    max_lr,
    mnist,
    momentum,
    optimizers,
    other_architectures,
    range_test,
    regularisation,
    run_length,
    step_sizes,
    super_convergence,
    weight_decay,
    wide_resnet,
)

CLAIMS: tuple[Claim, ...] = tuple(
    module.CLAIM
    for module in (
        super_convergence, fair_headline, step_sizes, range_test, regularisation, hessian_free, data_size, max_lr,
        run_length, depth, cifar100, optimizers, batch_size, dropout, momentum, weight_decay, other_architectures,
        batch_statistics, wide_resnet, densenet, mnist, cifar100_one_cycle, imagenet, imagenette, cyclical_momentum,
        companion, failures,
    )
)  # fmt: skip
"""In the order of the paper's figures and tables, then those of the later version and of its companion."""
