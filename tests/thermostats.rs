//! Thermostats for each tensor, and CCAdL: the laws of their steps on Gaussians whose gradients have noise of different variances, against the exact
//! stationary law of the discretisation; and states, reports and refusals.

mod common;

use bnn::Error;
use bnn::backend::vectors::Random;
use bnn::backend::{Cpu, Vectors};
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{ChainConfig, Method, Phase, Sampler, SamplerState, Thermostats};
use common::discretised::{self, Rows, largest};
use common::plane::{Matrix, multiply, transpose};
use common::replicas::Estimate;
use common::{bits, every_cpu, normals};

/// One direction: curvature, mass, the variance of the gradient's noise, and what the step takes that variance for.
#[derive(Clone, Copy, Debug)]
struct Noisy {
    lambda: f64,
    mass: f64,
    noise: f64,
    known: f64,
}

/// What a direction has in equilibrium: the covariance of (theta, m), and the kinetic temperature after the kick.
#[derive(Clone, Copy, Debug)]
struct Law {
    s: Matrix,
    kicked: f64,
    after: f64,
}

/// The law of one direction, each letter of the step written as its own line says; `xi` is the friction of a thermostat that stands still, none for BAOA
/// with known noise.
fn law(c: &ChainConfig, d: &Noisy, xi: Option<f64>) -> Law {
    let (h, t, sigma2) = (c.step_size, c.temperature, c.sigma * c.sigma);
    let heavy = sigma2 * d.mass;
    let rho = (h * h * d.known / (4.0 * t * heavy)).min(1.0);
    let c1 = (1.0 - rho) / (1.0 + rho);
    let kick = 0.5 * (1.0 + c1) * h;
    let (keep, fluctuation) = match xi {
        Some(xi) => {
            let gamma = xi / sigma2;
            let keep = (-gamma * h).exp();
            let variance = 2.0 * t * c.alpha * d.mass * (1.0 - keep * keep) / (2.0 * gamma);
            (keep, variance.sqrt())
        }
        None => {
            let all = (-c.alpha / sigma2 * h).exp();
            let keep = if c1 > all { all / c1 } else { 1.0 };
            (keep, (t * (1.0 - keep * keep) * heavy).sqrt())
        }
    };
    let b = [[1.0, 0.0], [-kick * d.lambda, c1]];
    let a = [[1.0, 0.5 * h / heavy], [0.0, 1.0]];
    let o = [[1.0, 0.0], [0.0, keep]];
    let rest = multiply(&a, &multiply(&o, &a));
    let noise = kick * d.noise.sqrt();
    let columns = [
        [rest[0][1] * noise, rest[1][1] * noise],
        [a[0][1] * fluctuation, fluctuation],
    ];
    let q = |i: usize, j: usize| columns.iter().map(|n| n[i] * n[j]).sum::<f64>();
    let mut s = [[q(0, 0), q(0, 1)], [q(1, 0), q(1, 1)]];
    let mut step = multiply(&rest, &b);
    for _ in 0..60 {
        let carried = multiply(&multiply(&step, &s), &transpose(&step));
        for (s, more) in s.iter_mut().flatten().zip(carried.iter().flatten()) {
            *s += more;
        }
        step = multiply(&step, &step);
    }
    let kicked = multiply(&multiply(&b, &s), &transpose(&b))[1][1] + noise * noise;
    Law {
        s,
        kicked: kicked / heavy,
        after: s[1][1] / heavy,
    }
}

/// The friction at which the directions' mean kinetic temperature, of the kicked momenta and of those after the step, is `t`.
fn settled(c: &ChainConfig, all: &[Noisy], t: f64) -> f64 {
    let (mut low, mut high) = (1e-6, 20.0 * c.sigma * c.sigma / c.step_size);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        let each = all.iter().map(|d| law(c, d, Some(middle)));
        let mean = each.map(|l| 0.5 * (l.kicked + l.after)).sum::<f64>() / all.len() as f64;
        if mean <= t {
            high = middle
        } else {
            low = middle
        }
    }
    0.5 * (low + high)
}

/// Independent coordinates of each direction, steps that are forgotten, steps that are averaged.
const COPIES: usize = 2048;
const BURN_IN: u64 = 600;
const STEPS: u64 = 600;

