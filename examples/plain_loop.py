"""1cycle in a plain PyTorch loop: call `scheduler.step()` after every optimizer update."""

import torch
from torch import nn

import superconv as sc


def main() -> float:
    torch.manual_seed(0)
    inputs = torch.randn(512, 8)
    targets = (inputs[:, 0] > 0).long()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, targets), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    epochs = 4
    steps = sc.total_steps(epochs, loader)
    scheduler = sc.ScheduleLR(optimizer, sc.one_cycle(steps, max_lr=0.5))
    for _ in range(epochs):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
    print(f"loss {loss.item():.3f}, final LR {scheduler.get_last_lr()[0]:g}")
    return scheduler.get_last_lr()[0]


if __name__ == "__main__":
    main()
