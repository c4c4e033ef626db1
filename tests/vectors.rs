//! Flat vectors on the CPU: each operation against f64, bits over threads and instruction sets, shapes that do not
//! fit.

#[path = "common/ensure.rs"]
mod ensure;

use bnn::Error;
use bnn::backend::vectors::{
    AdamW, Badodab, Block, ChainView, Coefficients, Combine, EkfStep, Langevin, Noise,
    PreconditionedRule, PreconditionedUpdate, RangeMoments, Reduce, Rule, Transfer, ViDraw,
};
use bnn::backend::{Cpu, Input, Scalars, Vectors};
use bnn::rng::{Stream, StreamTag};
use proptest::prelude::*;

fn normals(n: usize, step: u64) -> Vec<f32> {
    let mut z = vec![0.0; n];
    Stream::new(1, StreamTag::Evaluate, 0).fill_normal(step, &mut z);
    z
}

fn every_cpu() -> Vec<Cpu> {
    let cpus = |isa| (1..=3).map(move |threads| Cpu::with_isa(threads, isa).unwrap());
    ensure::every_isa().into_iter().flat_map(cpus).collect()
}

const K: Coefficients = Coefficients {
    kick: 0.3,
    friction: 0.2,
    noise: 0.7,
    drift: 0.4,
};
const RULES: [Rule; 6] = [
    Rule::Sgld {
        drift: 0.3,
        noise: 0.7,
    },
    Rule::Sghmc(K),
    Rule::SghmcEuler(K),
    Rule::Baoa(K),
    Rule::Sglrw {
        pull: 0.6,
        length: 0.7,
    },
    Rule::Badodab(Badodab {
        kick: 0.3,
        drift: 0.4,
        precision: 0.6,
        xi: 0.5,
        follow: 0.1,
        temperature: 0.8,
        decay: 0.35,
        variance: 0.45,
    }),
];

/// One element of each rule in f64, written from its definition.
fn reference(rule: Rule, t: f64, m: f64, g: f64, mass: f64, xi: f64) -> (f64, f64) {
    let kicked = |k: Coefficients, m: f64| {
        m + k.kick as f64 * g - k.friction as f64 * m + k.noise as f64 * mass.sqrt() * xi
    };
    match rule {
        Rule::Sgld { drift, noise } => (
            t + drift as f64 * g / mass + noise as f64 * xi / mass.sqrt(),
            m,
        ),
        Rule::Sglrw { pull, length } => {
            let up = 0.5 + 0.5 * (pull as f64 * g / mass.sqrt()).clamp(-1.0, 1.0);
            let step = length as f64 / mass.sqrt();
            (if xi < up { t + step } else { t - step }, m)
        }
        Rule::Sghmc(k) => (t + k.drift as f64 * kicked(k, m) / mass, kicked(k, m)),
        Rule::SghmcEuler(k) => (t + k.drift as f64 * m / mass, kicked(k, m)),
        Rule::Baoa(k) => {
            let half = m + k.kick as f64 * g;
            let new = (1.0 - k.friction as f64) * half + k.noise as f64 * mass.sqrt() * xi;
            (t + k.drift as f64 / mass * (half + new), new)
        }
        Rule::Badodab(_) => panic!("its coefficients are not its own"),
    }
}

