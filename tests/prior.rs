//! Draws from a prior: their law, and what they are a function of.

use bnn::gpt::{Gelu, Gpt, GptConfig};
use bnn::posterior::{Prior, PriorFamily, PriorUnits};

const N: usize = 200_000;

fn prior(family: PriorFamily) -> Prior {
    let wave = |scale: f32| (0..N).map(|i| scale * (i as f32).sin()).collect();
    Prior {
        family,
        std: 0.3,
        center: Some(wave(2.0)),
        units: PriorUnits::RelativeTo(wave(1.5)),
    }
}

/// z = (theta - center) / scale of each parameter, in rising order.
fn standardised(prior: &Prior, theta: &[f32]) -> Vec<f64> {
    let (center, weights) = (prior.center.as_ref(), prior.units.vector());
    let z = |(i, &theta): (usize, &f32)| {
        let scale = weights.map_or(1.0, |w| w[i].abs() as f64 + 1e-4) * prior.std as f64;
        (theta as f64 - center.map_or(0.0, |c| c[i] as f64)) / scale
    };
    let mut z: Vec<f64> = theta.iter().enumerate().map(z).collect();
    z.sort_by(f64::total_cmp);
    z
}

/// The distribution function of Student's t with 3 degrees of freedom.
fn student_t3(z: f64) -> f64 {
    let x = z / 3f64.sqrt();
    0.5 + (x / (1.0 + x * x) + x.atan()) / std::f64::consts::PI
}

fn laplace(z: f64) -> f64 {
    let tail = 0.5 * (-z.abs()).exp();
    if z < 0.0 { tail } else { 1.0 - tail }
}

/// By Simpson's rule from 0, to 1e-10.
fn normal(z: f64) -> f64 {
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let h = z / 200.0;
    let pair = |i: usize| {
        let x = 2.0 * i as f64 * h;
        density(x) + 4.0 * density(x + h) + density(x + 2.0 * h)
    };
    0.5 + (0..100).map(pair).sum::<f64>() * h / 3.0
}

/// Kolmogorov's statistic times the root of the number of draws: above 3 with probability 2 exp(-18) = 3e-8.
fn kolmogorov(sorted: &[f64], cdf: fn(f64) -> f64) -> f64 {
    let n = sorted.len() as f64;
    let gap = |(i, &z): (usize, &f64)| {
        let f = cdf(z);
        (f - i as f64 / n).abs().max(((i + 1) as f64 / n - f).abs())
    };
    sorted.iter().enumerate().map(gap).fold(0.0, f64::max) * n.sqrt()
}

/// Each family about a centre that varies, with scales that vary. The law of another family, and a scale that is off by 3 %, are seen.
#[test]
fn draws_have_the_law_of_the_prior() {
    type Case = (PriorFamily, fn(f64) -> f64);
    let families: [Case; 3] = [
        (PriorFamily::Normal, normal),
        (PriorFamily::Laplace, laplace),
        (PriorFamily::StudentT { dof: 3.0 }, student_t3),
    ];
    for (i, (family, cdf)) in families.into_iter().enumerate() {
        let prior = prior(family);
        let mut theta = vec![f32::NAN; N];
        prior.draw(17, 5, &mut theta).unwrap();
        let z = standardised(&prior, &theta);
        let d = kolmogorov(&z, cdf);
        assert!(d < 3.0, "{family:?}: {d}");
        let (_, other) = families[(i + 1) % 3];
        assert!(kolmogorov(&z, other) > 6.0, "{family:?} passes for another");
        let wider: Vec<f64> = z.iter().map(|z| 1.03 * z).collect();
        assert!(kolmogorov(&wider, cdf) > 3.0, "{family:?} passes 3 % wider");
    }
}

#[test]
fn a_draw_is_a_function_of_seed_and_index() {
    let prior = Prior::isotropic(0.7);
    let draw = |seed, index| {
        let mut theta = vec![0.0; 100];
        prior.draw(seed, index, &mut theta).unwrap();
        theta
    };
    assert_eq!(draw(1, 2), draw(1, 2));
    assert_ne!(draw(1, 2), draw(1, 3));
    assert_ne!(draw(1, 2), draw(2, 2));
}

