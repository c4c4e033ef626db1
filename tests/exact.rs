//! Correlated Gaussians: means and covariances of parameters and momenta against the exact ones of each discretisation, with
//! noise of a full covariance in the gradient and every hyperparameter away from its neutral value.

mod common;

use bnn::backend::vectors::Random;
use bnn::backend::{Cpu, Vectors};
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{ChainConfig, Method, Phase, Sampler};
use common::discretised::{
    Rows, Target, add, cholesky, diagonal, dot, drift, forgetting, kicked, kinetic, multiply,
    settled, stationary, transpose,
};
use common::normals;
use common::replicas::{Estimate, Moments, repeat, run};

/// Two sides of a normal law beyond this: 4.6e-11. The file makes about 1400 comparisons, so that a false alarm has a
/// probability of 7e-8. (A comparison is of a mean over `REPLICAS` time averages, whose skewness is below 1 / sqrt(REPLICAS):
/// at 6.58 deviations that raises the tail by a factor of exp(6.58^3 / 6 / 64) = 2.1 at most.)
const Z: f64 = 6.58;

/// Independent chains.
const REPLICAS: usize = 4096;

/// A precision of eigenvalues from 0.4 to about 3, masses about 1, and noise in the gradient whose variance is about `noise`,
/// with correlations of 0.9.
fn target(d: usize, noise: f64, what: u64) -> Target {
    let wide = |n: usize, what: u64| -> Vec<f64> {
        let z = normals(n, what);
        z.into_iter().map(f64::from).collect()
    };
    let root: Rows = wide(d * d, what).chunks(d).map(<[f64]>::to_vec).collect();
    let precision = multiply(&root, &transpose(&root));
    let shrunk = precision
        .iter()
        .map(|row| row.iter().map(|x| x / d as f64).collect());
    let loads: Rows = wide(d, what + 1)
        .iter()
        .map(|z| vec![(noise * 0.9).sqrt() * (0.2 * z).exp()])
        .collect();
    Target {
        precision: add(&shrunk.collect(), &diagonal(&vec![0.4; d])),
        mass: wide(d, what + 2).iter().map(|z| (0.4 * z).exp()).collect(),
        gradient_noise: add(
            &multiply(&loads, &transpose(&loads)),
            &diagonal(&vec![0.1 * noise; d]),
        ),
    }
}

fn config(
    method: Method,
    h: f64,
    (alpha, sigma): (f64, f64),
    beta: f64,
    t: f64,
    q: f64,
) -> ChainConfig {
    let mut c = ChainConfig::new(method, h);
    (c.alpha, c.sigma) = (alpha, sigma);
    (c.beta, c.temperature, c.thermostat_mass) = (beta, t, q);
    (c.sampling_steps, c.thinning) = (1200, 1);
    c
}

