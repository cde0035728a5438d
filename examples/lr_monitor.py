"""What learning rate does the curvature allow? `LRMonitor` in a plain PyTorch loop, without changing the training."""

import torch
from torch import nn

import superconv as sc


def main() -> float:
    torch.manual_seed(0)
    inputs = torch.randn(1024, 8)
    targets = inputs.sum(1, keepdim=True) + torch.randn(1024, 1)
    train = torch.utils.data.TensorDataset(inputs[:768], targets[:768])
    held_out = torch.utils.data.TensorDataset(inputs[768:], targets[768:])  # takes no part in the updates
    loader = torch.utils.data.DataLoader(train, batch_size=64, shuffle=True)
    probes = torch.utils.data.DataLoader(held_out, batch_size=16)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_fn = nn.functional.mse_loss

    with sc.LRMonitor(model, optimizer, loss_fn, probes, every=6) as monitor:
        for _ in range(6):
            for batch, labels in loader:
                optimizer.zero_grad()
                loss_fn(model(batch), labels).backward()
                optimizer.step()
            print(monitor.latest)
    print(f"{len(monitor.rows)} readings, final LR {monitor.latest.lr:g}")
    return monitor.latest.lr


if __name__ == "__main__":
    main()