/// Two sides of a normal beyond this: 5e-10. The file makes fewer than 150 such comparisons, a false alarm with a probability of 8e-8; and 9 of Student's
/// t below, of 8e-10 each.
const Z: f64 = 6.2;

fn config(method: Method, thermostats: Thermostats) -> ChainConfig {
    ChainConfig {
        temperature: 0.6,
        sigma: 1.3,
        alpha: 0.9,
        thermostat_mass: 0.5,
        thermostats,
        warmup_steps: BURN_IN,
        sampling_steps: STEPS,
        thinning: 1,
        ..ChainConfig::new(method, 0.4)
    }
}

/// The variance of noise that is the share `rho` of what the strongest friction takes out.
fn noise(c: &ChainConfig, mass: f64, rho: f64) -> f64 {
    4.0 * c.temperature * c.sigma.powi(2) * mass * rho / c.step_size.powi(2)
}

/// Four directions in three tensors, the second of which has two. The noise of the first would do with a fifth of the friction of the third.
const TENSORS: [usize; 3] = [1, 2, 1];

fn directions(c: &ChainConfig, factor: f64) -> [Noisy; 4] {
    let of = |(lambda, mass, rho): (f64, f64, f64)| {
        let noise = noise(c, mass, rho);
        Noisy {
            lambda,
            mass,
            noise,
            known: factor * noise,
        }
    };
    [
        (1.0, 1.2, 0.03),
        (1.8, 2.5, 0.08),
        (0.8, 0.7, 0.12),
        (1.3, 1.6, 0.3),
    ]
    .map(of)
}

/// What a run of copies of each direction gave: the means over the copies of theta^2, theta m and m^2, and each thermostat after each step of
/// sampling.
struct Measured {
    moments: Vec<[Estimate; 3]>,
    xi: Vec<Vec<f64>>, // (thermostats, STEPS)
}

fn sampler(c: &ChainConfig, all: &[Noisy]) -> Sampler<Cpu> {
    let n = all.len() * COPIES;
    let each =
        |f: fn(&Noisy) -> f64| -> Vec<f32> { (0..n).map(|i| f(&all[i / COPIES]) as f32).collect() };
    let start: Vec<f32> = (normals(n, 0).iter().zip(each(|d| d.lambda)))
        .map(|(z, lambda)| z * (c.temperature as f32 / lambda).sqrt())
        .collect();
    let lengths = TENSORS.map(|k| k * COPIES);
    let cpu = Cpu::new(1).unwrap();
    let mut sampler = Sampler::of_tensors(cpu, &start, c.clone(), &lengths).unwrap();
    sampler.set_mass(&each(|d| d.mass)).unwrap();
    if c.method.scheme().takes_gradient_noise() {
        sampler.set_gradient_noise(&each(|d| d.known)).unwrap();
    }
    sampler
}

fn measure(c: &ChainConfig, all: &[Noisy]) -> Measured {
    let n = all.len() * COPIES;
    let mut sampler = sampler(c, all);
    let (mut grad, mut noise) = (vec![0.0; n], vec![0.0; n]);
    let stream = Stream::new(37, StreamTag::Evaluate, 6);
    let mut sums = vec![[0.0; 3]; n];
    let mut xi = vec![Vec::new(); sampler.thermostats().len()];
    while sampler.phase() != Phase::Done {
        let cpu = sampler.vectors();
        (cpu.random(&mut noise, Random::Normal, stream, sampler.step())).unwrap();
        for (i, g) in grad.iter_mut().enumerate() {
            let d = &all[i / COPIES];
            *g = d.noise.sqrt() as f32 * noise[i] - d.lambda as f32 * sampler.params()[i];
        }
        let report = sampler.step_with_gradient(&grad, 0.0).unwrap();
        if report.phase != Phase::Sampling {
            continue;
        }
        let momenta = sampler.momenta().unwrap();
        for (s, (t, m)) in sums.iter_mut().zip(sampler.params().iter().zip(momenta)) {
            let (t, m) = (f64::from(*t), f64::from(*m));
            *s = [s[0] + t * t, s[1] + t * m, s[2] + m * m];
        }
        for (xi, t) in xi.iter_mut().zip(sampler.thermostats()) {
            xi.push(t.xi);
        }
    }
    let of = |copies: &[[f64; 3]], k: usize| {
        let x: Vec<f64> = copies.iter().map(|s| s[k] / STEPS as f64).collect();
        Estimate::of(&x)
    };
    let rows = sums.chunks(COPIES);
    let moments = rows
        .map(|copies| [0, 1, 2].map(|k| of(copies, k)))
        .collect();
    Measured { moments, xi }
}