/// A cold and a hot setting of each method.
fn cases(method: Method) -> [(ChainConfig, Target); 2] {
    let none = (0.0, 1.0);
    let [mut cold, mut hot] = match method {
        Method::Sgld => [
            (config(method, 0.25, none, 1.4, 0.6, 1.0), 0.8),
            (config(method, 0.15, none, 0.5, 1.7, 1.0), 2.5),
        ],
        Method::Sghmc => [
            (config(method, 0.35, (0.9, 1.3), 1.6, 0.6, 1.0), 0.8),
            (config(method, 0.25, (1.4, 0.8), 0.7, 1.7, 1.0), 2.5),
        ],
        Method::SghmcEuler => [
            (config(method, 0.12, (1.8, 1.2), 3.0, 0.6, 1.0), 0.8),
            (config(method, 0.06, (1.3, 0.9), 2.0, 1.7, 1.0), 2.5),
        ],
        Method::Baoa => [
            (config(method, 0.5, (0.9, 1.3), 0.0, 0.6, 1.0), 0.8),
            (config(method, 0.3, (1.4, 0.8), 0.0, 1.7, 1.0), 2.5),
        ],
        // The thermostat is not told of all the gradient's noise.
        Method::Sgnht => [
            (config(method, 0.5, (0.9, 1.3), 1.6, 0.6, 0.5), 1.6),
            (config(method, 0.25, (0.7, 0.8), 0.7, 1.7, 2.0), 5.0),
        ],
        Method::Ccadl => [
            (config(method, 0.5, (0.9, 1.3), 0.0, 0.6, 0.5), 1.6),
            (config(method, 0.25, (0.7, 0.8), 0.0, 1.7, 2.0), 5.0),
        ],
        Method::SgnhtDing => [
            (config(method, 0.3, (0.9, 1.3), 1.6, 0.6, 0.5), 1.6),
            (config(method, 0.2, (0.7, 0.8), 0.7, 1.7, 2.0), 5.0),
        ],
        Method::SgnhtEuler => [
            (config(method, 0.1, (1.6, 1.3), 3.0, 0.6, 0.5), 1.6),
            (config(method, 0.06, (1.3, 0.9), 2.0, 1.7, 2.0), 5.0),
        ],
        // Small steps, so that next to nothing is clamped; what they leave of the step's mark takes a longer run to see.
        Method::Sglrw => [
            (config(method, 0.04, none, 0.0, 0.6, 1.0), 0.3),
            (config(method, 0.045, none, 0.0, 1.7, 1.0), 1.2),
        ],
    };
    if method == Method::Sglrw {
        (cold.0.sampling_steps, hot.0.sampling_steps) = (6_000, 6_000);
    }
    [
        (cold.0, target(4, cold.1, 10)),
        (hot.0, target(5, hot.1, 20)),
    ]
}

/// What a run gave.
struct Measured {
    moments: Moments,
    /// The thermostat after each step of sampling.
    xi: Vec<f64>,
    /// The mean over steps, replicas and coordinates of |theta - mu| times what is clamped off the gradient: SGLRW's alone.
    clamped: f64,
}

/// Runs the method on `REPLICAS` copies of the target about the mean mu. The chains start at 0 with the momenta that the
/// sampler draws, and what they remember of it, 1e-5, is forgotten before sampling.
fn measure(c: &ChainConfig, on: &Target, mu: &[f64]) -> Measured {
    let (d, r) = (on.dim(), REPLICAS);
    let mut c = c.clone();
    c.warmup_steps = forgetting(&c, on);
    if c.method.has_thermostat() {
        // Off by a quarter; the friction relaxes over a few units of the time Q / T and the chain with it.
        c.warmup_steps += (40.0 * c.thermostat_mass.max(1.0) / c.step_size) as u64;
        c.xi = c.xi.map(|xi| 1.25 * xi);
    }
    let root = cholesky(&on.gradient_noise);
    let stream = Stream::new(3, StreamTag::Evaluate, 1);
    let mut noise = vec![0.0; d * r];
    let mut clamped = 0.0;
    let gradient = |sampler: &Sampler<Cpu>, grad: &mut Vec<f32>| {
        let cpu = sampler.vectors();
        cpu.random(&mut noise, Random::Normal, stream, sampler.step())
            .unwrap();
        let theta = sampler.params();
        grad.fill(0.0);
        for i in 0..d {
            let g = &mut grad[i * r..][..r];
            for j in 0..d {
                let (a, l, center) = (on.precision[i][j] as f32, root[i][j] as f32, mu[j] as f32);
                let (x, z) = (&theta[j * r..][..r], &noise[j * r..][..r]);
                for ((g, x), z) in g.iter_mut().zip(x).zip(z) {
                    *g += l * z - a * (x - center);
                }
            }
            if c.method == Method::Sglrw && sampler.phase() == Phase::Sampling {
                let most = (2.0 * c.temperature * on.mass[i] / c.step_size).sqrt() as f32;
                for (g, x) in g.iter().zip(&theta[i * r..]) {
                    clamped += ((g.abs() - most).max(0.0) * (x - mu[i] as f32).abs()) as f64;
                }
            }
        }
    };
    let mut center = mu.to_vec();
    center.resize(on.state_len(&c), 0.0);
    center.extend(mu);
    let (mut moments, mut xi) = (Moments::new(&center, r), Vec::new());
    let mut before = vec![0.0; d * r];
    let observe = |sampler: &Sampler<Cpu>, report: &bnn::samplers::StepReport| {
        if report.phase == Phase::Sampling {
            let momenta = sampler.momenta().into_iter().flatten();
            moments.add(sampler.params().iter().chain(momenta).chain(&before));
            xi.extend(report.xi);
        }
        before.copy_from_slice(sampler.params());
    };
    run(
        &c,
        &vec![0.0; d * r],
        &repeat(&on.mass, r),
        gradient,
        observe,
    );
    let clamped = clamped / (c.sampling_steps as f64 * (d * r) as f64);
    Measured {
        moments,
        xi,
        clamped,
    }
}