#[test]
fn updates_match_f64_on_odd_lengths() {
    let stream = Stream::new(9, StreamTag::Noise, 2);
    for n in [
        1,
        63,
        64,
        65,
        4095,
        4096,
        4097,
        3 * 4096 + 130,
        9 * 4096 + 1,
    ] {
        let cpu = Cpu::new(2).unwrap();
        let (theta, momenta, grad, center) =
            (normals(n, 0), normals(n, 1), normals(n, 2), normals(n, 3));
        let mass: Vec<f32> = normals(n, 4).iter().map(|z| z.exp()).collect();
        for rule in RULES {
            for with_mass in [false, true] {
                let (mut t, mut m) = (theta.clone(), momenta.clone());
                let on = Langevin {
                    theta: &mut t,
                    momenta: &mut m,
                    grad: &grad,
                    center: &center,
                    mass: with_mass.then_some(&mass),
                    gradient_noise: None,
                    blocks: &mut [],
                    noise: Noise::Counter { stream, step: 6 },
                };
                let mut record = cpu.record().unwrap();
                cpu.langevin_update(rule, on, &mut record).unwrap();
                let got = cpu.read(&mut record).unwrap();
                assert_eq!(record, Scalars::default());
                let mass_of = |i: usize| if with_mass { mass[i] as f64 } else { 1.0 };
                let rule = match rule {
                    Rule::Badodab(b) => {
                        let kicked = |i: usize| {
                            let m = momenta[i] as f64 + b.kick as f64 * grad[i] as f64;
                            m * m / mass_of(i)
                        };
                        let kicked: f64 = (0..n).map(kicked).sum();
                        assert!((got.kicked / kicked - 1.0).abs() < 3e-7, "{n}");
                        Rule::Baoa(b.coefficients(kicked, n))
                    }
                    rule => rule,
                };
                let (mut kinetic, mut virial, mut terms) = (0.0, 0.0, 0.0);
                for i in 0..n {
                    let (mass, g) = (mass_of(i), grad[i] as f64);
                    let xi = match rule {
                        Rule::Sglrw { .. } => stream.uniforms(6, i as u64 / 64)[i % 64] as f64,
                        _ => stream.normal(6, i as u64) as f64,
                    };
                    let (want_t, want_m) =
                        reference(rule, theta[i] as f64, momenta[i] as f64, g, mass, xi);
                    // A handful of roundings of terms whose size is at most `scale`.
                    let scale = (1.0
                        + 5.0 * g.abs()
                        + xi.abs()
                        + momenta[i].abs() as f64
                        + theta[i].abs() as f64)
                        * mass.max(1.0 / mass);
                    assert!(
                        (t[i] as f64 - want_t).abs() < 3e-7 * scale,
                        "{rule:?} theta[{i}] of {n}"
                    );
                    assert!(
                        (m[i] as f64 - want_m).abs() < 3e-7 * scale,
                        "{rule:?} m[{i}] of {n}"
                    );
                    if rule.has_momenta() {
                        kinetic += (m[i] as f64).powi(2) / mass;
                    }
                    virial += (theta[i] - center[i]) as f64 * g;
                    terms += ((theta[i] - center[i]) as f64 * g).abs();
                }
                // Each term has a handful of f32 roundings, 6e-8 of itself; what follows is in f64.
                assert!(
                    (got.kinetic - kinetic).abs() <= 3e-7 * kinetic,
                    "{rule:?} {n}"
                );
                assert!((got.virial - virial).abs() <= 3e-7 * terms, "{rule:?} {n}");
                assert_eq!(got.state, None);
            }
        }
    }
}

/// The element's step under known noise, by the formulas of the method's file: c1 and c2 from rho.
fn noisy_reference(
    k: Coefficients,
    v: f64,
    t: f64,
    m: f64,
    g: f64,
    mass: f64,
    xi: f64,
) -> [f64; 2] {
    let all = 1.0 - k.friction as f64;
    let thermal = (k.noise as f64).powi(2) / (1.0 - all * all);
    let rho = (k.kick as f64).powi(2) * v / (4.0 * thermal * mass);
    let c1 = ((1.0 - rho) / (1.0 + rho)).max(0.0);
    let c2 = if all < c1 { all / c1 } else { 1.0 };
    let half = c1 * m + 0.5 * (1.0 + c1) * k.kick as f64 * g;
    let new = c2 * half + (thermal * (1.0 - c2 * c2) * mass).sqrt() * xi;
    [t + k.drift as f64 / mass * (half + new), new]
}

#[test]
fn the_update_under_known_noise_matches_f64_and_changes_no_bit_between_instruction_sets() {
    let stream = Stream::new(9, StreamTag::Noise, 2);
    for n in [1, 63, 64, 65, 4097, 3 * 4096 + 130] {
        let (theta, momenta, grad, center) =
            (normals(n, 0), normals(n, 1), normals(n, 2), normals(n, 3));
        let mass: Vec<f32> = normals(n, 4).iter().map(|z| z.exp()).collect();
        // From none over what the friction takes out to more than any does, and an estimate that has overflowed.
        let noise = |(i, z): (usize, &f32)| match i % 9 {
            0 => 0.0,
            1 => f32::INFINITY,
            _ => (3.0 * z).exp(),
        };
        let v: Vec<f32> = normals(n, 5).iter().enumerate().map(noise).collect();
        for with_mass in [false, true] {
            let run = |cpu: &Cpu| {
                let (mut t, mut m) = (theta.clone(), momenta.clone());
                let on = Langevin {
                    theta: &mut t,
                    momenta: &mut m,
                    grad: &grad,
                    center: &center,
                    mass: with_mass.then_some(&mass),
                    gradient_noise: Some(&v),
                    blocks: &mut [],
                    noise: Noise::Counter { stream, step: 6 },
                };
                let mut found = Scalars::default();
                cpu.langevin_update(Rule::Baoa(K), on, &mut found).unwrap();
                (t, m, found)
            };
            let cpus = every_cpu();
            let (t, m, found) = run(&cpus[0]);
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            for cpu in &cpus[1..] {
                let (other_t, other_m, other) = run(cpu);
                assert!(
                    bits(&t) == bits(&other_t) && bits(&m) == bits(&other_m),
                    "{cpu:?}"
                );
                assert_eq!(found.kinetic.to_bits(), other.kinetic.to_bits());
            }
            let (mut kinetic, mut regimes) = (0.0, [0; 3]);
            for i in 0..n {
                let mass = if with_mass { mass[i] as f64 } else { 1.0 };
                let (g, xi) = (grad[i] as f64, stream.normal(6, i as u64) as f64);
                let v = (v[i] as f64).min(1e30);
                let [want_t, want_m] =
                    noisy_reference(K, v, theta[i] as f64, momenta[i] as f64, g, mass, xi);
                let scale =
                    (1.0 + 5.0 * g.abs() + xi.abs() + (momenta[i].abs() + theta[i].abs()) as f64)
                        * mass.max(1.0 / mass);
                assert!(
                    (t[i] as f64 - want_t).abs() < 1e-6 * scale,
                    "theta[{i}] of {n}"
                );
                assert!((m[i] as f64 - want_m).abs() < 1e-6 * scale, "m[{i}] of {n}");
                kinetic += (m[i] as f64).powi(2) / mass;
                let plain = reference(
                    Rule::Baoa(K),
                    theta[i] as f64,
                    momenta[i] as f64,
                    g,
                    mass,
                    xi,
                );
                regimes[0] += usize::from((plain.1 - want_m).abs() < 1e-9);
                regimes[1] += usize::from((plain.1 - want_m).abs() > 1e-3);
            }
            assert!((found.kinetic / kinetic - 1.0).abs() < 1e-6);
            assert!(
                n < 63 || (regimes[0] >= n / 9 && regimes[1] > n / 4),
                "{regimes:?}"
            );
        }
    }
}