/// The laws of all directions with thermostats that stand where their tensors' temperatures are `t`.
fn by_tensor(c: &ChainConfig, all: &[Noisy], t: [f64; 3]) -> (Vec<Law>, Vec<f64>) {
    let (mut laws, mut frictions, mut at) = (Vec::new(), Vec::new(), 0);
    for (k, t) in TENSORS.iter().zip(t) {
        let own = &all[at..at + k];
        let xi = settled(c, own, t);
        laws.extend(own.iter().map(|d| law(c, d, Some(xi))));
        frictions.push(xi);
        at += k;
    }
    (laws, frictions)
}

fn together(c: &ChainConfig, all: &[Noisy]) -> (Vec<Law>, Vec<f64>) {
    let xi = settled(c, all, c.temperature);
    let laws = all.iter().map(|d| law(c, d, Some(xi))).collect();
    (laws, vec![xi])
}

/// How many standard errors the worst moment is off these laws.
fn worst(got: &Measured, laws: &[Law]) -> f64 {
    let each = got.moments.iter().zip(laws).flat_map(|(got, l)| {
        let want = [l.s[0][0], l.s[0][1], l.s[1][1]];
        got.iter()
            .zip(want)
            .map(|(g, want)| g.off(want))
            .collect::<Vec<_>>()
    });
    each.fold(0.0, f64::max)
}

/// The parameters' temperature in each direction over T.
fn temperatures(c: &ChainConfig, all: &[Noisy], laws: &[Law]) -> Vec<f64> {
    let each = all.iter().zip(laws);
    each.map(|(d, l)| d.lambda * l.s[0][0] / c.temperature)
        .collect()
}

/// Compares each thermostat's mean with the friction of the law: xi is seen at a step's end, half a thermostat's step after that of the
/// friction.
fn frictions(c: &ChainConfig, got: &Measured, laws: &[Law], xi: &[f64]) {
    let mut at = 0;
    for (k, (got, want)) in got.xi.iter().zip(xi).enumerate() {
        let own = if xi.len() == 1 {
            laws.len()
        } else {
            TENSORS[k]
        };
        let kicked = laws[at..at + own].iter().map(|l| l.kicked).sum::<f64>() / own as f64;
        let end = want - 0.5 * c.step_size * (kicked - c.temperature) / c.thermostat_mass;
        // 24 batches of 25 steps, 10 units of time: Student's t with 23 degrees of freedom beyond 10 on both sides has 8e-10. The law's width,
        // (T sigma^2 / (d Q))^1/2 = 0.03, leaves a bias of the order of its square over xi.
        let mean = Estimate::of_chain(got, 24);
        let room = 10.0 * mean.error + 1.5e-3;
        assert!((mean.mean - end).abs() < room, "{k}: {mean:?} for {end}");
        assert!(
            (mean.mean - 1.3 * end).abs() > room,
            "{k}: a wrong factor would pass"
        );
        at += own;
    }
}

#[test]
fn thermostats_of_tensors_hold_each_of_them_where_one_for_all_does_not() {
    let c = config(Method::Sgnht, Thermostats::Tensor);
    let one = config(Method::Sgnht, Thermostats::Global);
    let all = directions(&c, 0.0);
    let t = c.temperature;
    let (own, own_xi) = by_tensor(&c, &all, [t; 3]);
    let (joint, joint_xi) = together(&one, &all);
    // One friction for all leaves the quiet tensor cold and the noisy one hot, by these amounts.
    let (quiet, noisy) = {
        let all = temperatures(&one, &all, &joint);
        (all[0], all[3])
    };
    assert!(quiet < 0.65 && noisy > 1.4, "{quiet} {noisy}");
    // Its own holds a tensor of equal directions up to third order in the step, e/2 tanh(gamma h / 2) of T; the second has two unequal ones, whose mean it holds.
    let each = temperatures(&c, &all, &own);
    assert!(
        (each[0] - 1.0).abs() < 0.02 && (each[3] - 1.0).abs() < 0.2,
        "{each:?}"
    );

    let (got, got_one) = (measure(&c, &all), measure(&one, &all));
    assert!(worst(&got, &own) < Z, "{}", worst(&got, &own));
    assert!(worst(&got_one, &joint) < Z, "{}", worst(&got_one, &joint));
    assert_eq!((got.xi.len(), got_one.xi.len()), (3, 1));
    frictions(&c, &got, &own, &own_xi);
    frictions(&one, &got_one, &joint, &joint_xi);

    // A chain that was another would be seen.
    let wrong = [
        ("one for all", joint),
        (
            "a tensor's energy over all parameters",
            by_tensor(&c, &all, [4.0 * t, 2.0 * t, 4.0 * t]).0,
        ),
        ("T off by 5 %", by_tensor(&c, &all, [1.05 * t; 3]).0),
        (
            "the second tensor's T off by 5 %",
            by_tensor(&c, &all, [t, 1.05 * t, t]).0,
        ),
    ];
    for (what, laws) in wrong {
        let off = worst(&got, &laws);
        assert!(off > 1.5 * Z, "'{what}' passes at {off}");
    }
}

