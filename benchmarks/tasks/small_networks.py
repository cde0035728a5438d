"""Small networks of today's kinds that the package does not build: a ViT, a ConvNeXt, a character transformer, ..."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from superconv.models.bottleneck import BottleneckBlock


class Transformer(nn.Module):
    """Pre-LayerNorm transformer blocks with learned positions (Vaswani et al., arXiv 1706.03762; pre-LN 2002.04745).

    Args:
        width: of the residual stream.
        depth: blocks.
        tokens: longest sequence.
        causal: whether a position sees only those before it.
    """

    def __init__(self, width: int, depth: int, tokens: int, *, causal: bool, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width), "mix": nn.Linear(width, 3 * width), "out": nn.Linear(width, width),
                    "norm2": nn.LayerNorm(width), "wide": nn.Linear(width, 4 * width),
                    "narrow": nn.Linear(4 * width, width),
                }
            )
            for _ in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) -> the same."""
        x = x + self.positions[:, : x.shape[1]]
        for block in self.blocks:
            q, k, v = (
                part.unflatten(2, (self.heads, -1)).transpose(1, 2)
                for part in block["mix"](block["norm1"](x)).chunk(3, dim=2)
            )
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            x = x + block["out"](mixed.transpose(1, 2).flatten(2))
            x = x + block["narrow"](F.gelu(block["wide"](block["norm2"](x))))
        return self.norm(x)


class TinyViT(nn.Module):
    """Patches of 4 by 4 pixels, a transformer, the mean over patches, a classifier (arXiv 2010.11929)."""

    def __init__(self, num_classes: int, in_channels: int, size: int, width: int = 48, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(in_channels, width, 4, stride=4)
        self.body = Transformer(width, depth, (size // 4) ** 2, causal=False)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        return self.classifier(self.body(self.patches(images).flatten(2).transpose(1, 2)).mean(1))


class TinyConvNeXt(nn.Module):
    """Stem of 2 by 2 patches, two stages of depthwise 7 by 7 blocks with LayerNorm and GELU (arXiv 2201.03545)."""

    def __init__(self, num_classes: int, in_channels: int, widths: tuple[int, int] = (24, 48)) -> None:
        super().__init__()
        first, second = widths
        self.stem = nn.Conv2d(in_channels, first, 2, stride=2)
        self.stage1 = ConvNeXtBlock(first)
        self.down = nn.Conv2d(first, second, 2, stride=2)
        self.stage2 = ConvNeXtBlock(second)
        self.norm, self.classifier = nn.LayerNorm(second), nn.Linear(second, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        features = self.stage2(self.down(self.stage1(self.stem(images))))
        return self.classifier(self.norm(features.mean((2, 3))))


class ConvNeXtBlock(nn.Module):
    """Depthwise 7 by 7, LayerNorm over channels, a two-layer perceptron four times as wide, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.wide, self.narrow = (
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)


class CharTransformer(nn.Module):
    """Predicts every next character of a text: embedding, a causal transformer, logits."""

    def __init__(self, characters: int, tokens: int, width: int = 48, depth: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.body = Transformer(width, depth, tokens, causal=True)
        self.classifier = nn.Linear(width, characters)

    def forward(self, text: Tensor) -> Tensor:
        """(N, T) int64 -> (N, characters, T), as cross entropy wants it."""
        return self.classifier(self.body(self.embedding(text))).transpose(1, 2)


class SmallBottleneck(nn.Module):
    """The package's pre-activation bottleneck blocks, one a stage, at half the size.

    A relative of the paper's bottleneck ResNet-56; with inner=32 and groups=32 of its ResNeXt-56.
    """

    def __init__(self, num_classes: int, in_channels: int, inner: int = 16, groups: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 16, 3, stride=2, padding=1)
        blocks: list[nn.Module] = []
        for stage in range(3):
            blocks.append(
                BottleneckBlock(
                    16 if stage == 0 else 32 * 2**stage, inner * 2**stage, 64 * 2**stage, stride=2 if stage else 1,
                    groups=groups, project=True,
                )
            )  # fmt: skip
        self.body = nn.Sequential(*blocks)
        self.classifier = nn.Linear(256, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        return self.classifier(F.relu(self.body(self.stem(images))).mean((2, 3)))