/// A thermostat for each of several ranges of odd lengths, with and without known noise, each range's step written in f64 from the formulas of the methods'
/// files.
#[test]
fn thermostats_of_ranges_match_f64_and_change_no_bit_between_instruction_sets() {
    let stream = Stream::new(9, StreamTag::Noise, 2);
    let Rule::Badodab(badodab) = RULES[5] else {
        panic!("the rule of thermostats")
    };
    let lengths = [1, 63, 2, 4096, 2 * 4096 + 130, 65];
    let n = lengths.iter().sum();
    let (theta, momenta, grad, center) =
        (normals(n, 0), normals(n, 1), normals(n, 2), normals(n, 3));
    let mass: Vec<f32> = normals(n, 4).iter().map(|z| z.exp()).collect();
    let v: Vec<f32> = (normals(n, 5).iter().enumerate())
        .map(|(i, z)| if i % 9 == 0 { 0.0 } else { (3.0 * z).exp() })
        .collect();
    let ranges = || {
        let mut end = 0;
        let each = lengths.iter().enumerate().map(|(i, n)| {
            let range = end..end + n;
            end += n;
            let xi = 0.8 - 0.3 * i as f64;
            Block {
                range,
                xi,
                kicked: 0.0,
                kinetic: 0.0,
            }
        });
        each.collect::<Vec<_>>()
    };
    for (with_mass, with_noise) in [(false, false), (true, false), (true, true)] {
        let run = |cpu: &Cpu| {
            let (mut t, mut m, mut blocks) = (theta.clone(), momenta.clone(), ranges());
            let on = Langevin {
                theta: &mut t,
                momenta: &mut m,
                grad: &grad,
                center: &center,
                mass: with_mass.then_some(&mass),
                gradient_noise: with_noise.then_some(&v),
                blocks: &mut blocks,
                noise: Noise::Counter { stream, step: 6 },
            };
            let mut found = Scalars::default();
            cpu.langevin_update(RULES[5], on, &mut found).unwrap();
            (t, m, blocks, found)
        };
        let cpus = every_cpu();
        let (t, m, blocks, found) = run(&cpus[0]);
        for cpu in &cpus[1..] {
            let other = run(cpu);
            assert!(
                other == (t.clone(), m.clone(), blocks.clone(), found),
                "{cpu:?}"
            );
        }
        let sum = |f: fn(&Block) -> f64| blocks.iter().map(f).sum::<f64>();
        assert!((found.kicked / sum(|b| b.kicked) - 1.0).abs() < 1e-12);
        assert!((found.kinetic / sum(|b| b.kinetic) - 1.0).abs() < 1e-12);
        let thermal = badodab.temperature / badodab.precision; // T sigma^2
        for b in &blocks {
            let kick = |i: usize| {
                let mass = if with_mass { f64::from(mass[i]) } else { 1.0 };
                let v = if with_noise { f64::from(v[i]) } else { 0.0 };
                let h = f64::from(badodab.kick);
                let rho = (h * h * v / (4.0 * thermal * mass)).min(1.0);
                let c1 = (1.0 - rho) / (1.0 + rho);
                let kicked = c1 * f64::from(momenta[i]) + 0.5 * (1.0 + c1) * h * f64::from(grad[i]);
                (mass, kicked)
            };
            let sum = |f: &dyn Fn(usize) -> f64| b.range.clone().map(f).sum::<f64>();
            let kicked = sum(&|i| kick(i).1.powi(2) / kick(i).0);
            assert!((b.kicked / kicked - 1.0).abs() < 1e-6, "{b:?} {kicked}");
            let own = Badodab {
                xi: b.xi,
                ..badodab
            };
            let k = own.coefficients(kicked, b.range.len());
            for i in b.range.clone() {
                let ((mass, half), xi) = (kick(i), f64::from(stream.normal(6, i as u64)));
                let new =
                    (1.0 - f64::from(k.friction)) * half + f64::from(k.noise) * mass.sqrt() * xi;
                let place = f64::from(theta[i]) + f64::from(k.drift) / mass * (half + new);
                let scale = (1.0
                    + 5.0 * f64::from(grad[i].abs())
                    + xi.abs()
                    + f64::from(momenta[i].abs() + theta[i].abs()))
                    * mass.max(1.0 / mass);
                assert!((f64::from(t[i]) - place).abs() < 1e-6 * scale, "theta[{i}]");
                assert!((f64::from(m[i]) - new).abs() < 1e-6 * scale, "m[{i}]");
            }
            let kinetic = sum(&|i| f64::from(m[i]).powi(2) / kick(i).0);
            assert!((b.kinetic / kinetic - 1.0).abs() < 1e-6, "{b:?} {kinetic}");
        }
    }
}