#[test]
fn ccadl_takes_out_what_a_wrong_estimate_of_the_noise_leaves() {
    // The estimate is 30 % too small. BAOA with that estimate is too hot by known amounts; CCAdL's thermostat has what is missing, and noise whose
    // share of the mass differs between directions it has tensor by tensor.
    let c = config(Method::Ccadl, Thermostats::Tensor);
    let one = config(Method::Ccadl, Thermostats::Global);
    let baoa = ChainConfig {
        alpha: 0.3, // most of the fluctuation is the noise's
        ..config(Method::Baoa, Thermostats::Global)
    };
    let all = directions(&c, 0.7);
    let t = c.temperature;
    let left: Vec<Law> = all.iter().map(|d| law(&baoa, d, None)).collect();
    let hot = temperatures(&baoa, &all, &left);
    assert!(hot.iter().all(|hot| *hot > 1.1) && hot[3] > 1.4, "{hot:?}");
    let (own, own_xi) = by_tensor(&c, &all, [t; 3]);
    let each = temperatures(&c, &all, &own);
    assert!(each.iter().all(|x| (x - 1.0).abs() < 0.05), "{each:?}");
    let (joint, joint_xi) = together(&one, &all);
    let mean = temperatures(&one, &all, &joint).iter().sum::<f64>() / 4.0;
    assert!((mean - 1.0).abs() < 0.05, "{mean}");

    let (got, got_one, got_baoa) = (measure(&c, &all), measure(&one, &all), measure(&baoa, &all));
    assert!(worst(&got, &own) < Z, "{}", worst(&got, &own));
    assert!(worst(&got_one, &joint) < Z, "{}", worst(&got_one, &joint));
    assert!(worst(&got_baoa, &left) < Z, "{}", worst(&got_baoa, &left));
    frictions(&c, &got, &own, &own_xi);
    frictions(&one, &got_one, &joint, &joint_xi);
    let wrong = |known: f64| by_tensor(&c, &directions(&c, known), [t; 3]).0;
    for (what, laws) in [
        ("no friction of the noise's", wrong(0.0)),
        ("the noise as it is", wrong(1.0)),
        ("twice the noise's friction", wrong(1.4)),
        ("T off by 5 %", by_tensor(&c, &all, [1.05 * t; 3]).0),
    ] {
        let off = worst(&got, &laws);
        assert!(off > 1.2 * Z, "'{what}' passes at {off}");
    }
}

#[test]
fn ccadl_is_off_at_third_order_and_with_the_right_estimate_at_fifth() {
    // One direction, the step halved: the error falls by 8 or more, and without an estimate too; BAOA with an estimate that is 30 % too small by 2.
    let error = |h: f64, factor: f64, thermostat: bool| {
        let c = ChainConfig {
            step_size: h,
            ..config(Method::Ccadl, Thermostats::Global)
        };
        let d = Noisy {
            lambda: 1.3,
            mass: 1.6,
            noise: 1.1,
            known: factor * 1.1,
        };
        let xi = thermostat.then(|| settled(&c, &[d], c.temperature));
        d.lambda * law(&c, &d, xi).s[0][0] / c.temperature - 1.0
    };
    for (factor, thermostat, order) in [
        (1.0, true, 5.0),
        (0.7, true, 3.0),
        (0.0, true, 3.0),
        (0.7, false, 1.0),
    ] {
        let got = (error(0.1, factor, thermostat) / error(0.05, factor, thermostat))
            .abs()
            .log2();
        assert!((got - order).abs() < 0.15, "{factor} {thermostat}: {got}");
    }
    // With the right estimate the thermostat has next to nothing to do.
    let c = ChainConfig {
        step_size: 0.05,
        ..config(Method::Ccadl, Thermostats::Global)
    };
    let d = |known| Noisy {
        lambda: 1.3,
        mass: 1.6,
        noise: 1.1,
        known,
    };
    let xi = |known| settled(&c, &[d(known)], c.temperature);
    assert!((xi(1.1) / c.alpha - 1.0).abs() < 1e-3 && xi(0.7) > 1.01 * c.alpha);
}

