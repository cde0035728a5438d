"""1cycle in the Hugging Face Trainer: pass optimizer and scheduler as `optimizers=(optimizer, scheduler)`."""

import tempfile

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

import superconv as sc


class Classifier(nn.Module):
    """A small network with the forward pass that the Trainer expects: keyword inputs, a dict with the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits (N, 2) and their mean cross entropy."""
        logits = self.network(inputs)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def main() -> float:
    torch.manual_seed(0)
    inputs = torch.randn(512, 8)
    rows = [{"inputs": row, "labels": int(row[0] > 0)} for row in inputs]
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    epochs, batch_size, accumulation = 4, 32, 2
    steps = sc.total_steps(epochs, len(rows), batch_size, accumulation_steps=accumulation)
    scheduler = sc.ScheduleLR(optimizer, sc.one_cycle(steps, max_lr=0.01))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        Trainer(model, arguments, train_dataset=rows, optimizers=(optimizer, scheduler)).train()
    final = scheduler.get_last_lr()[0]
    print(f"{scheduler.last_epoch} updates of {steps}, final LR {final:g}")
    return final


if __name__ == "__main__":
    main()
