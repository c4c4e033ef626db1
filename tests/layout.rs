//! Where each parameter lies: counts, initial sizes, owners, an untied head, shapes that are refused.

mod common;

use bnn::gpt::{Gelu, Gpt, GptConfig, Objective};
use common::model::*;
use common::{bits, every_cpu, norm, relative_error, wide};

/// nanoGPT's counts: 10.65 million for the small character model, 124 million for GPT-2.
#[test]
fn parameters_are_counted_as_nanogpt_does() {
    // V C + T C + L (12 C^2 + 2 C) + C without biases; with them 11 C more a block, and C
    let count = |name, v| {
        let config = GptConfig::named(name, v).unwrap();
        // Counted without being built, too, and untied.
        let gpt = Gpt::new(config.clone()).unwrap();
        for gpt in [&gpt, &gpt.untied()] {
            assert_eq!(gpt.config().n_params(), gpt.n_params());
        }
        gpt.n_params()
    };
    let by_hand = |v: usize, t: usize, l: usize, c: usize, bias: bool| {
        let plain = (v + t) * c + l * (12 * c * c + 2 * c) + c;
        if bias { plain + l * 11 * c + c } else { plain }
    };
    assert_eq!(count("tiny", 65), by_hand(65, 32, 2, 32, false));
    assert_eq!(count("baby", 65), by_hand(65, 256, 6, 384, false));
    assert_eq!(count("baby", 65), 10_745_088);
    assert_eq!(count("gpt2", 50_257), 124_439_808);
}

/// An untied model with the tied one's table for its head is the same model; the tied table's gradient is the sum of the two.
#[test]
fn untying_changes_nothing_but_the_layout() {
    for cpu in every_cpu() {
        let config = config(SHAPE, true, Gelu::Exact);
        let ((x, y), (b, t)) = (batch(3, 7, 31), (3, 7));
        let mut tied = Model::random(&cpu, &config, b, t, 8);
        let gpt = tied.gpt.untied();
        assert_eq!(gpt.n_params(), tied.gpt.n_params() + SHAPE[0] * SHAPE[4]);
        assert_eq!(gpt.untied().config(), gpt.config());
        let flat = tied.gpt.untie(&tied.flat).unwrap();
        assert_eq!(gpt.untie(&flat).unwrap(), flat);
        assert!(gpt.untie(&tied.flat).is_err());
        let mut own = Model::new(&cpu, gpt.config(), &flat, b, t);
        assert_eq!(
            bits(&own.logits(&x, t).unwrap()),
            bits(&tied.logits(&x, t).unwrap())
        );
        let last = own.gpt.layout().tensors().last().unwrap().clone();
        assert_eq!(last.name, "lm_head.weight");
        let (loss, want) = tied.gradient(&x, &y, t, Objective::All, None).unwrap();
        let (own_loss, mut got) = own.gradient(&x, &y, t, Objective::All, None).unwrap();
        assert_eq!(loss, own_loss);
        let head = got.split_off(last.range.start);
        got.iter_mut().zip(&head).for_each(|(g, h)| *g += h); // the table comes first
        let error = relative_error(&got, &wide(&want));
        assert!(error < TOLERANCE, "{error:e}");
        // A table of its own still has a gradient, and so has the head.
        assert!(norm(&wide(&head)) > 0.1 * norm(&wide(&want[..head.len()])));
    }
}

/// Each number has the standard deviation that nanoGPT gives it, within 6 standard errors (2e-9 a tensor).
#[test]
fn initial_parameters_have_nanogpts_sizes() {
    let gpt = Gpt::new(config([65, 64, 4, 4, 64], true, Gelu::Exact)).unwrap();
    let flat = gpt.layout().init(3);
    assert_eq!(bits(&flat), bits(&gpt.layout().init(3)));
    assert_ne!(bits(&flat), bits(&gpt.layout().init(4)));
    for tensor in gpt.layout().tensors() {
        let part = wide(&flat[tensor.range.clone()]);
        if tensor.shape.len() == 1 {
            let want = if tensor.name.ends_with("bias") {
                0.0
            } else {
                1.0
            };
            assert!(part.iter().all(|&v| v == want), "{}", tensor.name);
            continue;
        }
        let std = if tensor.name.ends_with("c_proj.weight") {
            0.02 / 8f64.sqrt()
        } else {
            0.02
        };
        let n = part.len() as f64;
        let got = norm(&part) / n.sqrt();
        assert!(
            (got / std - 1.0).abs() < 6.0 / (2.0 * n).sqrt(),
            "{}: {got}",
            tensor.name
        );
        let mean = part.iter().sum::<f64>() / n;
        assert!(mean.abs() < 6.0 * std / n.sqrt(), "{}: {mean}", tensor.name);
    }
}

