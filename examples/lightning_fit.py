"""1cycle in Lightning: the one thing to get right is `"interval": "step"`."""

import lightning
import torch
from torch import nn

import superconv as sc


class Classifier(lightning.LightningModule):
    """A small network whose optimizer follows a schedule over the Trainer's own count of updates."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        """Cross entropy of a batch."""
        return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> dict[str, object]:
        """SGD under 1cycle; Lightning knows how many updates there will be, accumulation included."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        schedule = sc.one_cycle(int(self.trainer.estimated_stepping_batches), max_lr=0.5)
        scheduler = sc.ScheduleLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def main() -> float:
    torch.manual_seed(0)
    inputs = torch.randn(512, 8)
    data = torch.utils.data.TensorDataset(inputs, (inputs[:, 0] > 0).long())
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        devices=1,
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(), loader)
    final = trainer.optimizers[0].param_groups[0]["lr"]
    print(f"{trainer.global_step} updates, final LR {final:g}")
    return final


if __name__ == "__main__":
    main()
