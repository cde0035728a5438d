"""1cycle in an Accelerate loop: prepare the scheduler like the rest, step it every batch."""

import torch
from accelerate import Accelerator
from torch import nn

import superconv as sc


def main() -> float:
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    inputs = torch.randn(512, 8)
    data = torch.utils.data.TensorDataset(inputs, (inputs[:, 0] > 0).long())
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    epochs = 4
    # Updates are counted, not calls: no correction for the number of processes is needed.
    steps = sc.total_steps(
        epochs, samples=512, batch_size=32, accumulation_steps=2, world_size=accelerator.num_processes
    )
    scheduler = sc.ScheduleLR(optimizer, sc.one_cycle(steps, max_lr=0.5))
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    for _ in range(epochs):
        for batch, labels in loader:
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(batch), labels)
                accelerator.backward(loss)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
    accelerator.print(f"loss {loss.item():.3f}, final LR {scheduler.get_last_lr()[0]:g}")
    return scheduler.get_last_lr()[0]


if __name__ == "__main__":
    main()