#[test]
fn every_parameter_has_one_owner() {
    let gpt = Gpt::new(config(SHAPE, true, Gelu::Exact)).unwrap();
    let layout = gpt.layout();
    let mut at = 0;
    for tensor in layout.tensors() {
        assert_eq!(tensor.range.start, at);
        assert_eq!(tensor.range.len(), tensor.shape.iter().product::<usize>());
        at = tensor.range.end;
        for i in [tensor.range.start, tensor.range.end - 1] {
            assert_eq!(layout.owner(i).unwrap(), tensor);
        }
        assert_eq!(layout.tensor(&tensor.name).unwrap(), tensor);
    }
    assert_eq!((at, layout.owner(at)), (gpt.n_params(), None));
    assert!(
        layout
            .tensor("lm_head.weight")
            .unwrap_err()
            .to_string()
            .contains("lm_head.weight")
    );
    assert!(layout.params(&[0.0; 3]).is_err());
    for (range, decays) in layout.decayed() {
        let matrix = layout.owner(range.start).unwrap().shape.len() == 2;
        assert_eq!(decays, matrix);
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let good = config(SHAPE, true, Gelu::Exact);
    Gpt::new(good.clone()).unwrap();
    type Change = fn(&mut GptConfig);
    let cases: [(&str, Change); 9] = [
        ("vocab_size", |c| c.vocab_size = 0),
        ("vocab_size", |c| c.vocab_size = (1 << 16) + 1),
        ("block_size", |c| c.block_size = 0),
        ("n_layer", |c| c.n_layer = 0),
        ("n_embd", |c| c.n_embd = 0),
        ("n_head", |c| c.n_head = 0),
        ("n_head", |c| c.n_head = 3),
        ("dropout", |c| c.dropout = 1.0),
        ("dropout", |c| c.dropout = f32::NAN),
    ];
    for (field, change) in cases {
        let mut config = good.clone();
        change(&mut config);
        let text = Gpt::new(config).unwrap_err().to_string();
        assert!(text.starts_with(field), "{text}");
    }
    for (name, b, t) in bnn::gpt::NAMED {
        let named = GptConfig::named(name, 65).unwrap();
        assert!(*t <= named.block_size && *b > 0, "{name}");
    }
    let text = GptConfig::named("huge", 65).unwrap_err().to_string();
    assert!(
        text.contains("baby-full") && text.contains("huge"),
        "{text}"
    );
}

/// The views of a vector that counts from 0 are the tensors of those names, and nothing is left out.
#[test]
fn the_views_are_the_tensors() {
    for tied in [true, false] {
        let mut config = config(SHAPE, true, Gelu::Exact);
        config.tie_weights = tied;
        let gpt = Gpt::new(config).unwrap();
        let layout = gpt.layout();
        let flat: Vec<f32> = (0..gpt.n_params()).map(|i| i as f32).collect();
        let views = layout.params(&flat).unwrap();
        let mut seen = 0;
        let mut is = |name: &str, shape: &[usize], first: Option<&f32>| {
            let tensor = layout.tensor(name).unwrap();
            assert_eq!(
                (shape, first),
                (&tensor.shape[..], Some(&flat[tensor.range.start]))
            );
            seen += tensor.range.len();
        };
        is(
            "transformer.wte.weight",
            views.wte.shape(),
            views.wte.first(),
        );
        is(
            "transformer.wpe.weight",
            views.wpe.shape(),
            views.wpe.first(),
        );
        for (l, b) in views.blocks.iter().enumerate() {
            for (name, norm) in [("ln_1", &b.ln_1), ("ln_2", &b.ln_2)] {
                let bias = norm.bias.as_ref().unwrap();
                let name = format!("transformer.h.{l}.{name}");
                is(
                    &format!("{name}.weight"),
                    norm.weight.shape(),
                    norm.weight.first(),
                );
                is(&format!("{name}.bias"), bias.shape(), bias.first());
            }
            for (name, layer) in [
                ("attn.c_attn", &b.c_attn),
                ("attn.c_proj", &b.attn_proj),
                ("mlp.c_fc", &b.c_fc),
                ("mlp.c_proj", &b.mlp_proj),
            ] {
                let bias = layer.bias.as_ref().unwrap();
                let name = format!("transformer.h.{l}.{name}");
                is(
                    &format!("{name}.weight"),
                    layer.weight.shape(),
                    layer.weight.first(),
                );
                is(&format!("{name}.bias"), bias.shape(), bias.first());
            }
        }
        let (norm, head) = (&views.ln_f, &views.lm_head);
        is(
            "transformer.ln_f.weight",
            norm.weight.shape(),
            norm.weight.first(),
        );
        let bias = norm.bias.as_ref().unwrap();
        is("transformer.ln_f.bias", bias.shape(), bias.first());
        if tied {
            assert_eq!(head, views.wte);
        } else {
            is("lm_head.weight", head.shape(), head.first());
        }
        assert_eq!(seen, gpt.n_params());
    }
}
