"""What c_examples/train_sample_generate.c does and prints: train_sample_generate.py [iters] [sampling_steps] [FILE]"""
import sys

import libbnn as bnn

iters, steps = (int(sys.argv[i]) if len(sys.argv) > i else usual for i, usual in ((1, 300), (2, 200)))
print("bnn", bnn.version())
corpus = bnn.Corpus.from_file(sys.argv[3]) if len(sys.argv) > 3 else bnn.Corpus.embedded()
options = bnn.Options(shape="tiny", seed=7, baseline_iters=iters, baseline_warmup_iters=iters // 10, baseline_learning_rate=3e-3, sampler="baoa")
options.set(sampling_steps=steps, thinning=steps // 10 or 1, warmup_steps=steps // 4, preconditioner_steps=steps // 4 + 1)
model = bnn.Model(corpus.vocab_size, options)
print(f"{corpus.sizes().n_train} training tokens, {corpus.vocab_size} characters, {model.n_params} parameters")

trainer = bnn.Trainer(model, corpus, options)
for _ in range(iters):
    trainer.step()
trainer.finish()
print(f"baseline             {model.loss(corpus, 'val'):.4f} nats a token")

ensemble = bnn.Ensemble(model)
for params in bnn.Sampler(model, corpus, options).samples():
    ensemble.add(params)
r = ensemble.evaluate(corpus, "val")
print(f"mean of the samples  {r['loss_mean']:.4f}\naveraged prediction  {r['loss']:.4f}")
print(
    f"entropy {r['entropy.mean']:.4f}, of it the samples disagree about {r['mutual_information.mean']:.4f}; "
    f"calibration error {r['ece']:.4f}, Brier {r['brier']:.4f}, accuracy {r['accuracy']:.4f}"
)

text = bnn.Generator(ensemble, corpus).generate("The ", options.set(max_new_tokens=200, generation_temperature=0.7))
uncertain = int((text.mutual_information > 0.1).sum())
print(f"--- text ---\nThe {text.text}")
print(f"--- entropy {text.mean_entropy:.4f}, mutual information {text.mean_mutual_information:.4f}, {uncertain} uncertain tokens ---")