/// The covariance of the state and the parameters of the step before: S and F S.
fn expected(c: &ChainConfig, on: &Target) -> Rows {
    let (s, d) = (stationary(c, on), on.dim());
    let lagged = multiply(&drift(c, on), &s);
    let mut rows: Rows = Vec::new();
    for (s, lagged) in s.iter().zip(&lagged) {
        rows.push([&s[..], &lagged[..d]].concat());
    }
    for (s, lagged) in s.iter().zip(transpose(&lagged)).take(d) {
        rows.push([&lagged[..], &s[..d]].concat());
    }
    rows
}

/// The mean that the target is about.
fn center(on: &Target) -> Vec<f64> {
    normals(on.dim(), 30)
        .iter()
        .map(|&z| 1.0 + z as f64)
        .collect()
}

/// Checks one method, and that it would be seen if it were another: the run is compared with what would be expected of
/// wrong versions too, each of which must be refused.
fn check(method: Method) {
    for (c, on) in cases(method) {
        let c = settled(&c, &on);
        let got = measure(&c, &on, &center(&on));
        let (worst, what) = got.moments.worst(&expected(&c, &on));
        assert!(worst < Z, "{c:?}: {worst} standard errors: {what}");

        let mut wrong: Vec<(&str, ChainConfig, Target)> = Vec::new();
        let mut expect = |what, change: &dyn Fn(&mut ChainConfig, &mut Target)| {
            let (mut c, mut on) = (c.clone(), on.clone());
            change(&mut c, &mut on);
            wrong.push((what, settled(&c, &on), on));
        };
        let d = on.dim();
        expect("T off by 5 %", &|c, _| c.temperature *= 1.05);
        expect("T for its root", &|c, _| c.temperature *= c.temperature);
        expect("step off by 30 %", &|c, _| c.step_size *= 1.3);
        expect("one mass off by half", &|_, on| on.mass[1] *= 1.5);
        if method != Method::Sglrw {
            // The lattice walk's law depends little on it.
            expect("no mass", &|_, on| on.mass = vec![1.0; d]);
        }
        expect("independent noise", &|_, on| {
            let v: Vec<f64> = (0..d).map(|i| on.gradient_noise[i][i]).collect();
            on.gradient_noise = diagonal(&v);
        });
        expect("another precision", &|_, on| on.precision[0][0] *= 1.05);
        if c.method.has_momenta() {
            expect("sigma off by 5 %", &|c, _| c.sigma *= 1.05);
        }
        if !method.has_thermostat() && !matches!(method, Method::Sglrw | Method::Baoa) {
            // A thermostat makes up for what beta holds back; the others have none.
            expect("no beta", &|c, _| c.beta = 0.0);
        }
        if matches!(method, Method::Sghmc | Method::SghmcEuler | Method::Baoa) {
            expect("alpha off by 30 %", &|c, _| c.alpha *= 1.3);
        }
        if let Some(other) = match method {
            Method::Sghmc => Some(Method::SghmcEuler),
            Method::Sgnht | Method::Ccadl => Some(Method::SgnhtDing),
            Method::SgnhtDing => Some(Method::SgnhtEuler),
            Method::Sglrw => Some(Method::Sgld),
            _ => None,
        } {
            expect("another method", &|c, _| c.method = other);
        }
        for (what, c, on) in wrong {
            let (worst, _) = got.moments.worst(&expected(&c, &on));

            // An infinite expectation is refused as well.
            let refused = worst.is_nan() || worst > 1.2 * Z;
            assert!(refused, "{method}: '{what}' passes at {worst}");
        }

        if method.has_thermostat() {
            thermostat(&c, &on, &got.xi);
        }
        if method == Method::Sglrw {
            // E theta_i (pull of i) = T is off by what is clamped; with eigenvalues of 0.4 and more no moment is then off by
            // more than this over 0.4, a fifth of the smallest standard error.
            let smallest = (0..d).map(|i| got.moments.product(i, i).error);
            let smallest = smallest.fold(f64::INFINITY, f64::min);
            assert!(got.clamped / 0.4 < 0.2 * smallest, "{}", got.clamped);
        }
    }
}