#[test]
fn ranges_of_thermostats_that_do_not_fit_are_refused() {
    let cpu = Cpu::new(1).unwrap();
    let run = |rule, ranges: &[std::ops::Range<usize>]| {
        let (mut t, mut m) = (normals(70, 0), normals(70, 1));
        let (grad, center) = (normals(70, 2), vec![0.0; 70]);
        let block = |range: &std::ops::Range<usize>| Block {
            range: range.clone(),
            xi: 0.5,
            kicked: 0.0,
            kinetic: 0.0,
        };
        let mut blocks: Vec<Block> = ranges.iter().map(block).collect();
        let on = Langevin {
            theta: &mut t,
            momenta: &mut m,
            grad: &grad,
            center: &center,
            mass: None,
            gradient_noise: None,
            blocks: &mut blocks,
            noise: Noise::Given(&grad),
        };
        cpu.langevin_update(rule, on, &mut Scalars::default())
    };
    assert!(run(RULES[5], &[0..3, 3..70]).is_ok());
    for bad in [
        std::slice::from_ref(&(0..3)),
        &[0..3, 4..70],
        &[0..3, 2..70],
        &[0..3, 3..3, 3..70],
        &[0..3, 3..71],
    ] {
        assert!(run(RULES[5], bad).is_err(), "{bad:?}");
    }
    for rule in &RULES[..5] {
        assert!(matches!(
            run(*rule, std::slice::from_ref(&(0..70))),
            Err(Error::Conflict(_))
        ));
    }
}

