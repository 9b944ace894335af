"""Sums over one process; over several they are tested in tests/training/test_distributed.py."""

import torch

from edgevision.models.collective import even_share, sum_of_all


def test_in_one_process_a_sum_is_the_value_itself():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    sum_of_all(values).sum().backward()
    assert values.grad.tolist() == [1, 1]


def test_a_share_has_a_least_value_and_no_gradient():
    values = torch.tensor(0.25, requires_grad=True)
    share = even_share(values, 1.0)
    assert share.item() == 1
    assert not share.requires_grad
    assert even_share(torch.tensor(5.0), 1.0).item() == 5