/// Steps a chain on a Gaussian, with gradients of its own parameters alone.
fn walk(sampler: &mut Sampler<Cpu>, steps: u64) {
    for _ in 0..steps {
        let grad: Vec<f32> = sampler.params().iter().map(|x| -1.3 * x).collect();
        sampler.step_with_gradient(&grad, -1.0).unwrap();
    }
}

fn outcome(sampler: &Sampler<Cpu>) -> (Vec<u32>, Vec<u32>, Vec<u64>) {
    let xi = sampler.thermostats().iter();
    let xi = xi
        .flat_map(|t| [t.xi.to_bits(), t.kinetic.to_bits()])
        .collect();
    (bits(sampler.params()), bits(sampler.momenta().unwrap()), xi)
}

#[test]
fn chains_with_several_thermostats_are_the_same_everywhere_and_go_on_bit_for_bit() {
    let lengths = [5, 1, 64, 4096, 2 * 4096 + 77, 3];
    let n = lengths.iter().sum();
    for method in [Method::Sgnht, Method::Ccadl] {
        let c = config(method, Thermostats::Tensor);
        let v: Vec<f32> = normals(n, 4).iter().map(|z| 3.0 * z * z).collect();
        let new = |cpu: Cpu, lengths: &[usize]| {
            let mut s = Sampler::of_tensors(cpu, &normals(n, 1), c.clone(), lengths).unwrap();
            if method == Method::Ccadl {
                s.set_gradient_noise(&v).unwrap();
            }
            s
        };
        let mut whole = new(Cpu::new(1).unwrap(), &lengths);
        let governed: Vec<usize> = whole.thermostats().iter().map(|t| t.parameters).collect();
        assert_eq!(governed, lengths);
        walk(&mut whole, 7);
        let mean = whole.thermostat().unwrap();
        let want = whole
            .thermostats()
            .iter()
            .map(|t| t.xi * t.parameters as f64);
        assert!((mean.xi - want.sum::<f64>() / n as f64).abs() < 1e-12);
        assert_eq!(mean.parameters, n);
        for cpu in every_cpu() {
            let mut s = new(cpu.clone(), &lengths);
            walk(&mut s, 3);
            let text = serde_json::to_string(&s.state().unwrap()).unwrap();
            let state: SamplerState = serde_json::from_str(&text).unwrap();
            let mut s = Sampler::restore(cpu, c.clone(), &state).unwrap();
            walk(&mut s, 4);
            assert!(outcome(&s) == outcome(&whole), "{method}");
        }
        // One tensor's thermostat is the thermostat for all.
        let mut one = new(Cpu::new(1).unwrap(), &[n]);
        let global = ChainConfig {
            thermostats: Thermostats::Global,
            ..c.clone()
        };
        let mut other = Sampler::new(Cpu::new(1).unwrap(), &normals(n, 1), global).unwrap();
        if method == Method::Ccadl {
            other.set_gradient_noise(&v).unwrap();
        }
        walk(&mut one, 7);
        walk(&mut other, 7);
        assert!(outcome(&one) == outcome(&other) && outcome(&one) != outcome(&whole));
    }
}

#[test]
fn ccadl_without_known_noise_is_sgnht() {
    let new = |method| {
        let c = config(method, Thermostats::Global);
        Sampler::new(Cpu::new(1).unwrap(), &normals(70, 1), c).unwrap()
    };
    let (mut a, mut b, mut c) = (new(Method::Ccadl), new(Method::Sgnht), new(Method::Ccadl));
    c.set_gradient_noise(&[0.0; 70]).unwrap();
    for s in [&mut a, &mut b, &mut c] {
        walk(s, 9);
    }
    assert!(outcome(&a) == outcome(&b) && outcome(&a) == outcome(&c));
}

