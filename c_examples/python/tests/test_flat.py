"""Parameters of a PyTorch module as one vector; where there is no torch, of a stand-in with the same methods."""
import numpy as np
import pytest

import libbnn as bnn


class Tensor:
    """What flatten uses of torch.nn.Parameter: detach, numpy, data and grad."""

    def __init__(self, array):
        self.data, self.grad = array, None

    def detach(self):
        return self

    def numpy(self):
        return self.data


def test_a_stand_in_shares_its_memory():
    parameters = [Tensor(np.arange(6, dtype=np.float32).reshape(2, 3)), Tensor(np.array([7.0], np.float32))]
    theta, grad = bnn.flatten(parameters, from_numpy=lambda array: array)
    assert np.array_equal(theta, [0, 1, 2, 3, 4, 5, 7]) and np.array_equal(grad, np.zeros(7))
    theta[4] = -1
    parameters[0].grad += 2
    assert parameters[0].data[1, 1] == -1 and parameters[0].data.shape == (2, 3) and np.array_equal(grad, [2] * 6 + [0])
    assert parameters[1].data == 7
    assert np.shares_memory(parameters[1].data, theta)
    # A chain writes into the parameters themselves.
    chain = bnn.Sampler.with_gradients(theta, {"sampler": "baoa", "step_size": 0.1})
    chain.step_gradient(grad, 0.0, theta)
    assert parameters[0].data[0, 0] == theta[0] != 0


def test_other_types_are_refused():
    for parameters in ([], [Tensor(np.zeros(2))]):
        with pytest.raises(bnn.Error, match="float32"):
            bnn.flatten(parameters, from_numpy=lambda array: array)


def test_a_module_of_torch_is_sampled():
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    x = torch.randn(200, 3)
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.1 * torch.randn(200)
    net = torch.nn.Linear(3, 1)
    theta, grad = bnn.flatten(net.parameters())
    assert theta.shape == (4,) and net.weight.data_ptr() == theta.ctypes.data and net.weight.grad.data_ptr() == grad.ctypes.data
    chain = bnn.Sampler.with_gradients(theta, {"sampler": "baoa", "adapt": "dense", "sampling_steps": 10000, "thinning": 5, "seed": 4})
    kept = []
    while not chain.done:
        grad[:] = 0
        log_post = -50 * ((net(x)[:, 0] - y) ** 2).sum() - 0.5 * sum((p**2).sum() for p in net.parameters())
        log_post.backward()
        if chain.step_gradient(grad, log_post.item(), theta).sample_due:
            kept.append(theta.copy())
    # The posterior is normal: precision 100 X^T X + 1.
    design = np.column_stack([x.numpy(), np.ones(200)]).astype(float)
    precision = 100 * design.T @ design + np.eye(4)
    mean = np.linalg.solve(precision, 100 * design.T @ y.numpy().astype(float))
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    for i in range(4):
        one = bnn.chain_diagnostics(np.array(kept)[None, :, i])
        assert abs(one["mean"] - mean[i]) < 7 * one["mcse_mean"] and abs(one["sd"] / sd[i] - 1) < 0.3, (i, one, mean, sd)
