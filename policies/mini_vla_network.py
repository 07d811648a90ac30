"""The eyes of the small vision-language-action policy: convolutions that look where the instruction says."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Channels after each convolution, and the strides of all but the first, whose stride is 2.
_CHANNELS = (32, 64, 96, 96)
_STRIDES = (2, 2, 1)


class Eye(nn.Module):
    """One camera. The instruction scales and shifts the channels (FiLM, Perez et al. 2018, arXiv 1709.07871).

    Attention maps over the last layer give expected image coordinates (Finn et al. 2016, arXiv 1509.06113), which
    say where something is to a fraction of a cell, and attended values, which say what is there.
    """

    def __init__(self, maps: int, text: int) -> None:
        super().__init__()
        first, *others = _CHANNELS
        self.first = nn.Conv2d(3, first, 5, stride=2, padding=2)
        inputs = _CHANNELS[:-1]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride, 1) for i, o, stride in zip(inputs, others, _STRIDES, strict=True)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for channels in others)
        self.films = nn.ModuleList(nn.Linear(text, 2 * channels) for channels in others)
        self.attention = nn.Conv2d(_CHANNELS[-1], maps, 1)
        self.values = nn.Conv2d(_CHANNELS[-1], maps, 1)
        for parameter in self.films.parameters():
            nn.init.zeros_(parameter)

    def forward(self, pictures: Tensor, text: Tensor, corner: Tensor) -> Tensor:
        """pictures (B, 3, S, S), text (B, n) to (B, 3 * maps).

        `corner` (B, 2): where the crop's upper left corner lies in the whole picture, in [-1, 1] units of its half
        size, so that coordinates are the whole picture's whatever the crop.
        """
        h = F.relu(self.first(pictures))
        for convolution, norm, film in zip(self.convolutions, self.norms, self.films, strict=True):
            scale, shift = film(text)[:, :, None, None].chunk(2, dim=1)
            h = F.relu(torch.addcmul(shift, norm(convolution(h)), 1 + scale))
        weights = self.attention(h).flatten(2).softmax(dim=2)
        values = (weights * self.values(h).flatten(2)).sum(2)
        line = torch.linspace(-1, 1, h.shape[-1]).to(h)
        x = (weights.unflatten(2, h.shape[2:]).sum(2) * line).sum(2)
        y = (weights.unflatten(2, h.shape[2:]).sum(3) * line).sum(2)
        return torch.cat([x + corner[:, :1], y + corner[:, 1:], values], dim=1)
