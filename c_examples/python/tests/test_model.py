"""Models, trainers and evaluators."""
import numpy as np
import pytest

import libbnn as bnn
from conftest import SHORT


def test_tensors_lie_in_the_parameters(model, corpus, tmp_path):
    info, params = model.info(), model.params()
    assert info["n_params"] == model.n_params == params.size and info["block_size"] == model.block_size == 32
    tensors = model.tensors()
    assert sum(t.len for t in tensors) == params.size and tensors[0].shape == (corpus.vocab_size, info["n_embd"])
    for i, tensor in enumerate(tensors):
        assert model.find_tensor(tensor.name) == i and np.prod(tensor.shape) == tensor.len
    assert {len(t.shape) for t in tensors} == {1, 2}
    gain = next(t for t in tensors if len(t.shape) == 1)
    assert np.all(params[gain.offset : gain.offset + gain.len] == 1)
    with pytest.raises(bnn.Error, match="wte"):
        model.find_tensor("transformer.wte.weigth")


def test_models_are_kept(model, corpus, context, tmp_path):
    params = model.params() * 2
    copy = model.copy()
    model.set_params(params)
    model.save(tmp_path / "m.bnn", corpus, 5)
    assert np.array_equal(bnn.Model.load(tmp_path / "m.bnn", context=context).params(), params)
    model.save_safetensors(tmp_path / "m.safetensors")
    assert not np.array_equal(copy.params(), params)
    copy.read_safetensors(tmp_path / "m.safetensors")
    assert np.array_equal(copy.params(), params)
    assert copy.loss(corpus, "val") == model.loss(corpus, "val")
    untied = model.untie()
    assert untied.n_params == model.n_params + model.tensor(0).len and untied.loss(corpus, "val") == model.loss(corpus, "val")
    with pytest.raises(bnn.Error) as e:
        model.set_params(params[1:])
    assert e.value.status == bnn.ERR_SHAPE
    with pytest.raises(bnn.Error) as e:
        bnn.Model.load(tmp_path / "m.safetensors")
    assert e.value.status == bnn.ERR_BAD_MAGIC


def test_a_training_goes_on_from_its_file(model, corpus, options, tmp_path):
    whole, broken = (bnn.Trainer(model, corpus, options) for _ in range(2))
    for step in range(10):
        if step == 5:
            broken.save(tmp_path / "t.bnn")
            broken = bnn.Trainer.load(tmp_path / "t.bnn", model, corpus, options)
        assert whole.step() == broken.step()
    assert np.array_equal(whole.params(), broken.params())
    assert whole.keep_best(2.0) and not whole.keep_best(3.0)
    best = whole.best()
    whole.step()
    assert np.array_equal(whole.best(np.empty_like(best)), best) and not np.array_equal(whole.params(), best)
    report = whole.report()
    assert report["steps"] == 11 and report["best.score"] == 2.0 and report["best.steps"] == 10
    whole.finish()
    assert np.array_equal(model.params(), whole.params())
    again = bnn.Trainer(model, corpus, options, "model")
    assert np.array_equal(again.params(), model.params())


def test_train_once_is_kept(model, corpus, options, tmp_path):
    seen = []
    first = model.train_once(corpus, options, tmp_path, lambda step, loss: seen.append((step, loss)))
    assert first["kept"] == 0 and [step for step, _ in seen] == list(range(1, 21)) and seen[-1][1] < seen[0][1]
    other = bnn.Model(corpus.vocab_size, options)
    assert other.train_once(corpus, options, tmp_path)["kept"] == 1
    assert np.array_equal(model.params(), other.params()) and first["val_loss"] == model.loss(corpus, "val")


def test_a_step_on_ones_own_tokens(model, batch):
    x, y = batch
    trainer = bnn.Trainer(model, None, {**SHORT, "window": 16, "baseline_batch_size": 4})
    evaluator = bnn.Evaluator(model)
    before = evaluator.loss(x, y, trainer.params()).mean
    assert np.isclose(trainer.step_tokens(x, y), before, rtol=1e-6) and evaluator.loss(x, y, trainer.params()).mean < before
    with pytest.raises(bnn.Error) as e:
        trainer.step_tokens(x, y[1:])
    assert e.value.status == bnn.ERR_SHAPE


def test_losses_gradients_and_predictions_agree(model, batch):
    x, y = batch
    evaluator = bnn.Evaluator(model)
    params = model.params() * 1.5
    loss = evaluator.loss(x, y, params)
    logits = evaluator.logits(x, params).astype(float)
    assert logits.shape == (4, 16, evaluator.vocab_size)
    log_probs = evaluator.log_probs(x, y, params)
    mine = np.take_along_axis(logits, y[..., None].astype(int), 2)[..., 0] - np.log(np.exp(logits).sum(2))
    assert log_probs.shape == (4, 16) and np.allclose(log_probs, mine, atol=1e-5)
    assert np.isclose(loss.total, -log_probs.sum()) and np.isclose(loss.mean, loss.total / 64)
    assert np.isclose(evaluator.loss(x, y, params, last_only=True).mean, -log_probs[:, -1].mean())
    assert evaluator.loss(x, y).mean != loss.mean, "without parameters, the model's"
    grad, again, squares = (np.empty(model.n_params, np.float32) for _ in range(3))
    assert evaluator.gradient(x, y, grad, params) == loss
    direction, eps = grad / np.linalg.norm(grad), 1e-2
    slope = (evaluator.loss(x, y, params + eps * direction).mean - evaluator.loss(x, y, params - eps * direction).mean) / (2 * eps)
    assert np.isclose(slope, grad.astype(float) @ direction, rtol=2e-2)
    assert evaluator.squares(x, y, again, squares, params).mean == loss.mean
    assert np.allclose(grad, again, atol=1e-6) and np.all(squares >= 0) and squares.sum() > 0
    one = evaluator.logits(x[0], params)
    assert one.shape == (16, evaluator.vocab_size) and np.allclose(one, logits[0], atol=1e-5)
    out = np.empty(4 * 16 * evaluator.vocab_size, np.float32)
    assert evaluator.logits(x, params, out) is out and np.array_equal(out, logits.ravel())
    with pytest.raises(bnn.Error, match="memory"):
        evaluator.gradient(x, y, params, params)
    with pytest.raises(bnn.Error) as e:
        evaluator.loss(x, y[:2])
    assert e.value.status == bnn.ERR_SHAPE
    with pytest.raises(bnn.Error) as e:
        evaluator.loss(x + 1000, y)
    assert e.value.status == bnn.ERR_INVALID