/// The thermostat's mean against the friction at which the kinetic temperature is T, and the kinetic temperature itself, which
/// is T in the mean but for how far the thermostat came.
fn thermostat(c: &ChainConfig, on: &Target, xi: &[f64]) {
    let mut want = c.xi.unwrap();
    let s = stationary(c, on);
    if matches!(c.method, Method::Sgnht | Method::Ccadl) {
        // The friction is that of the middle of a step; xi is seen at its end, half a thermostat's step later.
        want -= 0.5 * c.step_size * (kicked(c, on, &s) - c.temperature) / c.thermostat_mass;
    }
    // 24 batches of 50 steps, 3 to 15 units of time: Student's t with 23 degrees of freedom beyond 10 on both sides has 8e-10.
    // The law's width for n coordinates, (T sigma^2 / (n Q))^1/2 = 0.01, leaves a bias of the order of its square over xi: 1e-4.
    let got = Estimate::of_chain(xi, 24);
    assert!(
        (got.mean - want).abs() < 10.0 * got.error + 2e-4 * want.max(1.0),
        "{c:?}: xi {got:?} for {want}"
    );
    // Not that of a chain without the gradient's noise.
    let mut quiet = on.clone();
    quiet.gradient_noise = diagonal(&vec![0.0; on.dim()]);
    let quiet = settled(c, &quiet).xi.unwrap();
    assert!((got.mean - quiet).abs() > 20.0 * got.error);
    assert!((got.mean - c.alpha).abs() > 20.0 * got.error);
    let drifted = c.thermostat_mass * (xi[xi.len() - 1] - xi[0]) / (c.step_size * xi.len() as f64);
    assert!(drifted.abs() < 0.01 * c.temperature);
    let k = kinetic(c, on, &s);
    assert!((k - c.temperature).abs() < 1e-8);
}

#[test]
fn gaussian_sgld() {
    check(Method::Sgld);
}

#[test]
fn gaussian_sghmc() {
    check(Method::Sghmc);
}

#[test]
fn gaussian_sghmc_euler() {
    check(Method::SghmcEuler);
}

#[test]
fn gaussian_baoa() {
    check(Method::Baoa);
}

#[test]
fn gaussian_sgnht() {
    check(Method::Sgnht);
}

/// Without known noise; with it, see `tests/thermostats.rs`.
#[test]
fn gaussian_ccadl() {
    check(Method::Ccadl);
}

#[test]
fn gaussian_sgnht_ding() {
    check(Method::SgnhtDing);
}

#[test]
fn gaussian_sgnht_euler() {
    check(Method::SgnhtEuler);
}

#[test]
fn gaussian_sglrw() {
    check(Method::Sglrw);
}