#[test]
fn states_and_settings_that_do_not_fit_are_refused() {
    let cpu = || Cpu::new(1).unwrap();
    let said = |e: Error| e.to_string();
    for method in Method::ALL {
        let mut c = ChainConfig::new(method, 1e-3);
        c.thermostats = Thermostats::Tensor;
        let has = method.scheme().has_tensor_thermostats();
        assert_eq!(c.validate().is_ok(), has);
        if !has {
            assert!(said(c.validate().unwrap_err()).contains("choose global"));
        }
    }
    let c = config(Method::Sgnht, Thermostats::Tensor);
    let global = config(Method::Sgnht, Thermostats::Global);
    let without = Sampler::new(cpu(), &[0.0; 3], c.clone()).map(drop);
    assert!(said(without.unwrap_err()).contains("needs to know the tensors"));
    for lengths in [&[1, 1][..], &[2, 2], &[usize::MAX, 4]] {
        let new = Sampler::of_tensors(cpu(), &[0.0; 3], c.clone(), lengths).map(drop);
        assert!(matches!(new, Err(Error::Shape { .. })), "{lengths:?}");
    }
    assert!(Sampler::of_tensors(cpu(), &[0.0; 3], c.clone(), &[3, 0]).is_err());
    let good = Sampler::of_tensors(cpu(), &[0.0; 3], c.clone(), &[1, 2]).unwrap();
    let good = good.state().unwrap();
    let refused = |c: &ChainConfig, change: &dyn Fn(&mut SamplerState)| {
        let mut state = good.clone();
        change(&mut state);
        Sampler::restore(cpu(), c.clone(), &state)
            .map(drop)
            .unwrap_err()
    };
    assert!(Sampler::restore(cpu(), c.clone(), &good).is_ok());
    assert!(said(refused(&global, &|_| ())).contains("choose thermostat tensor"));
    refused(&c, &|s| s.thermostats[1].parameters = 1);
    refused(&c, &|s| s.thermostats[1].parameters = usize::MAX);
    refused(&c, &|s| s.thermostats[1].xi = f64::NAN);
    refused(&c, &|s| s.thermostats.clear());
}

/// BAOA's limit, h^2 times the largest curvature per mass below 4, where coordinates that curvature couples have different frictions: no chain just below it
/// grows.
#[test]
fn the_stability_limit_holds_with_frictions_of_their_own() {
    let mut random = normals(400 * 40, 8).into_iter().map(f64::from);
    let mut next = || random.next().unwrap();
    for trial in 0..400 {
        let d = 2 + trial % 3;
        let root: Rows = (0..d).map(|_| (0..d).map(|_| next()).collect()).collect();
        let k = discretised::multiply(&root, &discretised::transpose(&root));
        // Its largest eigenvalue, by squaring.
        let mut power = k.clone();
        for _ in 0..12 {
            let top = largest(&power);
            power.iter_mut().flatten().for_each(|x| *x /= top);
            power = discretised::multiply(&power, &power);
        }
        let applied = discretised::multiply(&k, &power);
        let trace = |a: &Rows| (0..d).map(|i| a[i][i]).sum::<f64>();
        let top = trace(&applied) / trace(&power);
        let keep: Vec<f64> = (0..d)
            .map(|_| [0.0, 0.5, 0.9, 0.99, 1.0][(next().abs() * 7.0) as usize % 5])
            .collect();
        let step = |state: &[f64]| -> Vec<f64> {
            let (mut x, mut m) = (state[..d].to_vec(), state[d..].to_vec());
            for i in 0..d {
                m[i] -= 3.99 / top * discretised::dot(&k[i], &state[..d]);
                x[i] += 0.5 * m[i];
                m[i] *= keep[i];
                x[i] += 0.5 * m[i];
            }
            [x, m].concat()
        };
        let unit = |i: usize| (0..2 * d).map(|j| f64::from(i == j)).collect::<Vec<_>>();
        let columns: Rows = (0..2 * d).map(|i| step(&unit(i))).collect();
        let mut many = discretised::transpose(&columns);
        for _ in 0..13 {
            many = discretised::multiply(&many, &many);
        }
        let grown = largest(&many);
        assert!(grown < 1e4, "{trial}: {grown} with {keep:?}");
    }
}