/// A step that adds no noise has none to hold back: it is BAOA's own, to the bit. Other rules take no variance.
#[test]
fn known_noise_is_for_baoa_and_changes_no_step_without_a_fluctuation() {
    let stream = Stream::new(9, StreamTag::Noise, 2);
    let cpu = Cpu::new(1).unwrap();
    let run = |rule, v: Option<&Vec<f32>>| {
        let (mut t, mut m) = (normals(70, 0), normals(70, 1));
        let (grad, center) = (normals(70, 2), vec![0.0; 70]);
        let on = Langevin {
            theta: &mut t,
            momenta: &mut m,
            grad: &grad,
            center: &center,
            mass: None,
            gradient_noise: v,
            blocks: &mut [],
            noise: Noise::Counter { stream, step: 6 },
        };
        let done = cpu.langevin_update(rule, on, &mut Scalars::default());
        done.map(|()| (t, m))
    };
    let (v, frozen) = (vec![2.0; 70], Coefficients { noise: 0.0, ..K });
    assert_eq!(
        run(Rule::Baoa(frozen), Some(&v)).unwrap(),
        run(Rule::Baoa(frozen), None).unwrap()
    );
    assert_ne!(
        run(Rule::Baoa(K), Some(&v)).unwrap(),
        run(Rule::Baoa(K), None).unwrap()
    );
    assert!(matches!(
        run(Rule::Baoa(K), Some(&vec![2.0; 69])),
        Err(Error::Shape { .. })
    ));
    let takes = |r: &Rule| matches!(r, Rule::Baoa(_) | Rule::Badodab(_));
    for rule in RULES.into_iter().filter(|r| !takes(r)) {
        assert!(
            matches!(run(rule, Some(&v)), Err(Error::Conflict(_))),
            "{rule:?}"
        );
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let n = 5 * 8 * 4096 + 77;
    let (theta, momenta, grad, center) =
        (normals(n, 0), normals(n, 1), normals(n, 2), normals(n, 3));
    let mass: Vec<f32> = normals(n, 4).iter().map(|z| z.exp()).collect();
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for rule in RULES {
        for with_mass in [false, true] {
            let run = |cpu: &Cpu| {
                let (mut t, mut m) = (theta.clone(), momenta.clone());
                let stream = Stream::new(9, StreamTag::Noise, 2);
                let on = Langevin {
                    theta: &mut t,
                    momenta: &mut m,
                    grad: &grad,
                    center: &center,
                    mass: with_mass.then_some(&mass),
                    gradient_noise: None,
                    blocks: &mut [],
                    noise: Noise::Counter { stream, step: 1 },
                };
                let mut found = Scalars::default();
                cpu.langevin_update(rule, on, &mut found).unwrap();
                let sums = (found.kinetic.to_bits(), found.virial.to_bits());
                (bits(&t), bits(&m), sums)
            };
            let cpus = every_cpu();
            let first = run(&cpus[0]);
            for cpu in &cpus[1..] {
                assert!(run(cpu) == first, "{rule:?}, mass {with_mass}, {cpu:?}");
            }
        }
    }
    let adamw = AdamW {
        lr: 1e-2,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.3,
        step: 3,
        grad_scale: 0.7,
        clip: 100.0,
    };
    let run = |cpu: &Cpu| {
        let (mut t, mut m, mut v) = (theta.clone(), momenta.clone(), mass.clone());
        let (decay, mut found) = ([3..70, 5000..n], Scalars::default());
        cpu.sum_of_squares(&grad, &mut found).unwrap();
        cpu.adamw_update(&mut t, &grad, &mut m, &mut v, &decay, &adamw, &mut found)
            .unwrap();
        let sums = [
            cpu.reduce(Reduce::Dot(&theta, &grad)).unwrap().to_bits(),
            found.grad_squares.to_bits(),
        ];
        (bits(&t), bits(&m), bits(&v), sums)
    };
    let cpus = every_cpu();
    let first = run(&cpus[0]);
    assert!(cpus.iter().all(|cpu| run(cpu) == first));
}

/// Sums over ranges against f64, within the rounding of their terms; the same bits whatever the threads, the instruction set, and what lies around.
#[test]
#[allow(clippy::single_range_in_vec_init)]
fn sums_over_ranges_match_f64_and_change_no_bit() {
    let n = 11 * 4096 + 77;
    let (theta, momenta, grad, center) =
        (normals(n, 0), normals(n, 1), normals(n, 2), normals(n, 3));
    let mass: Vec<f32> = normals(n, 4).iter().map(|z| z.exp()).collect();
    let ranges = [0..1, 1..70, 70..9000, 9000..9000, 9000..n, 0..n, 5000..6000];
    for (with_momenta, with_mass) in [(true, true), (true, false), (false, true)] {
        let run = |cpu: &Cpu| {
            let mut out = [RangeMoments::default(); 7];
            let at = ChainView {
                theta: &theta,
                momenta: with_momenta.then_some(&momenta),
                grad: &grad,
                center: &center,
                mass: with_mass.then_some(&mass),
            };
            cpu.range_moments(&mut out, &ranges, at).unwrap();
            out
        };
        let cpus = every_cpu();
        let first = run(&cpus[0]);
        cpus[1..].iter().for_each(|cpu| assert!(run(cpu) == first));
        for (r, got) in ranges.iter().zip(first) {
            let mass = |i: usize| if with_mass { mass[i] as f64 } else { 1.0 };
            let sum = |f: &dyn Fn(usize) -> f64| {
                let (mut sum, mut size) = (0.0, 0.0);
                for x in r.clone().map(f) {
                    (sum, size) = (sum + x, size + x.abs());
                }
                (sum, size)
            };
            let m = |i: usize| if with_momenta { momenta[i] as f64 } else { 0.0 };
            let g = |i: usize| grad[i] as f64;
            for (got, (want, size)) in [
                (got.kinetic, sum(&|i| m(i).powi(2) / mass(i))),
                (got.force, sum(&|i| g(i).powi(2) / mass(i))),
                (
                    got.virial,
                    sum(&|i| (theta[i] as f64 - center[i] as f64) * g(i)),
                ),
            ] {
                // theta - center cancels, and loses no digit that was there
                assert!(
                    (got - want).abs() <= 4e-7 * size,
                    "{r:?}: {got}, not {want}"
                );
            }
        }
    }
    let cpu = Cpu::new(1).unwrap();
    let five = vec![1.0; 5];
    let at = |grad, mass| ChainView {
        theta: &five,
        momenta: None,
        grad,
        center: &five,
        mass,
    };
    let six = vec![1.0; 6];
    let mut one = [RangeMoments::default()];
    for (ranges, grad, mass) in [
        (&[0..6][..], &five, None),
        (&[0..5, 0..5], &five, None),
        (&[0..5], &six, None),
        (&[0..5], &five, Some(&six)),
    ] {
        assert!(cpu.range_moments(&mut one, ranges, at(grad, mass)).is_err());
    }
}

#[test]
fn the_first_bad_element_is_found() {
    let n = 6 * 4096 + 5;
    for cpu in every_cpu() {
        let mut x = normals(n, 0);
        let check = |x: &Vec<f32>| {
            let [mut given, mut summed] = [Scalars::default(); 2];
            cpu.check_finite(x, Input::Second, &mut given).unwrap();
            cpu.sum_of_squares(x, &mut summed).unwrap();
            assert_eq!(given.second, summed.gradient);
            assert_eq!(summed.is_sound(), given.is_sound());
            cpu.check_finite(x, Input::Gradient, &mut given).unwrap();
            assert_eq!(given.gradient, given.second);
            given.gradient
        };
        assert_eq!(check(&x), None);
        for at in [n - 1, 3 * 4096, 4097, 1] {
            x[at] = if at % 2 == 0 {
                f32::NAN
            } else {
                f32::NEG_INFINITY
            };
            assert_eq!(check(&x), Some(at));
        }
        // The same from an update: an infinity where the drift overflows, in momenta alone under Euler.
        for rule in RULES {
            // No gradient is too large for the one, and the other's friction is of all elements together.
            if let Rule::Sglrw { .. } | Rule::Badodab(_) = rule {
                continue;
            }
            let (mut t, mut m, mut grad) = (vec![1.0; n], vec![0.0; n], vec![0.0; n]);
            (grad[4096 * 2 + 9], grad[n - 2]) = (f32::INFINITY, f32::NAN);
            let zeros = vec![0.0; n];
            let on = Langevin {
                theta: &mut t,
                momenta: &mut m,
                grad: &grad,
                center: &zeros,
                mass: None,
                gradient_noise: None,
                blocks: &mut [],
                noise: Noise::Given(&zeros),
            };
            let mut found = Scalars::default();
            cpu.langevin_update(rule, on, &mut found).unwrap();
            assert_eq!(found.state, Some(4096 * 2 + 9), "{rule:?}");
        }
    }
}

#[test]
fn an_unsound_record_lets_no_update_change_anything() {
    let n = 4096 + 70;
    let nan = f64::NAN;
    let unsound: [fn(&mut Scalars, f64); 5] = [
        |s, nan| s.nll = nan,
        |s, _| s.log_prior = f64::INFINITY,
        |s, nan| s.grad_squares = nan,
        |s, _| s.gradient = Some(7),
        |s, _| s.second = Some(0),
    ];
    let cpu = Cpu::new(2).unwrap();
    let [theta, other, grad] = [0, 1, 2].map(|what| normals(n, what));
    let positive: Vec<f32> = other.iter().map(|z| z.exp()).collect();
    let noise = || Noise::Given(&other);
    let (stay, sound) = (Scalars::default(), Scalars::default());
    assert!(sound.is_sound());
    for spoil in unsound.map(Some).into_iter().chain([None]) {
        let mut record = stay;
        if let Some(spoil) = spoil {
            spoil(&mut record, nan);
        }
        let before = record;
        let check = |what: &str, old: [&Vec<f32>; 2], new: [&Vec<f32>; 2], record: &mut Scalars| {
            assert_eq!(old == new, spoil.is_some(), "{what}");
            // The record too, and by its bits, since NaN is not itself.
            let same = format!("{record:?}") == format!("{before:?}");
            assert!(same || spoil.is_none(), "{what}: {record:?}");
            *record = before;
        };
        for rule in RULES {
            let (mut t, mut m) = (theta.clone(), other.clone());
            let on = Langevin {
                theta: &mut t,
                momenta: &mut m,
                grad: &grad,
                center: &theta,
                mass: None,
                gradient_noise: None,
                blocks: &mut [],
                noise: noise(),
            };
            cpu.langevin_update(rule, on, &mut record).unwrap();
            check("langevin", [&theta, &other], [&t, &m], &mut record);
        }
        let (mut t, mut v, mut mass) = (theta.clone(), positive.clone(), positive.clone());
        let on = PreconditionedUpdate {
            theta: &mut t,
            squares: &mut v,
            mass: &mut mass,
            grad: &grad,
            diagonal: None,
            center: &theta,
            noise: noise(),
        };
        let rule = PreconditionedRule {
            keep: 0.9,
            take: 0.1,
            floor: 0.3,
            drift: 0.1,
            gamma: 0.1,
            noise: 0.1,
        };
        cpu.preconditioned_update(rule, on, &mut record).unwrap();
        check("live", [&theta, &positive], [&t, &v], &mut record);
        let (mut t, mut m, mut v) = (theta.clone(), other.clone(), positive.clone());
        let adamw = AdamW {
            lr: 1e-2,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            step: 1,
            grad_scale: 1.0,
            clip: 1.0,
        };
        cpu.adamw_update(&mut t, &grad, &mut m, &mut v, &[], &adamw, &mut record)
            .unwrap();
        check("adamw", [&theta, &other], [&t, &m], &mut record);
        let (mut mean, mut sd) = (theta.clone(), positive.clone());
        let step = EkfStep {
            transition_variance: 0.1,
            squares: 0.2,
            gradient: 0.3,
        };
        cpu.ekf_update(&mut mean, &mut sd, &grad, &positive, step, &mut record)
            .unwrap();
        check("ekf", [&theta, &positive], [&mean, &sd], &mut record);
        let (mut dm, mut ds) = (theta.clone(), other.clone());
        let draw = ViDraw {
            temperature: 0.7,
            stick_the_landing: true,
            weight: 0.5,
            first: false,
        };
        cpu.vi_gradient(&mut dm, &mut ds, &grad, &other, noise(), draw, &mut record)
            .unwrap();
        check("vi", [&theta, &other], [&dm, &ds], &mut record);
    }
}

#[test]
fn lengths_must_agree() {
    let cpu = Cpu::new(1).unwrap();
    let (mut a, b) = (vec![0.0; 5], vec![0.0; 6]);
    let shape = |r: bnn::Result<()>| assert!(matches!(r, Err(Error::Shape { .. })), "{r:?}");
    shape(cpu.upload(&mut a, &b));
    shape(cpu.download(&b, &mut [0.0; 5]));
    shape(cpu.combine(&mut a, Combine::Copy(&b)));
    shape(cpu.combine(&mut a, Combine::Axpy(1.0, &b)));
    shape(cpu.combine(&mut a, Combine::AddSquares(&b)));
    shape(cpu.combine(&mut a, Combine::Divide(&b)));
    shape(cpu.reduce(Reduce::Dot(&a, &b)).map(|_| ()));
    assert!(matches!(cpu.element(&a, 5), Err(Error::OutOfRange { .. })));
    for (at, n) in [(4, 2), (6, 0), (usize::MAX, 1)] {
        let part = cpu.download_from(&a, at, &mut [0.0; 2][..n]);
        assert!(matches!(part, Err(Error::OutOfRange { .. })), "{part:?}");
    }
    let mut found = Scalars::default();
    for bad in 0..5 {
        let n = |i| if i == bad { 6 } else { 5 };
        let (mut t, mut m) = (vec![0.0; 5], vec![0.0; n(0)]);
        let (grad, center, mass, xi) = (
            vec![0.0; n(1)],
            vec![0.0; n(2)],
            vec![1.0; n(3)],
            vec![0.0; n(4)],
        );
        let on = Langevin {
            theta: &mut t,
            momenta: &mut m,
            grad: &grad,
            center: &center,
            mass: Some(&mass),
            gradient_noise: None,
            blocks: &mut [],
            noise: Noise::Given(&xi),
        };
        shape(cpu.langevin_update(Rule::Baoa(K), on, &mut found));
    }
    let adamw = AdamW {
        lr: 1e-2,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.0,
        step: 1,
        grad_scale: 1.0,
        clip: 0.0,
    };
    let five = || vec![0.0; 5];
    let (mut t, mut m, mut v) = (five(), five(), five());
    shape(cpu.adamw_update(&mut t, &b, &mut m, &mut v, &[], &adamw, &mut found));
    #[allow(clippy::reversed_empty_ranges, clippy::single_range_in_vec_init)]
    for decay in [&[3..2][..], &[0..6], &[2..4, 3..5], &[3..4, 0..1]] {
        let r = cpu.adamw_update(&mut t, &a, &mut m, &mut v, decay, &adamw, &mut found);
        assert!(matches!(r, Err(Error::OutOfRange { .. })), "{decay:?}");
    }
    for (beta1, beta2, step) in [(1.0, 0.9, 1), (-0.1, 0.9, 1), (0.9, 1.0, 1), (0.9, 0.99, 0)] {
        let bad = AdamW {
            beta1,
            beta2,
            step,
            ..adamw
        };
        let r = cpu.adamw_update(&mut t, &a, &mut m, &mut v, &[], &bad, &mut found);
        assert!(matches!(r, Err(Error::OutOfRange { .. })), "{bad:?}");
    }
}

#[test]
fn adamw_matches_its_formula() {
    // Loshchilov & Hutter 2019, algorithm 2 in f64, over 20 steps; decay on a part.
    let (n, cpu) = (5000, Cpu::new(2).unwrap());
    let (mut theta, mut m, mut v) = (normals(n, 0), vec![0.0; n], vec![0.0; n]);
    let mut want: Vec<[f64; 3]> = theta.iter().map(|t| [*t as f64, 0.0, 0.0]).collect();
    let decay = [10..100, 100..130, 4090..4999];
    for step in 1..=20 {
        let grad = normals(n, step);
        let a = AdamW {
            lr: 0.02 / step as f64,
            beta1: 0.8,
            beta2: 0.95,
            eps: 1e-3,
            weight_decay: 0.4,
            step,
            grad_scale: -0.6,
            // Every other gradient is longer: its norm is about sqrt(5000) = 70.7.
            clip: if step % 2 == 0 { 50.0 } else { 90.0 },
        };
        let mut found = Scalars::default();
        cpu.sum_of_squares(&grad, &mut found).unwrap();
        cpu.adamw_update(&mut theta, &grad, &mut m, &mut v, &decay, &a, &mut found)
            .unwrap();
        assert_eq!(found.state, None);
        let norm = found.grad_squares.sqrt();
        let scale = if step % 2 == 0 { 50.0 / norm } else { 1.0 };
        for (i, [t, m, v]) in want.iter_mut().enumerate() {
            let g = grad[i] as f64 * a.grad_scale * scale;
            *m = a.beta1 * *m + (1.0 - a.beta1) * g;
            *v = a.beta2 * *v + (1.0 - a.beta2) * g * g;
            let (m_hat, v_hat) = (
                *m / (1.0 - a.beta1.powi(step as i32)),
                *v / (1.0 - a.beta2.powi(step as i32)),
            );
            if decay.iter().any(|r| r.contains(&i)) {
                *t *= 1.0 - a.lr * a.weight_decay;
            }
            *t -= a.lr * m_hat / (v_hat.sqrt() + a.eps);
        }
    }
    for (i, [t, ..]) in want.iter().enumerate() {
        // 20 roundings of numbers of size 1 to 5.
        assert!((theta[i] as f64 - t).abs() < 5e-6, "{i}: {} {t}", theta[i]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn elementwise_and_sums(n in 0_usize..12_000, a in -3f32..3.0, threads in 1_usize..4) {
        let cpu = Cpu::new(threads).unwrap();
        let (x, y) = (normals(n, 7), normals(n, 8));
        let dot: f64 = x.iter().zip(&y).map(|(x, y)| *x as f64 * *y as f64).sum();
        prop_assert!((cpu.reduce(Reduce::Dot(&x, &y)).unwrap() - dot).abs() <= 1e-13 * n as f64);
        let squares: f64 = x.iter().map(|x| (*x as f64).powi(2)).sum();
        let mut found = Scalars::default();
        cpu.sum_of_squares(&x, &mut found).unwrap();
        prop_assert!((found.grad_squares - squares).abs() <= 1e-13 * n as f64);

        let mut buf = cpu.zeros(n).unwrap();
        prop_assert_eq!(cpu.len(&buf), n);
        cpu.upload(&mut buf, &y).unwrap();
        cpu.combine(&mut buf, Combine::Axpy(a, &x)).unwrap();
        prop_assert!((0..n).all(|i| buf[i] == y[i] + a * x[i]));
        cpu.combine(&mut buf, Combine::Copy(&y)).unwrap();
        cpu.combine(&mut buf, Combine::AddSquares(&x)).unwrap();
        prop_assert!((0..n).all(|i| buf[i] == y[i] + x[i] * x[i]));
        cpu.combine(&mut buf, Combine::Copy(&y)).unwrap();
        cpu.combine(&mut buf, Combine::Divide(&x)).unwrap();
        prop_assert!((0..n).all(|i| buf[i] == y[i] / x[i]));
        cpu.combine(&mut buf, Combine::Fill(a)).unwrap();
        cpu.combine(&mut buf, Combine::Scale(0.5)).unwrap();
        let mut host = vec![0.0; n];
        cpu.download(&buf, &mut host).unwrap();
        prop_assert!(host.iter().all(|h| *h == a * 0.5));
        if n > 0 {
            prop_assert_eq!(cpu.element(&buf, n - 1).unwrap(), a * 0.5);
            cpu.download_from(&x, n / 2, &mut host[n / 2..]).unwrap();
            prop_assert_eq!(&host[n / 2..], &x[n / 2..]);
        }
    }

    #[test]
    fn an_element_does_not_know_how_many_follow(n in 1_usize..9000, more in 1_usize..5000) {
        let cpu = Cpu::new(1).unwrap();
        let run = |n: usize| {
            let (mut t, mut m, g) = (normals(n, 0), normals(n, 1), normals(n, 2));
            let stream = Stream::new(3, StreamTag::Noise, 0);
            let center = t.clone();
            let on = Langevin {
                theta: &mut t,
                momenta: &mut m,
                grad: &g,
                center: &center,
                mass: None,
                gradient_noise: None,
                blocks: &mut [],
                noise: Noise::Counter { stream, step: 2 },
            };
            let mut found = Scalars::default();
            cpu.langevin_update(Rule::Baoa(K), on, &mut found).unwrap();
            (t, m)
        };
        let ((t, m), (longer_t, longer_m)) = (run(n), run(n + more));
        prop_assert_eq!(&t[..], &longer_t[..n]);
        prop_assert_eq!(&m[..], &longer_m[..n]);
    }
}

/// The system marks the mapping of a long vector as one for large pages (`hg` in smaps), where it has them; its elements are zeros all the same.
#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn long_vectors_ask_for_large_pages() {
    if !ensure::has("thp") {
        return;
    }
    let x = Cpu::new(1).unwrap().zeros((16 << 20) + 3).unwrap(); // 64 MB and a bit
    assert!(x.iter().all(|&x| x == 0.0));
    let middle = x.as_ptr() as usize + 2 * x.len();
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut here = false;
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|r| r.split_once('-'));
        let hex = |x: &str| usize::from_str_radix(x, 16).ok();
        if let Some((Some(from), Some(to))) = range.map(|(a, b)| (hex(a), hex(b))) {
            here = (from..to).contains(&middle);
        } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| here) {
            assert!(flags.split_whitespace().any(|f| f == "hg"), "{flags}");
            return;
        }
    }
    panic!("the vector is in no mapping");
}