#[test]
fn exact_laws_of_the_discretisations() {
    // What the equations give where there is a closed form: BAOA without gradient noise has the target's own covariances, and
    // h T / 2 between a position and its momentum; SGLRW has E theta_i (A theta)_i = T for each coordinate whatever the step,
    // the noise and the mass.
    let (c, mut on) = cases(Method::Baoa)[0].clone();
    let d = on.dim();
    on.gradient_noise = diagonal(&vec![0.0; d]);
    let s = stationary(&c, &on);
    for i in 0..d {
        for j in 0..d {
            let covariance: Vec<f64> = (0..d).map(|k| s[k][j]).collect();
            let identity = c.temperature * f64::from(i == j);
            assert!((dot(&on.precision[i], &covariance) - identity).abs() < 1e-11);
            let mass = identity * c.sigma * c.sigma * on.mass[i];
            assert!((s[d + i][d + j] - mass).abs() < 1e-11);
            assert!((s[i][d + j] - 0.5 * c.step_size * identity).abs() < 1e-11);
        }
    }
    for (c, on) in cases(Method::Sglrw) {
        let s = stationary(&c, &on);
        let as_ = multiply(&on.precision, &s);
        let own = (0..on.dim()).map(|i| as_[i][i] / c.temperature - 1.0);
        assert!(own.fold(0.0, |top, x: f64| x.abs().max(top)) < 1e-9);
        // Between coordinates it is not the target's.
        assert!(as_[0][1].abs() > 1e-3 * c.temperature);
    }
}

#[test]
fn the_temperature_of_the_parameters_under_a_thermostat() {
    // One direction with white noise V in its gradient, the thermostat where it settles. BADODAB's closed form is that of its file:
    // T - e/2 tanh(gamma h / 2), e = h^2 V / (2 M' (1 - h^2 omega^2 / 4)), and T without noise; Ding's is off at first order.
    let on = |noise: f64| Target {
        precision: vec![vec![1.7]],
        mass: vec![1.4],
        gradient_noise: vec![vec![noise]],
    };
    let temperature = |c: &ChainConfig, on: &Target| on.precision[0][0] * stationary(c, on)[0][0];
    for (h, noise) in [(0.5, 0.0), (0.5, 1.1), (0.25, 1.1), (0.25, 4.0)] {
        let c = settled(
            &config(Method::Sgnht, h, (0.9, 1.3), 0.4, 0.6, 0.5),
            &on(noise),
        );
        let heavy = 1.69 * 1.4;
        let e = h * h * noise / (2.0 * heavy * (1.0 - h * h * 1.7 / heavy / 4.0));
        let gamma = c.xi.unwrap() / 1.69;
        let want = c.temperature - 0.5 * e * (0.5 * gamma * h).tanh();
        let got = temperature(&c, &on(noise));
        assert!((got - want).abs() < 1e-8, "{h} {noise}: {got} for {want}");
    }
    // The published bias: 0.947 T at a momentum of 0.9, and 0.816 T where alpha h = 0.3. With noise in the gradient the friction is larger,
    // and so is the bias.
    for (lost, want) in [(0.1, 0.9472), (0.3, 0.8162)] {
        let c = config(Method::SgnhtDing, 0.1, (lost / 0.1, 1.0), 0.0, 1.0, 1.0);
        let flat = Target {
            precision: vec![vec![1e-3]],
            mass: vec![1.0],
            gradient_noise: vec![vec![0.0]],
        };
        let got = temperature(&settled(&c, &flat), &flat);
        assert!((got - want).abs() < 1e-4, "{lost}: {got}");
        let mut noisy = flat.clone();
        noisy.gradient_noise = vec![vec![1.0]];
        assert!(temperature(&settled(&c, &noisy), &noisy) < got - 1e-3);
    }
}