#[test]
fn a_prior_that_cannot_be_is_refused() {
    let mut theta = vec![0.0; 3];
    let mut error = |prior: Prior| prior.draw(1, 1, &mut theta).unwrap_err().to_string();
    assert!(error(Prior::isotropic(0.0)).starts_with("prior_std"));
    let family = PriorFamily::StudentT { dof: -1.0 };
    let prior = Prior::isotropic(1.0);
    let dof = Prior {
        family,
        ..prior.clone()
    };
    assert!(error(dof).starts_with("prior_dof"));
    let short = Some(vec![1.0; 2]);
    let center = Prior {
        center: short,
        ..prior.clone()
    };
    assert!(error(center).starts_with("prior's center"));
    for (units, part) in [
        (
            PriorUnits::RelativeTo(vec![1.0; 2]),
            "prior's reference weights",
        ),
        (PriorUnits::Each(vec![1.0; 2]), "prior's units"),
        (PriorUnits::Each(vec![1.0, -1.0, 1.0]), "prior's units[1]"),
    ] {
        let prior = Prior {
            units,
            ..prior.clone()
        };
        let e = error(prior);
        assert!(e.starts_with(part), "{e}");
    }
}

/// A normal's deviation at T is sd T^1/2, a double exponential's 2^1/2 b T. A Student-t of 3 degrees at T = 1/2 is one of 7, (3 / 5)^1/2 wide; at T = 1 its
/// deviation is 3^1/2, and at T = 2 there is none. A relative scale is a root mean square.
#[test]
fn the_deviation_at_t_is_that_of_the_tempered_density() {
    let of = |family, t| {
        let prior = Prior {
            family,
            ..Prior::isotropic(0.5)
        };
        prior.sd_at(t)
    };
    let near = |got: Option<f64>, want: f64| {
        let got = got.expect("a deviation");
        assert!((got / want - 1.0).abs() < 1e-6, "{got}, not {want}");
    };
    near(of(PriorFamily::Normal, 0.09), 0.15);
    near(of(PriorFamily::Laplace, 0.3), 0.15 * 2f64.sqrt());
    let t = PriorFamily::StudentT { dof: 3.0 };
    near(of(t, 1.0), 0.5 * 3f64.sqrt());
    near(of(t, 0.5), 0.5 * (3.0f64 / 5.0).sqrt());
    assert_eq!(of(t, 2.0), None);
    let relative = Prior {
        units: PriorUnits::RelativeTo(vec![1.0, -3.0]),
        ..Prior::isotropic(0.5)
    };
    near(
        relative.sd_at(4.0),
        2.0 * 0.5 * (((1.0001f64).powi(2) + 3.0001f64.powi(2)) / 2.0).sqrt(),
    );
}

/// 1 / sqrt(inputs) for the matrices of blocks and of an untied head, 1 for all else, on a model whose layers have different widths; and a draw of such a
/// prior is the draw of unit deviation times the unit.
#[test]
fn units_by_fan_in_are_those_of_the_layers() {
    for tie_weights in [true, false] {
        let gpt = Gpt::new(GptConfig {
            vocab_size: 13,
            block_size: 5,
            n_layer: 2,
            n_head: 2,
            n_embd: 6,
            bias: true,
            dropout: 0.0,
            gelu: Gelu::Exact,
            tie_weights,
        });
        let gpt = gpt.unwrap();
        let prior = Prior {
            units: PriorUnits::by_fan_in(gpt.layout()).unwrap(),
            ..Prior::isotropic(0.5)
        };
        let units = prior.units.vector().expect("units");
        let (mut narrow, mut wide) = (0, 0);
        for tensor in gpt.layout().tensors() {
            let name = &tensor.name;
            let matrix = name.contains(".attn.c") || name.contains(".mlp.c");
            let head = name == "lm_head.weight";
            let want = match matrix && name.ends_with("weight") || head {
                true => 1.0 / (tensor.shape[1] as f64).sqrt(),
                false => 1.0,
            };
            narrow += usize::from((want - 1.0 / 6f64.sqrt()).abs() < 1e-12);
            wide += usize::from((want - 1.0 / 24f64.sqrt()).abs() < 1e-12);
            let own = &units[tensor.range.clone()];
            assert!(
                own.iter().all(|u| (f64::from(*u) - want).abs() < 1e-7),
                "{name}"
            );
        }
        assert_eq!((narrow, wide), (if tie_weights { 6 } else { 7 }, 2));
        let (mut with, mut plain) = (vec![0.0; gpt.n_params()], vec![0.0; gpt.n_params()]);
        prior.draw(3, 4, &mut with).unwrap();
        Prior::isotropic(0.5).draw(3, 4, &mut plain).unwrap();
        for ((with, plain), unit) in with.iter().zip(&plain).zip(units) {
            assert!((with - unit * plain).abs() <= 1e-6 * plain.abs());
        }
    }
}