#[test]
fn the_thermostat_starts_with_the_momentas_temperature() {
    // Mean of m^2 / M' of the momenta that were drawn, at once and for a mass that is set; Euler's first step needs it:
    // xi' = xi + h (kinetic - T) / Q.
    let c = config(Method::SgnhtEuler, 0.1, (0.8, 1.3), 0.0, 0.7, 0.5);
    let mass = [0.5, 2.0, 3.0];
    let kinetic = |sampler: &Sampler<Cpu>, mass: &[f32; 3]| {
        let m = sampler.momenta().unwrap().iter().zip(mass);
        m.map(|(&m, &mass)| (m as f64).powi(2) / (1.69 * mass as f64))
            .sum::<f64>()
            / 3.0
    };
    let mut sampler = Sampler::new(Cpu::new(1).unwrap(), &[0.0; 3], c).unwrap();
    let first = kinetic(&sampler, &[1.0; 3]);
    assert!(first > 0.05 && (sampler.thermostat().unwrap().kinetic / first - 1.0).abs() < 1e-6);
    sampler.set_mass(&mass).unwrap();
    let heavy = kinetic(&sampler, &mass);
    assert!((sampler.thermostat().unwrap().kinetic / heavy - 1.0).abs() < 1e-6);
    let report = sampler.step_with_gradient(&vec![0.3; 3], 0.0).unwrap();
    assert!((report.xi.unwrap() - (0.8 + 0.1 * (heavy - 0.7) / 0.5)).abs() < 1e-6);
}

#[test]
fn the_law_of_the_thermostat() {
    // With few coordinates the thermostat moves: without gradient noise its law is normal about alpha with the variance
    // T sigma^2 / (d Q) in the limit of small steps, independent of the rest. One long chain on four coordinates, against its own
    // batches. The allowance is for the discretisation: errors of the order h gamma / 2 = 0.5 % and, by Euler, h omega^2 / gamma = 3 %.
    for (method, h, allowed) in [
        (Method::Sgnht, 0.02, 0.01),
        (Method::SgnhtDing, 0.02, 0.01),
        (Method::SgnhtEuler, 0.005, 0.05),
    ] {
        let mut c = config(method, h, (1.2, 1.5), 0.0, 0.7, 0.4);
        let precision = [1.0f32, 2.0, 0.5, 1.4];
        (c.warmup_steps, c.sampling_steps) = (10_000, 1_500_000);
        let gradient = |sampler: &Sampler<Cpu>, grad: &mut Vec<f32>| {
            let products = sampler.params().iter().zip(precision).map(|(x, p)| -p * x);
            grad.iter_mut().zip(products).for_each(|(g, p)| *g = p);
        };
        let mut xi = Vec::new();
        run(&c, &[0.0; 4], &[1.0, 0.6, 1.5, 0.8], gradient, |_, r| {
            xi.extend(r.xi)
        });
        let xi = &xi[c.warmup_steps as usize..];
        // 60 batches of 500 units of time (125 for Euler): Student's t with 59 degrees of freedom beyond 7.5 on both sides has 4e-10.
        let mean = Estimate::of_chain(xi, 60);
        assert!(
            (mean.mean - c.alpha).abs() < 7.5 * mean.error + allowed * c.alpha,
            "{mean:?}"
        );
        let squares: Vec<f64> = xi.iter().map(|x| (x - c.alpha).powi(2)).collect();
        let variance = Estimate::of_chain(&squares, 60);
        let want = c.temperature * c.sigma * c.sigma / (4.0 * c.thermostat_mass);
        let far = |want: f64| (variance.mean - want).abs() - allowed * want;
        assert!(
            far(want) < 7.5 * variance.error,
            "{method}: {variance:?} for {want}"
        );
        // sigma, Q and T all count.
        for other in [
            want / (c.sigma * c.sigma),
            want * c.thermostat_mass,
            want / c.temperature,
        ] {
            assert!(
                far(other) > 9.0 * variance.error,
                "{method}: {variance:?} for {want}"
            );
        }
    }
}
