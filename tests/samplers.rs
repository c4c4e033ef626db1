//! Samplers against recorded trajectories, against the exact stationary moments of their own discretisation, and as
//! state machines.

use bnn::backend::{Cpu, Vectors, cpu::Isa};
use bnn::rng::{Purpose, Stream};
use bnn::samplers::{
    Config, Factors, Method, Momenta, Phase, Sampler, SamplerState, Schedule, StepReport,
    Thermostat, stability,
};
use bnn::{Error, Result};

fn cpu() -> Cpu {
    Cpu::new(1).unwrap()
}

fn normals(n: usize, step: u64) -> Vec<f32> {
    let mut z = vec![0.0; n];
    Stream::new(77, Purpose::Evaluate, 0).fill_normal(step, &mut z);
    z
}

// ---------------------------------------------------------------- recorded trajectories

struct Fixture {
    bytes: Vec<u8>,
}

impl Fixture {
    fn open() -> Self {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/samplers.safetensors"
        );
        Self {
            bytes: std::fs::read(path).unwrap(),
        }
    }

    /// The tensor's rows.
    fn get(&self, name: &str) -> Vec<Vec<f32>> {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        let four = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
        let all: Vec<f32> = view.data().chunks_exact(4).map(four).collect();
        let width = match view.shape() {
            [_, width] => *width,
            _ => all.len(),
        };
        all.chunks(width).map(<[f32]>::to_vec).collect()
    }

    fn hyperparameters(&self) -> serde_json::Value {
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&self.bytes).unwrap();
        let text = &metadata.metadata().as_ref().unwrap()["hyperparameters"];
        serde_json::from_str(text).unwrap()
    }
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(want).map(|(a, b)| *a as f64 - *b as f64));
    difference / norm(&mut want.iter().map(|x| *x as f64))
}

/// Follows a recorded chain on -(theta - b)' A (theta - b) / 2 and returns the largest relative error of its states.
fn replay(fixture: &Fixture, method: Method, name: &str) -> f64 {
    let (a, b) = (fixture.get("A"), fixture.get("b").remove(0));
    let (theta, noise) = (
        fixture.get(&format!("{name}.theta")),
        fixture.get(&format!("{name}.noise")),
    );
    let log_post = fixture.get(&format!("{name}.log_posterior")).remove(0);
    let momenta = method
        .has_momenta()
        .then(|| fixture.get(&format!("{name}.momenta")));
    let settings = &fixture.hyperparameters()[name];
    let number = |key: &str, default: f64| settings[key].as_f64().unwrap_or(default);
    let mut config = Config::new(method, number("lr", f64::NAN));
    config.alpha = number("alpha", 0.0);
    config.beta = number("beta", 0.0);
    config.sigma = number("sigma", 1.0);
    config.temperature = number("temperature", f64::NAN);
    let start = SamplerState {
        step: 0,
        theta: theta[0].clone(),
        momenta: momenta.as_ref().map(|m| m[0].clone()),
        mass: None,
        center: theta[0].clone(),
        thermostat: method.has_thermostat().then(|| {
            let m = &momenta.as_ref().unwrap()[0];
            let squares: f64 = m.iter().map(|&m| (m as f64).powi(2)).sum();
            Thermostat {
                xi: config.alpha,
                kinetic: squares / m.len() as f64 / config.sigma.powi(2),
            }
        }),
    };
    let xi = method
        .has_thermostat()
        .then(|| fixture.get(&format!("{name}.xi")).remove(0));
    let mut sampler = Sampler::restore(cpu(), config, &start).unwrap();
    let mut worst = 0f64;
    for step in 0..noise.len() {
        let e: Vec<f64> = sampler
            .params()
            .iter()
            .zip(&b)
            .map(|(t, b)| (t - b) as f64)
            .collect();
        let row = |row: &Vec<f32>| row.iter().zip(&e).map(|(a, e)| *a as f64 * e).sum::<f64>();
        let a_e: Vec<f64> = a.iter().map(row).collect();
        let grad: Vec<f32> = a_e.iter().map(|g| -*g as f32).collect();
        let value = -0.5 * a_e.iter().zip(&e).map(|(a, e)| a * e).sum::<f64>();
        // The recorded log posterior belongs to the state before the update, as ours does.
        worst = worst.max((value / log_post[step] as f64 - 1.0).abs());
        let report = sampler.step_with_noise(&grad, value, &noise[step]).unwrap();
        assert_eq!((report.step, report.log_post), (step as u64, value));
        worst = worst.max(relative_error(sampler.params(), &theta[step + 1]));
        if let (Some(got), Some(want)) = (sampler.momenta(), &momenta) {
            worst = worst.max(relative_error(got, &want[step + 1]));
        }
        assert_eq!(report.xi.is_some(), xi.is_some());
        if let (Some(got), Some(want)) = (report.xi, &xi) {
            worst = worst.max((got - want[step] as f64).abs());
        }
    }
    worst
}

#[test]
fn trajectories_match_the_recorded_ones() {
    // 25 steps on 37 dimensions, both sides in f32: rounding errors of 6e-8 add up to about 25 * 6e-8 = 1.5e-6.
    let fixture = Fixture::open();
    let cases = [
        (Method::Sgld, "sgld"),
        (Method::SghmcEuler, "sghmc"),
        (Method::Baoa, "baoa"),
        (Method::SgnhtEuler, "sgnht"),
        (Method::Sglrw, "sglrw"),
    ];
    for (method, name) in cases {
        let error = replay(&fixture, method, name);
        assert!(error < 2e-6, "{method}: {error}");
    }
    // The semi-implicit scheme is another: its trajectory differs from Euler's from the first step on.
    assert!(replay(&fixture, Method::Sghmc, "sghmc") > 1e-2);
    assert!(replay(&fixture, Method::Sgnht, "sgnht") > 1e-2);
}

// ---------------------------------------------------------------- exact stationary moments

type Matrix = [[f64; 2]; 2];

fn multiply(a: &Matrix, b: &Matrix) -> Matrix {
    let entry = |i: usize, j: usize| a[i][0] * b[0][j] + a[i][1] * b[1][j];
    [[entry(0, 0), entry(0, 1)], [entry(1, 0), entry(1, 1)]]
}

fn transpose(a: &Matrix) -> Matrix {
    [[a[0][0], a[1][0]], [a[0][1], a[1][1]]]
}

/// A direction of the Gaussian: log_post = -lambda theta^2 / 2, mass, and the variance of the noise in its gradient.
#[derive(Clone, Copy, Debug)]
struct Direction {
    lambda: f64,
    mass: f64,
    gradient_noise: f64,
}

/// One step of the method as (theta, m)' = A (theta, m) + noise of covariance Q, from the formulas in the papers'
/// variables.
fn linear_step(c: &Config, d: &Direction) -> (Matrix, Matrix) {
    let (h, t, v) = (c.step_size, c.temperature, d.gradient_noise);
    let mass = c.sigma.powi(2) * d.mass;
    let gamma = c.xi.unwrap_or(c.alpha) / c.sigma.powi(2); // a thermostat that stands still
    // Columns of noise: each is what a unit of it adds to (theta, m).
    let (a, columns): (Matrix, [[f64; 2]; 2]) = match c.method {
        Method::Sgld => {
            let p = 1.0 / d.mass;
            let injected = (t * h * (2.0 - t * h * c.beta) * p).sqrt();
            (
                [[1.0 - h * p * d.lambda, 0.0], [0.0, 0.0]],
                [[injected, 0.0], [h * p * v.sqrt(), 0.0]],
            )
        }
        Method::Sglrw => {
            // The step's second moment is 2 T h P whatever the gradient, so that the noise given it is what is left.
            let a = 1.0 - h * d.lambda / d.mass;
            let injected = ((1.0 - a * a) * t / d.lambda).sqrt();
            ([[a, 0.0], [0.0, 0.0]], [[injected, 0.0], [0.0, 0.0]])
        }
        Method::Sghmc | Method::SghmcEuler | Method::Sgnht | Method::SgnhtEuler => {
            let injected = (h * t * (2.0 * c.alpha - h * t * c.beta) * d.mass).sqrt();
            let kick = [[1.0, 0.0], [-h * d.lambda, 1.0 - h * gamma]];
            let drift = [[1.0, h / mass], [0.0, 1.0]];
            let noise = [injected, h * v.sqrt()];
            if matches!(c.method, Method::Sghmc | Method::Sgnht) {
                let pushed = |n: f64| [h / mass * n, n];
                (multiply(&drift, &kick), noise.map(pushed))
            } else {
                let both = [[1.0, h / mass], [-h * d.lambda, 1.0 - h * gamma]];
                (both, noise.map(|n| [0.0, n]))
            }
        }
        Method::Baoa => {
            let decay = (-gamma * h).exp();
            let injected = (t * (1.0 - decay * decay) * mass).sqrt();
            let kick = [[1.0, 0.0], [-h * d.lambda, 1.0]];
            let half = [[1.0, 0.5 * h / mass], [0.0, 1.0]];
            let forget = [[1.0, 0.0], [0.0, decay]];
            let after_kick = multiply(&half, &multiply(&forget, &half));
            let through =
                |column: usize, n: f64| [after_kick[0][column] * n, after_kick[1][column] * n];
            let columns = [[half[0][1] * injected, injected], through(1, h * v.sqrt())];
            (multiply(&after_kick, &kick), columns)
        }
    };
    let q = |i: usize, j: usize| columns[0][i] * columns[0][j] + columns[1][i] * columns[1][j];
    (a, [[q(0, 0), q(0, 1)], [q(1, 0), q(1, 1)]])
}

/// The covariance S of (theta, m) in equilibrium: S = A S A' + Q, by doubling (each round squares A).
fn stationary(c: &Config, d: &Direction) -> Matrix {
    let (mut a, mut s) = linear_step(c, d);
    for _ in 0..60 {
        let carried = multiply(&multiply(&a, &s), &transpose(&a));
        for i in 0..2 {
            for j in 0..2 {
                s[i][j] += carried[i][j];
            }
        }
        a = multiply(&a, &a);
    }
    s
}

/// The friction at which the kinetic temperature over all directions is T: where a thermostat of many coordinates settles.
fn settled(c: &Config, directions: &[Direction]) -> f64 {
    let excess = |xi: f64| {
        let mut c = c.clone();
        c.xi = Some(xi);
        let kinetic = |d| stationary(&c, d)[1][1] / (c.sigma.powi(2) * d.mass);
        directions.iter().map(kinetic).sum::<f64>() / directions.len() as f64 - c.temperature
    };
    // The kinetic temperature falls with the friction, up to where the friction itself is unstable.
    let (mut low, mut high) = (0.2, 1.9 * c.sigma.powi(2) / c.step_size / 2.0);
    assert!(excess(low) > 0.0 && excess(high) < 0.0, "{c:?}");
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match excess(middle) > 0.0 {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

/// The covariances of all directions, and the settings with a thermostat that starts where it settles.
fn equilibrium(c: &Config, directions: &[Direction]) -> (Config, Vec<Matrix>) {
    let mut c = c.clone();
    if c.method.has_thermostat() {
        c.xi = Some(settled(&c, directions));
    }
    let all = directions.iter().map(|d| stationary(&c, d)).collect();
    (c, all)
}

fn config(method: Method, h: f64, alpha: f64, beta: f64, sigma: f64, temperature: f64) -> Config {
    let mut c = Config::new(method, h);
    (c.alpha, c.beta, c.sigma, c.temperature) = (alpha, beta, sigma, temperature);
    c
}

const UNIT: Direction = Direction {
    lambda: 1.0,
    mass: 1.0,
    gradient_noise: 0.0,
};

#[test]
fn the_exact_moments_are_the_published_ones() {
    // Variances of position and momentum for a unit Gaussian, T = 1.
    let table = [
        (Method::SghmcEuler, 0.1, 1.0, 1.1140, 1.1665),
        (Method::SghmcEuler, 0.3, 1.0, 1.4654, 1.6373),
        (Method::SghmcEuler, 0.3, 0.5, 2.5594, 2.6385),
        (Method::Sghmc, 0.1, 1.0, 1.0026, 1.0554),
        (Method::Sghmc, 0.3, 1.0, 1.0272, 1.2085),
        (Method::Sghmc, 0.3, 0.5, 1.0249, 1.1080),
        (Method::Baoa, 0.1, 1.0, 1.0, 1.0),
        (Method::Baoa, 0.3, 0.5, 1.0, 1.0),
        (Method::Sgld, 0.1, 0.0, 1.0526, 0.0),
        (Method::Sgld, 0.3, 0.0, 1.1765, 0.0),
    ];
    for (method, h, alpha, position, momentum) in table {
        let s = stationary(&config(method, h, alpha, 0.0, 1.0, 1.0), &UNIT);
        assert!(
            (s[0][0] - position).abs() < 6e-5,
            "{method} {h} {alpha}: {s:?}"
        );
        assert!(
            (s[1][1] - momentum).abs() < 6e-5,
            "{method} {h} {alpha}: {s:?}"
        );
    }
    // Closed forms away from neutral settings: SGLD's T / lambda / (1 - epsilon P lambda / 2), BAOA's exact
    // variances and h T / 2.
    let d = Direction {
        lambda: 3.0,
        mass: 2.5,
        gradient_noise: 0.0,
    };
    let s = stationary(&config(Method::Sgld, 0.4, 0.0, 0.0, 1.0, 0.7), &d);
    assert!((s[0][0] - 0.7 / 3.0 / (1.0 - 0.2 * 3.0 / 2.5)).abs() < 1e-12);
    let s = stationary(&config(Method::Baoa, 0.4, 0.8, 0.0, 1.3, 0.7), &d);
    let want = [
        [0.7 / 3.0, 0.4 * 0.7 / 2.0],
        [0.4 * 0.7 / 2.0, 0.7 * 1.69 * 2.5],
    ];
    assert!(
        (0..4).all(|i| (s[i / 2][i % 2] - want[i / 2][i % 2]).abs() < 1e-12),
        "{s:?}"
    );
}

/// Independent coordinates a direction.
const COPIES: usize = 2048;
/// Steps that are forgotten, and steps that are averaged.
const BURN_IN: u64 = 150;
const STEPS: u64 = 450;

/// Runs the method on a Gaussian whose directions are repeated `COPIES` times, and returns the largest standardised
/// error of E theta^2, E theta m and E m^2 against the covariances that are expected.
///
/// The coordinates are independent, so the standard error of a mean over them comes from their own spread.
fn worst_error(c: &Config, directions: &[Direction], expected: &[Matrix]) -> f64 {
    let n = directions.len() * COPIES;
    let of = |i: usize| directions[i / COPIES];
    // Near equilibrium from the start; the burn-in does the rest.
    let mut theta0 = normals(n, 0);
    for (i, t) in theta0.iter_mut().enumerate() {
        *t *= (c.temperature / of(i).lambda).sqrt() as f32;
    }
    let mut c = c.clone();
    (c.warmup_steps, c.sampling_steps, c.thinning) = (BURN_IN, STEPS, 1);
    let mut sampler = Sampler::new(cpu(), &theta0, c).unwrap();
    let mass: Vec<f32> = (0..n).map(|i| of(i).mass as f32).collect();
    sampler.set_mass(&mass).unwrap();
    let noisy = directions.iter().any(|d| d.gradient_noise > 0.0);
    let lambda: Vec<f32> = (0..n).map(|i| of(i).lambda as f32).collect();
    let sd: Vec<f32> = (0..n).map(|i| of(i).gradient_noise.sqrt() as f32).collect();
    let (mut grad, mut noise) = (vec![0.0; n], vec![0.0; n]);
    let mut sums = vec![[0.0; 3]; n];
    let stream = Stream::new(12, Purpose::Evaluate, 5);
    for step in 0..BURN_IN + STEPS {
        if noisy {
            sampler.vectors().normal(&mut noise, stream, step).unwrap();
        }
        for i in 0..n {
            grad[i] = sd[i] * noise[i] - lambda[i] * sampler.params()[i];
        }
        let report = sampler.step_with_gradient(&grad, 0.0).unwrap();
        if report.phase == Phase::Sampling {
            for (i, s) in sums.iter_mut().enumerate() {
                let t = sampler.params()[i] as f64;
                let m = sampler.momenta().map_or(0.0, |m| m[i] as f64);
                *s = [s[0] + t * t, s[1] + t * m, s[2] + m * m];
            }
        }
    }
    let mut worst = 0f64;
    for (sums, s) in sums.chunks(COPIES).zip(expected) {
        for (k, want) in [s[0][0], s[0][1], s[1][1]].into_iter().enumerate() {
            let x: Vec<f64> = sums.iter().map(|s| s[k] / STEPS as f64).collect();
            let mean = x.iter().sum::<f64>() / COPIES as f64;
            let spread = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (COPIES - 1) as f64;
            if spread > 0.0 {
                worst = worst.max((mean - want).abs() / (spread / COPIES as f64).sqrt());
            }
        }
    }
    worst
}

/// Two sides of a normal beyond this: 1.5e-9. The file makes about 200 such checks, so a false alarm has a
/// probability of 3e-7. (Means over 2048 time averages are normal enough: what is left of their skewness raises
/// that by a factor of two at most.)
const Z: f64 = 6.04;

/// Settings away from neutral, with directions: plain; stiff; heavy; and with gradient noise just as strong as beta
/// says.
fn cases(method: Method) -> Vec<(Config, Vec<Direction>)> {
    let directions = |t: f64, beta: f64, tight: f64, noise: f64| {
        let d = |lambda, mass, gradient_noise| Direction {
            lambda,
            mass,
            gradient_noise,
        };
        vec![
            d(1.0, 1.0, 0.0),
            d(tight, 0.6, 0.0),
            d(1.5, 2.5, 0.0),
            d(1.2, 1.7, noise + t * t * beta * 1.7),
        ]
    };
    match method {
        Method::Sgld => vec![
            (
                config(method, 0.3, 0.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 2.0, 0.0),
            ),
            (
                config(method, 0.4, 0.0, 1.9, 1.0, 0.6),
                directions(0.6, 1.9, 1.6, 0.0),
            ),
        ],
        Method::Sghmc => vec![
            (
                config(method, 0.3, 1.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 4.0, 0.0),
            ),
            (
                config(method, 0.4, 0.9, 1.6, 1.3, 0.6),
                directions(0.6, 1.6, 5.0, 0.0),
            ),
        ],
        Method::SghmcEuler => vec![
            (
                config(method, 0.2, 1.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 1.0, 0.0),
            ),
            (
                config(method, 0.2, 1.6, 2.2, 1.2, 0.6),
                directions(0.6, 2.2, 1.1, 0.0),
            ),
        ],
        Method::Baoa => vec![
            (
                config(method, 0.5, 1.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 4.0, 0.5),
            ),
            (
                config(method, 0.6, 0.8, 0.0, 0.8, 1.4),
                directions(1.4, 0.0, 1.9, 2.0),
            ),
        ],
        // The thermostat is not told of the gradient's noise.
        Method::Sgnht => vec![
            (
                config(method, 0.3, 1.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 4.0, 1.5),
            ),
            (
                config(method, 0.4, 0.9, 1.6, 1.3, 0.6),
                directions(0.6, 1.6, 5.0, 1.0),
            ),
        ],
        Method::SgnhtEuler => vec![
            (
                config(method, 0.1, 1.5, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 1.0, 2.0),
            ),
            (
                config(method, 0.1, 1.6, 2.2, 1.2, 0.6),
                directions(0.6, 2.2, 1.1, 3.0),
            ),
        ],
        // Small steps and little noise: a gradient is clamped beyond 5 of its deviations.
        Method::Sglrw => vec![
            (
                config(method, 0.04, 0.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 1.0, 0.5),
            ),
            (
                config(method, 0.03, 0.0, 0.0, 1.0, 0.6),
                directions(0.6, 0.0, 1.6, 0.2),
            ),
        ],
    }
}

#[test]
fn moments_are_those_of_the_discretisation() {
    for method in Method::ALL {
        for (config, directions) in cases(method) {
            let (config, exact) = equilibrium(&config, &directions);
            let worst = worst_error(&config, &directions, &exact);
            assert!(worst < Z, "{config:?}: {worst} standard errors");
        }
    }
}

#[test]
fn the_check_sees_a_wrong_factor() {
    // What a sampler would be expected to have with its noise's deviation off by a factor: T in place of its root,
    // the root of 2, beta or the mass ignored, friction not divided by sigma^2. Each must fail the check that the
    // right one passes.
    for method in Method::ALL {
        let (right, directions) = cases(method).remove(1);
        let expect = |change: &dyn Fn(&mut Config, &mut Direction)| -> Vec<Matrix> {
            let (mut c, mut all) = (right.clone(), directions.clone());
            for d in &mut all {
                c = right.clone();
                change(&mut c, d);
            }
            equilibrium(&c, &all).1
        };
        let start = equilibrium(&right, &directions).0;
        let mut wrong = vec![
            (
                "noise times the root of 2",
                expect(&|c, _| c.temperature *= 2.0),
            ),
            (
                "T for its root",
                expect(&|c, _| c.temperature *= c.temperature),
            ),
            ("T off by 5 %", expect(&|c, _| c.temperature *= 1.05)),
        ];
        // The lattice walk's variance depends on neither.
        if method != Method::Sglrw {
            wrong.push(("no mass", expect(&|_, d| d.mass = 1.0)));
            let none = expect(&|_, d| d.gradient_noise = 0.0);
            wrong.push(("no gradient noise", none));
        }
        // A thermostat makes up for the noise that beta holds back: only the sum counts.
        if right.beta > 0.0 && !method.has_thermostat() {
            wrong.push(("beta ignored", expect(&|c, _| c.beta = 0.0)));
        }
        if method.has_momenta() && !method.has_thermostat() {
            wrong.push((
                "friction alpha",
                expect(&|c, _| c.alpha *= c.sigma * c.sigma),
            ));
        }
        for (what, expected) in wrong {
            let worst = worst_error(&start, &directions, &expected);
            assert!(worst > 1.2 * Z, "{method}: '{what}' passes at {worst}");
        }
    }
}

#[test]
fn a_double_well() {
    // log p = x^2 - x^4 / 10: E x^2 = 4.356815, E x^4 = 24.284073. The wells have curvature 4, so that at h = 0.05
    // a scheme of second order has their width wrong by about 4 h^2 / 4 = 0.25 %; the allowance is 1 % on top of
    // the Monte Carlo error.
    for method in [Method::Baoa, Method::Sghmc] {
        let n = 4096;
        let mut c = config(method, 0.05, 0.7, 0.0, 1.0, 1.0);
        (c.warmup_steps, c.sampling_steps, c.thinning) = (600, 1400, 1);
        // Both wells alike, so that no coordinate has to cross to make the mean right.
        let start: Vec<f32> = (0..n)
            .map(|i| if i % 2 == 0 { 2.0 } else { -2.0 })
            .collect();
        let mut sampler = Sampler::new(cpu(), &start, c).unwrap();
        let mut grad = vec![0.0; n];
        let mut sums = vec![[0.0; 2]; n];
        while sampler.phase() != Phase::Done {
            for (g, x) in grad.iter_mut().zip(sampler.params()) {
                *g = 2.0 * x - 0.4 * x * x * x;
            }
            if sampler.step_with_gradient(&grad, 0.0).unwrap().sample_due {
                for (s, x) in sums.iter_mut().zip(sampler.params()) {
                    let square = (*x as f64).powi(2);
                    *s = [s[0] + square, s[1] + square * square];
                }
            }
        }
        for (k, want) in [4.356_815, 24.284_073].into_iter().enumerate() {
            let x: Vec<f64> = sums.iter().map(|s| s[k] / 1400.0).collect();
            let mean = x.iter().sum::<f64>() / n as f64;
            let spread = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let error = (mean - want).abs();
            assert!(
                error < 0.01 * want + Z * (spread / n as f64).sqrt(),
                "{method}: {mean} for {want}"
            );
        }
    }
}

#[test]
fn temperatures_are_the_temperature() {
    // On a Gaussian the mean of m^2 / M' over d parameters has the deviation T sqrt(2 / d) about its exact value,
    // and that of -(theta - theta_0) grad, with theta_0 drawn from the target too, T sqrt(3 / d). Both are T for
    // BAOA.
    let d = 1 << 15;
    for method in Method::ALL {
        let (c, directions) = cases(method).remove(1);
        let (direction, t) = (directions[2], c.temperature);
        let (settings, all) = equilibrium(&c, &[direction]);
        let (exact, mut c) = (all[0], settings);
        let mut theta0 = normals(d, 4);
        theta0
            .iter_mut()
            .for_each(|x| *x *= exact[0][0].sqrt() as f32);
        let mass_scale = c.sigma.powi(2);
        (c.warmup_steps, c.sampling_steps) = (150, 50);
        let mut sampler = Sampler::new(cpu(), &theta0, c).unwrap();
        sampler.set_mass(&vec![direction.mass as f32; d]).unwrap();
        let mut first = None;
        while sampler.phase() != Phase::Done {
            let grad: Vec<f32> = sampler
                .params()
                .iter()
                .map(|x| -direction.lambda as f32 * x)
                .collect();
            let r = sampler.step_with_gradient(&grad, -1.0).unwrap();
            first.get_or_insert(r);
            if !r.sample_due {
                continue;
            }
            let kinetic = exact[1][1] / (mass_scale * direction.mass);
            match r.kinetic_temperature {
                Some(k) => assert!(
                    (k - kinetic).abs() < Z * kinetic * (2.0 / d as f64).sqrt(),
                    "{method} {k} {kinetic}"
                ),
                None => assert!(!method.has_momenta()),
            }
            let configurational = exact[0][0] * direction.lambda;
            let (got, band) = (
                r.configurational_temperature,
                configurational * (3.0 / d as f64).sqrt(),
            );
            assert!(
                (got - configurational).abs() < Z * band,
                "{method} {got} {configurational}"
            );
            if method == Method::Baoa {
                assert!((kinetic - t).abs() < 1e-9 && (configurational - t).abs() < 1e-9);
            }
        }
        // At the start theta is theta_0, and the momenta were drawn at T.
        assert_eq!(first.unwrap().configurational_temperature, 0.0);
    }
}

// ---------------------------------------------------------------- the state machine

/// Steps on -|theta|^2 / 2 and collects the reports.
fn run(sampler: &mut Sampler<Cpu>, steps: usize) -> Vec<StepReport> {
    let step = |_| {
        let grad: Vec<f32> = sampler.params().iter().map(|x| -x).collect();
        sampler.step_with_gradient(&grad, -1.0).unwrap()
    };
    (0..steps).map(step).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn settings(method: Method) -> Config {
    let mut c = Config::new(method, 0.1);
    (
        c.warmup_steps,
        c.sampling_steps,
        c.thinning,
        c.seed,
        c.temperature,
    ) = (30, 70, 8, 5, 0.8);
    if method.has_momenta() {
        (c.alpha, c.sigma) = (0.9, 1.2);
    }
    c.schedule = Schedule::Cosine {
        final_fraction: 0.3,
    };
    c
}

#[test]
fn phases_and_due_samples() {
    let mut sampler = Sampler::new(cpu(), &[1.0, 2.0], settings(Method::Baoa)).unwrap();
    let reports = run(&mut sampler, 100);
    for (i, r) in reports.iter().enumerate() {
        assert_eq!(r.step, i as u64);
        assert_eq!(
            r.phase,
            if i < 30 {
                Phase::Warmup
            } else {
                Phase::Sampling
            }
        );
        assert_eq!(r.sample_due, i >= 30 && (i - 30 + 1) % 8 == 0, "{i}");
    }
    let due = reports.iter().filter(|r| r.sample_due).count() as u64;
    assert_eq!((due, sampler.config().num_samples()), (8, 8));
    assert_eq!((sampler.phase(), sampler.step()), (Phase::Done, 100));
    let over = sampler.step_with_gradient(&vec![0.0; 2], 0.0);
    assert!(matches!(over, Err(Error::Invalid { .. })), "{over:?}");
}

#[test]
fn a_resumed_chain_is_the_unbroken_one() {
    let (n, mass) = (
        9000,
        normals(9000, 9)
            .iter()
            .map(|z| 1.0 + z.exp())
            .collect::<Vec<_>>(),
    );
    for method in Method::ALL {
        let mut whole = Sampler::new(cpu(), &normals(n, 1), settings(method)).unwrap();
        let mut broken = Sampler::new(cpu(), &normals(n, 1), settings(method)).unwrap();
        let mut reports = [run(&mut whole, 20), run(&mut broken, 20)];
        whole.set_mass(&mass).unwrap();
        broken.set_mass(&mass).unwrap();
        reports[0].extend(run(&mut whole, 80));
        reports[1].extend(run(&mut broken, 17)); // 37 in all
        let text = serde_json::to_string(&broken.state().unwrap()).unwrap();
        drop(broken);
        let state: SamplerState = serde_json::from_str(&text).unwrap();
        let mut broken = Sampler::restore(Cpu::new(2).unwrap(), settings(method), &state).unwrap();
        reports[1].extend(run(&mut broken, 63));
        assert_eq!(reports[0], reports[1], "{method}");
        assert_eq!(whole.state().unwrap(), broken.state().unwrap(), "{method}");
        assert_ne!(bits(whole.params()), bits(&normals(n, 1)));
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let n = 5 * 8 * 4096 + 7;
    for method in Method::ALL {
        let outcome = |cpu: Cpu| {
            let mut sampler = Sampler::new(cpu, &normals(n, 1), settings(method)).unwrap();
            let reports = run(&mut sampler, 4);
            (reports, bits(sampler.params()))
        };
        let first = outcome(Cpu::with_isa(1, Isa::named("portable").unwrap()).unwrap());
        for isa in Isa::all() {
            for threads in 1..=3 {
                assert!(
                    outcome(Cpu::with_isa(threads, isa).unwrap()) == first,
                    "{method} {isa:?} {threads}"
                );
            }
        }
    }
}

#[test]
fn chains_and_seeds_are_independent() {
    // The displacements that four chains of one seed and a chain of another make: correlations of a normal law
    // about 0, 10 pairs a method.
    let n = 1 << 16;
    for method in Method::ALL {
        let ids = [(5, 0), (5, 1), (5, 2), (5, u32::MAX), (6, 0)];
        let moved = |(seed, chain): (u64, u32)| {
            let mut c = settings(method);
            (c.seed, c.chain) = (seed, chain);
            let mut sampler = Sampler::new(cpu(), &vec![0.0; n], c).unwrap();
            run(&mut sampler, 3);
            sampler.params().clone()
        };
        let paths: Vec<Vec<f32>> = ids.into_iter().map(moved).collect();
        assert_eq!(paths[0], moved(ids[0]));
        for i in 0..paths.len() {
            for j in 0..i {
                let dot = |a: &[f32], b: &[f32]| cpu().dot(&a.to_vec(), &b.to_vec()).unwrap();
                let r = dot(&paths[i], &paths[j])
                    / (dot(&paths[i], &paths[i]) * dot(&paths[j], &paths[j])).sqrt();
                assert!(r.abs() < Z / (n as f64).sqrt(), "{method} {i} {j}: {r}");
            }
        }
    }
}

#[test]
fn momenta_start_as_asked() {
    let n = 1 << 16;
    let mut c = settings(Method::Baoa);
    let mass: Vec<f32> = (0..n)
        .map(|i| if i % 2 == 0 { 4.0 } else { 0.25 })
        .collect();
    let mut sampler = Sampler::new(cpu(), &vec![0.0; n], c.clone()).unwrap();
    // N(0, T sigma^2 M): the mean of m^2 / M over n has the deviation T sigma^2 sqrt(2 / n).
    let check = |m: &[f32], mass: &[f32]| {
        let mean = m
            .iter()
            .zip(mass)
            .map(|(m, s)| (*m as f64).powi(2) / *s as f64)
            .sum::<f64>()
            / n as f64;
        let want = 0.8 * 1.44;
        assert!(
            (mean - want).abs() < Z * want * (2.0 / n as f64).sqrt(),
            "{mean}"
        );
    };
    check(sampler.momenta().unwrap(), &vec![1.0; n]);
    let first = sampler.momenta().unwrap().clone();
    sampler.set_mass(&mass).unwrap();
    check(sampler.momenta().unwrap(), &mass);
    check(
        &sampler.momenta().unwrap()[..n / 2],
        &mass[..n / 2].iter().map(|m| 0.5 * m).collect::<Vec<_>>(),
    );
    // A mass that is there from the start gives the same numbers, scaled; one set later gives others.
    assert!((0..n).all(|i| sampler.momenta().unwrap()[i] == first[i] * mass[i].sqrt()));
    run(&mut sampler, 1);
    sampler.set_mass(&vec![1.0; n]).unwrap();
    check(sampler.momenta().unwrap(), &vec![1.0; n]);
    assert_ne!(sampler.momenta().unwrap()[0], first[0]);
    c.momenta = Momenta::Constant(-0.5);
    let sampler = Sampler::new(cpu(), &vec![0.0; n], c.clone()).unwrap();
    assert!(sampler.momenta().unwrap().iter().all(|m| *m == -0.5));
    (c.momenta, c.temperature) = (Momenta::Thermal, 0.0);
    let sampler = Sampler::new(cpu(), &vec![0.0; n], c).unwrap();
    assert!(sampler.momenta().unwrap().iter().all(|m| *m == 0.0));
}

#[test]
fn the_mass_is_frozen_when_sampling_begins() {
    for method in Method::ALL {
        let mut sampler = Sampler::new(cpu(), &[1.0, 2.0, 3.0], settings(method)).unwrap();
        assert!(sampler.mass().is_none());
        let state = sampler.state().unwrap();
        assert!(matches!(sampler.set_mass(&[1.0]), Err(Error::Shape { .. })));
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40, f32::MAX] {
            let e = sampler.set_mass(&[1.0, 2.0, bad]).unwrap_err();
            assert!(e.to_string().starts_with("mass[2]"), "{e}");
        }
        assert_eq!(
            sampler.state().unwrap(),
            state,
            "a refused mass changes nothing"
        );
        run(&mut sampler, 30);
        sampler.set_mass(&[1.0, 2.0, 3.0]).unwrap(); // between the last step of warm-up and the first of sampling
        assert_eq!(sampler.mass().unwrap(), &vec![1.0, 2.0, 3.0]);
        run(&mut sampler, 1);
        assert!(matches!(
            sampler.set_mass(&[1.0; 3]),
            Err(Error::Invalid { .. })
        ));
    }
}

#[test]
fn what_is_not_finite_stops_the_chain() {
    let n = 10_000;
    for method in Method::ALL {
        let mut sampler = Sampler::new(cpu(), &normals(n, 1), settings(method)).unwrap();
        run(&mut sampler, 5);
        let before = sampler.state().unwrap();
        let good = vec![0.1; n];
        let stopped = |r: Result<StepReport>, tensor: &str, step: u64| match r {
            Err(Error::NotFinite {
                step: s,
                tensor: t,
                value,
            }) => {
                assert_eq!(
                    (s, t.as_str(), value.is_finite()),
                    (step, tensor, false),
                    "{method}"
                );
            }
            other => panic!("{method}: {other:?}"),
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            stopped(
                sampler.step_with_gradient(&good, bad as f64),
                "log_posterior",
                5,
            );
            assert_eq!(sampler.non_finite_index(), None);
            let mut grad = good.clone();
            (grad[7777], grad[9000]) = (bad, f32::NAN);
            stopped(sampler.step_with_gradient(&grad, 0.0), "gradient[7777]", 5);
            assert_eq!(sampler.non_finite_index(), Some(7777));
        }
        assert_eq!(
            sampler.state().unwrap(),
            before,
            "{method}: the state is as it was"
        );
        assert!(matches!(
            sampler.step_with_gradient(&vec![0.0; 3], 0.0),
            Err(Error::Shape { .. })
        ));
        sampler.step_with_gradient(&good, 0.0).unwrap();
        assert_eq!((sampler.step(), sampler.non_finite_index()), (6, None));
        // Finite gradients that overflow the state; under Euler the momentum first.
        let mut c = settings(method);
        c.step_size = if method.has_momenta() { 1.5 } else { 4.0 };
        c.schedule = Schedule::Constant;
        let mut sampler = Sampler::new(cpu(), &normals(n, 1), c).unwrap();
        let mut grad = good;
        grad[4097] = 3e38;
        if method == Method::Sglrw {
            // Its steps are clamped: no gradient throws it far.
            sampler.step_with_gradient(&grad, 0.0).unwrap();
            let moved = (sampler.params()[4097] - normals(n, 1)[4097]) as f64;
            assert!(
                (moved - (2.0 * 0.8 * 4.0f64).sqrt()).abs() < 1e-5,
                "{moved}"
            );
            continue;
        }
        let tensor = match method {
            Method::SghmcEuler | Method::SgnhtEuler => "momenta[4097]",
            _ => "params[4097]",
        };
        stopped(sampler.step_with_gradient(&grad, 0.0), tensor, 0);
        assert_eq!(sampler.non_finite_index(), Some(4097));
        // And it stays stopped.
        assert!(sampler.step_with_gradient(&vec![0.0; n], 0.0).is_err());
        let lost = sampler.state().unwrap();
        assert!(Sampler::restore(cpu(), settings(method), &lost).is_err());
    }
}

#[test]
fn settings_are_checked() {
    let refused = |what: &str, c: Config| {
        let e = c.validate().unwrap_err();
        assert!(e.to_string().starts_with(what), "{e}");
        assert!(Sampler::new(cpu(), &[1.0], c).is_err());
    };
    for method in Method::ALL {
        let with = |change: &dyn Fn(&mut Config)| {
            let mut c = settings(method);
            assert!(c.validate().is_ok());
            change(&mut c);
            c
        };
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            refused("step_size", with(&|c| c.step_size = bad));
            refused("sigma", with(&|c| c.sigma = bad));
            refused("alpha", with(&|c| c.alpha = bad));
            refused("beta", with(&|c| c.beta = bad));
            refused("temperature", with(&|c| c.temperature = bad));
            refused(
                "final_fraction",
                with(&|c| {
                    c.schedule = Schedule::Cosine {
                        final_fraction: bad,
                    }
                }),
            );
        }
        refused("step_size", with(&|c| c.step_size = 0.0));
        refused("sigma", with(&|c| c.sigma = 0.0));
        refused("thinning", with(&|c| c.thinning = 0));
        refused("thinning", with(&|c| c.thinning = 71));
        refused("sampling_steps", with(&|c| c.sampling_steps = u64::MAX));
        refused(
            "final_fraction",
            with(&|c| {
                c.schedule = Schedule::Cosine {
                    final_fraction: 0.0,
                }
            }),
        );
        refused(
            "momenta",
            with(&|c| c.momenta = Momenta::Constant(f32::NAN)),
        );
        match method {
            Method::Sgld => {
                refused("alpha", with(&|c| c.alpha = 0.1));
                refused("sigma", with(&|c| c.sigma = 2.0));
                refused("momenta", with(&|c| c.momenta = Momenta::Constant(0.0)));
                refused("beta", with(&|c| c.beta = 25.1)); // 0.8 * 0.1 * 25 = 2
                assert!(with(&|c| c.beta = 24.9).validate().is_ok());
            }
            Method::Sghmc | Method::SghmcEuler => {
                refused("alpha", with(&|c| c.alpha = 0.0));
                refused("beta", with(&|c| c.beta = 22.6)); // 0.8 * 0.1 * 22.5 = 2 * 0.9
                assert!(with(&|c| c.beta = 22.4).validate().is_ok());
                refused("unstable", with(&|c| c.step_size = 3.3)); // 0.9 / 1.44 * 3.2 = 2
            }
            Method::Baoa => {
                refused("alpha", with(&|c| c.alpha = 0.0));
                refused("beta", with(&|c| c.beta = 0.1));
            }
            Method::Sgnht | Method::SgnhtEuler => {
                assert!(with(&|c| c.alpha = 0.0).validate().is_ok());
                refused("beta", with(&|c| c.beta = 22.6));
                refused("xi", with(&|c| c.xi = Some(f64::NAN)));
                refused("thermostat_mass", with(&|c| c.thermostat_mass = 0.0));
            }
            Method::Sglrw => {
                refused("alpha", with(&|c| c.alpha = 0.1));
                refused("sigma", with(&|c| c.sigma = 2.0));
                refused("beta", with(&|c| c.beta = 0.1));
                refused("temperature", with(&|c| c.temperature = 0.0));
            }
        }
        if !method.has_thermostat() {
            refused("xi", with(&|c| c.xi = Some(1.0)));
        }
        assert_eq!(method.name().parse::<Method>().unwrap(), method);
        assert_eq!(serde_json::to_value(method).unwrap(), method.name());
        let text = serde_json::to_string(&settings(method)).unwrap();
        assert_eq!(
            serde_json::from_str::<Config>(&text).unwrap(),
            settings(method)
        );
    }
    assert!("baoab".parse::<Method>().is_err());
    assert!(matches!(
        Sampler::new(cpu(), &[], settings(Method::Baoa)),
        Err(Error::Invalid { .. })
    ));
    assert!(Sampler::new(cpu(), &[f32::NAN], settings(Method::Baoa)).is_err());
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let (with, without) = (settings(Method::Baoa), settings(Method::Sgld));
    let mut sampler = Sampler::new(cpu(), &[1.0, 2.0], with.clone()).unwrap();
    sampler.set_mass(&[1.0, 3.0]).unwrap();
    let good = sampler.state().unwrap();
    let refused = |config: &Config, change: &dyn Fn(&mut SamplerState)| {
        let mut state = good.clone();
        change(&mut state);
        assert!(
            Sampler::restore(cpu(), config.clone(), &state).is_err(),
            "{state:?}"
        );
    };
    assert!(Sampler::restore(cpu(), with.clone(), &good).is_ok());
    refused(&without, &|_| ());
    refused(&with, &|s| s.momenta = None);
    refused(&with, &|s| s.step = 101);
    refused(&with, &|s| s.theta = vec![]);
    refused(&with, &|s| s.theta[1] = f32::NAN);
    refused(&with, &|s| s.center = vec![1.0]);
    refused(&with, &|s| s.momenta = Some(vec![1.0; 3]));
    refused(&with, &|s| s.momenta = Some(vec![1.0, f32::INFINITY]));
    refused(&with, &|s| s.mass = Some(vec![1.0, 0.0]));
    let thermostat = |xi| Some(Thermostat { xi, kinetic: 1.0 });
    refused(&with, &|s| s.thermostat = thermostat(1.0));
    let hot = settings(Method::Sgnht);
    refused(&hot, &|_| ());
    refused(&hot, &|s| s.thermostat = thermostat(f64::NAN));
    let fits = SamplerState {
        thermostat: thermostat(1.0),
        ..good.clone()
    };
    assert!(Sampler::restore(cpu(), hot, &fits).is_ok());
}

// ---------------------------------------------------------------- thermostat

#[test]
fn the_thermostat_follows_the_momenta() {
    // Two steps by hand without noise (T = 0): the friction is xi / sigma^2, and xi moves by h K / Q.
    let (h, sigma, q) = (0.1f64, 1.3f64, 0.25);
    for (method, start) in [
        (Method::Sgnht, Some(0.0)), // an explicit zero is zero
        (Method::Sgnht, Some(0.7)),
        (Method::Sgnht, None), // alpha
        (Method::SgnhtEuler, Some(0.7)),
    ] {
        let mut c = config(method, h, 0.4, 0.0, sigma, 0.0);
        (c.xi, c.thermostat_mass, c.momenta) = (start, q, Momenta::Constant(0.5));
        let mut sampler = Sampler::new(cpu(), &[1.0, 3.0], c).unwrap();
        sampler.set_mass(&[1.0, 4.0]).unwrap();
        // set_mass draws at T = 0; momenta of a half again.
        let mut state = sampler.state().unwrap();
        state.momenta = Some(vec![0.5, 0.5]);
        let kinetic = |m: &[f64; 2]| (m[0].powi(2) + m[1].powi(2) / 4.0) / (2.0 * sigma * sigma);
        let (mut m, mut xi) = ([0.5, 0.5], start.unwrap_or(0.4));
        let mut before = kinetic(&m);
        state.thermostat = Some(Thermostat {
            xi,
            kinetic: before,
        });
        let mut sampler = Sampler::restore(cpu(), sampler.config().clone(), &state).unwrap();
        assert_eq!(sampler.thermostat().unwrap().xi, xi);
        for _ in 0..2 {
            let r = sampler.step_with_gradient(&vec![0.3, -0.2], 0.0).unwrap();
            m = [
                m[0] + h * 0.3 - h * xi / sigma.powi(2) * m[0],
                m[1] - h * 0.2 - h * xi / sigma.powi(2) * m[1],
            ];
            let after = kinetic(&m);
            xi += h / q
                * if method == Method::Sgnht {
                    after
                } else {
                    before
                };
            before = after;
            assert!((r.xi.unwrap() - xi).abs() < 1e-6, "{method} {start:?}");
            let got = sampler.momenta().unwrap();
            assert!((got[0] as f64 - m[0]).abs() < 1e-6 && (got[1] as f64 - m[1]).abs() < 1e-6);
        }
    }
}

#[test]
fn the_thermostat_finds_the_friction_that_noise_needs() {
    // Started far off, at the friction that would hold T without gradient noise, xi settles where E kinetic = T, which the Lyapunov equation
    // says; the mean over a long run is compared within its own batch means. With 8192 coordinates the law's width, (T / (d Q))^1/2 = 0.01,
    // has left no bias that could be seen.
    let (c, directions) = cases(Method::Sgnht).remove(0);
    let want = settled(&c, &directions);
    let n = 4 * COPIES;
    let of = |i: usize| directions[i / COPIES];
    let mut c = c;
    (c.warmup_steps, c.sampling_steps, c.thinning) = (400, 4000, 1);
    c.xi = Some(0.2);
    let mut sampler = Sampler::new(cpu(), &vec![0.0; n], c.clone()).unwrap();
    let mass: Vec<f32> = (0..n).map(|i| of(i).mass as f32).collect();
    sampler.set_mass(&mass).unwrap();
    let stream = Stream::new(13, Purpose::Evaluate, 5);
    let (mut grad, mut noise) = (vec![0.0; n], vec![0.0; n]);
    let mut xi = Vec::new();
    while sampler.phase() != Phase::Done {
        sampler
            .vectors()
            .normal(&mut noise, stream, sampler.step())
            .unwrap();
        for i in 0..n {
            let sd = of(i).gradient_noise.sqrt() as f32;
            grad[i] = sd * noise[i] - of(i).lambda as f32 * sampler.params()[i];
        }
        let r = sampler.step_with_gradient(&grad, 0.0).unwrap();
        if r.phase == Phase::Sampling {
            xi.push(r.xi.unwrap());
        }
    }
    let batches: Vec<f64> = xi
        .chunks(100)
        .map(|c| c.iter().sum::<f64>() / 100.0)
        .collect();
    let k = batches.len() as f64;
    let mean = batches.iter().sum::<f64>() / k;
    let error = (batches.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / (k * (k - 1.0))).sqrt();
    // Student's t with 39 degrees of freedom beyond 7: 2e-8. Taking the noise for none would be off by hundreds of these.
    assert!(
        (mean - want).abs() < 7.0 * error,
        "{mean} +- {error}, {want}"
    );
    assert!((mean - c.alpha).abs() > 20.0 * error);
}

// ---------------------------------------------------------------- schedules

#[test]
fn schedules_by_hand() {
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    let f = 0.2;
    let linear = Schedule::Linear { final_fraction: f };
    for (i, want) in [(0, 1.0), (5, 0.6), (10, 0.2)] {
        close(linear.factor(i, 11), want);
    }
    let polynomial = Schedule::Polynomial {
        delay: 3.0,
        power: 0.5,
    };
    close(polynomial.factor(0, 11), 1.0);
    close(polynomial.factor(9, 11), 0.5);
    // 23 steps in 3 cycles of 7, 7 and 9; 40 % of each explores: 3, 3 and 4 steps.
    let cyclical = Schedule::Cyclical {
        cycles: 3,
        exploration: 0.4,
        final_fraction: f,
    };
    for (begin, length, explored) in [(0, 7, 3), (7, 7, 3), (14, 9, 4)] {
        close(cyclical.factor(begin, 23), 1.0);
        close(cyclical.factor(begin + length - 1, 23), f);
        close(cyclical.factor(begin + (length - 1) / 2, 23), 0.6);
        for i in 0..length {
            assert_eq!(
                cyclical.explores(begin + i, 23),
                i < explored,
                "{begin} {i}"
            );
        }
    }
    assert!(!linear.explores(0, 11));
}

#[test]
fn a_cycle_explores_without_noise_and_samples() {
    let mut c = settings(Method::Sghmc);
    (c.warmup_steps, c.sampling_steps, c.thinning) = (10, 60, 4);
    c.schedule = Schedule::Cyclical {
        cycles: 3,
        exploration: 0.5,
        final_fraction: 0.1,
    };
    c.temperature_schedule = Schedule::Linear {
        final_fraction: 0.5,
    };
    let run_with = |seed| {
        let mut c = c.clone();
        c.seed = seed;
        c.momenta = Momenta::Constant(0.0);
        // Past the warm-up, from rest, so that noise would be seen.
        let state = SamplerState {
            step: 10,
            ..Sampler::new(cpu(), &[1.0, -2.0], c.clone())
                .unwrap()
                .state()
                .unwrap()
        };
        let mut sampler = Sampler::restore(cpu(), c, &state).unwrap();
        let path: Vec<(StepReport, Vec<f32>)> = (0..60)
            .map(|_| (run(&mut sampler, 1)[0], sampler.params().clone()))
            .collect();
        path
    };
    let (a, b) = (run_with(1), run_with(2));
    let mut due = 0;
    for (i, ((r, x), (_, y))) in a.iter().zip(&b).enumerate() {
        let explores = i % 20 < 10;
        assert_eq!(
            r.phase,
            if explores {
                Phase::Exploration
            } else {
                Phase::Sampling
            }
        );
        assert_eq!(r.temperature == 0.0, explores);
        // Until the first noise, chains of other seeds are one.
        assert_eq!(x == y, i < 10, "{i}");
        assert!(!(explores && r.sample_due));
        due += r.sample_due as u64;
    }
    // Multiples of 4 among sampling steps 11 to 20 of each cycle: 12, 16, 20; 32, 36, 40; 52, 56, 60.
    assert_eq!((due, c.num_samples()), (9, 9));
    let last = a[59].0;
    assert!((last.temperature / c.temperature - 0.5).abs() < 1e-12);
    assert!((last.step_size / c.step_size - 0.1).abs() < 1e-12);
    // What does not go together.
    let refused = |what: &str, change: &dyn Fn(&mut Config)| {
        let mut c = c.clone();
        change(&mut c);
        let e = c.validate().unwrap_err().to_string();
        assert!(e.starts_with(what), "{e}");
    };
    refused("temperature_schedule", &|c| {
        c.temperature_schedule = c.schedule
    });
    refused("exploration", &|c| c.method = Method::Sgnht);
    let cyclical = |cycles, exploration| Schedule::Cyclical {
        cycles,
        exploration,
        final_fraction: 0.1,
    };
    refused("cycles", &|c| c.schedule = cyclical(0, 0.5));
    refused("cycles", &|c| c.schedule = cyclical(61, 0.5));
    refused("exploration", &|c| c.schedule = cyclical(3, 1.0));
    refused("schedule_delay", &|c| {
        c.schedule = Schedule::Polynomial {
            delay: 0.0,
            power: 0.5,
        };
    });
    refused("schedule_power", &|c| {
        c.schedule = Schedule::Polynomial {
            delay: 1.0,
            power: 1.5,
        };
    });
}

#[test]
fn factors_of_the_caller_are_a_schedule() {
    // A schedule by the caller's factors is the same chain as the built-in one.
    for method in Method::ALL {
        let mut scheduled = Sampler::new(cpu(), &normals(70, 1), settings(method)).unwrap();
        let mut c = settings(method);
        c.schedule = Schedule::Constant;
        let mut by_hand = Sampler::new(cpu(), &normals(70, 1), c).unwrap();
        let schedule = scheduled.config().clone();
        while scheduled.phase() != Phase::Done {
            let step = scheduled.step();
            by_hand.set_factors(Some(Factors {
                step_size: schedule.step_size_at(step) / schedule.step_size,
                temperature: 1.0,
            }));
            run(&mut scheduled, 1);
            let r = run(&mut by_hand, 1)[0];
            assert!((r.step_size - schedule.step_size_at(step)).abs() < 1e-15);
        }
        let far = |a: &[f32], b: &[f32]| {
            a.iter()
                .zip(b)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max)
        };
        assert!(far(scheduled.params(), by_hand.params()) < 1e-4, "{method}");
        // A factor that makes no step is refused, and the state stays.
        let mut c = settings(method);
        c.schedule = Schedule::Constant;
        let mut sampler = Sampler::new(cpu(), &normals(70, 1), c).unwrap();
        let before = sampler.state().unwrap();
        for (step_size, temperature) in [(0.0, 1.0), (-1.0, 1.0), (f64::NAN, 1.0), (1.0, -0.5)] {
            sampler.set_factors(Some(Factors {
                step_size,
                temperature,
            }));
            assert!(sampler.step_with_gradient(&vec![0.0; 70], 0.0).is_err());
        }
        assert_eq!(sampler.state().unwrap(), before);
        sampler.set_factors(None);
        sampler.step_with_gradient(&vec![0.0; 70], 0.0).unwrap();
    }
}

// ---------------------------------------------------------------- what a step size means

#[test]
fn the_stability_limit_is_where_the_spectral_radius_is_one() {
    let radius = |c: &Config, d: &Direction| {
        let (a, _) = linear_step(c, d);
        let (trace, det) = (a[0][0] + a[1][1], a[0][0] * a[1][1] - a[0][1] * a[1][0]);
        let root = trace * trace / 4.0 - det;
        if root < 0.0 {
            det.sqrt()
        } else {
            trace.abs() / 2.0 + root.sqrt()
        }
    };
    for method in Method::ALL {
        for (alpha, sigma, lambda, mass) in [
            (0.5, 1.0, 3.0, 1.0),
            (2.0, 0.7, 50.0, 4.0),
            (0.1, 1.3, 1e4, 0.2),
            (5.0, 1.5, 0.1, 1.0),
        ] {
            let (alpha, sigma) = if method.has_momenta() {
                (alpha, sigma)
            } else {
                (0.0, 1.0)
            };
            let mut c = config(method, 1.0, alpha, 0.0, sigma, 1.0);
            let d = Direction {
                lambda,
                mass,
                gradient_noise: 0.0,
            };
            let limit = stability::stability_limit(&c, lambda / mass);
            c.step_size = 0.999 * limit;
            assert!(radius(&c, &d) < 1.0, "{method}: {c:?}");
            stability::is_stable(&c, lambda / mass).unwrap();
            // Smaller curvatures are stable then too, which the limit for Euler's scheme relies on.
            let flat = Direction {
                lambda: 1e-3 * lambda,
                ..d
            };
            assert!(radius(&c, &flat) < 1.0, "{method}: {c:?}");
            c.step_size = 1.001 * limit;
            let flattest = Direction { lambda: 0.0, ..d };
            assert!(
                radius(&c, &d) > 1.0 || radius(&c, &flattest) > 1.0,
                "{method}: {c:?}"
            );
            let e = stability::is_stable(&c, lambda / mass).unwrap_err();
            assert!(
                matches!(e, Error::Unstable(_)) && e.to_string().contains(method.name()),
                "{e}"
            );
        }
        let c = settings(method);
        assert!(stability::is_stable(&c, f64::NAN).is_err());
        stability::is_stable(&c, -1.0).unwrap();
    }
}

#[test]
fn a_chain_diverges_just_beyond_the_limit() {
    // Without noise the only direction shrinks to nothing or grows without bound: 4000 steps at 2 % either side.
    // The lattice walk has no step at T = 0, and a thermostat that stands still must weigh as much as it takes.
    for method in Method::ALL.into_iter().filter(|&m| m != Method::Sglrw) {
        let (lambda, mass) = (3.0, 0.5);
        let mut c = config(method, 1.0, 2.0, 0.0, 1.2, 0.0);
        if !method.has_momenta() {
            (c.alpha, c.sigma) = (0.0, 1.0);
        }
        (c.warmup_steps, c.momenta) = (4000, Momenta::Thermal);
        c.thermostat_mass = 1e30;
        let limit = stability::stability_limit(&c, lambda / mass);
        for (factor, stable) in [(0.98, true), (1.02, false)] {
            c.step_size = factor * limit;
            let mut sampler = Sampler::new(cpu(), &[1.0], c.clone()).unwrap();
            sampler.set_mass(&[mass as f32]).unwrap();
            let finished = (0..4000).all(|_| {
                let grad = vec![-lambda as f32 * sampler.params()[0]];
                sampler.step_with_gradient(&grad, 0.0).is_ok()
            });
            let end = sampler.params()[0].abs();
            assert_eq!(
                finished && end < 1e-3,
                stable,
                "{method} at {factor}: {end}"
            );
            assert!(stable || end.is_nan() || end > 1e6, "{method}: {end}");
        }
    }
}

#[test]
fn the_optimizer_pair_is_that_optimizer() {
    // At T = 0, on a quadratic: theta += lr * v, v = momentum * v - grad(loss), starting at rest. The gradients are
    // asked for at the same points; in f32, 40 steps agree to 1e-5.
    let (num_data, b) = (250.0, [1.0f64, -2.0, 0.5]);
    let curvature = [0.02, 0.1, 0.004]; // of the mean loss
    for method in [Method::Sgld, Method::Sghmc, Method::Baoa] {
        let mut c = config(method, 0.15, 2.0, 0.0, 1.1, 0.0);
        if method == Method::Sgld {
            c = config(method, 0.02, 0.0, 0.0, 1.0, 0.0);
        }
        let pair = stability::optimizer_pair(&c, num_data);
        let mut sampler = Sampler::new(cpu(), &[0.0; 3], c.clone()).unwrap();
        let (mut theta, mut v) = ([0.0; 3], [0.0; 3]);
        for step in 0..40 {
            for i in 0..3 {
                assert!(
                    (theta[i] - sampler.params()[i] as f64).abs() < 1e-5,
                    "{method}: step {step}, {theta:?}"
                );
                v[i] = pair.momentum * v[i] - curvature[i] * (theta[i] - b[i]);
            }
            let grad = (0..3)
                .map(|i| (-num_data * curvature[i] * (sampler.params()[i] as f64 - b[i])) as f32);
            sampler.step_with_gradient(&grad.collect(), 0.0).unwrap();
            for i in 0..3 {
                theta[i] += pair.lr * v[i];
            }
        }
        assert!(theta[1].abs() > 0.5, "it moved");
        if method.has_momenta() {
            c.alpha = stability::alpha_for_momentum(&c, 0.9).unwrap();
            assert!((stability::optimizer_pair(&c, num_data).momentum - 0.9).abs() < 1e-12);
        }
    }
    let euler = config(Method::SghmcEuler, 0.15, 2.0, 0.0, 1.1, 0.0);
    let mut same = euler.clone();
    same.method = Method::Sghmc;
    assert_eq!(
        stability::optimizer_pair(&euler, 9.0),
        stability::optimizer_pair(&same, 9.0)
    );
    assert!(stability::alpha_for_momentum(&euler, 1.0).is_err());
    assert!(stability::alpha_for_momentum(&Config::new(Method::Sgld, 0.1), 0.9).is_err());
}

#[test]
fn times_and_schedules() {
    let mut c = settings(Method::Baoa);
    c.schedule = Schedule::Constant;
    assert!((stability::physical_time(&c, 100) - 10.0).abs() < 1e-12);
    assert!((stability::friction_times(&c, 100).unwrap() - 10.0 * 0.9 / 1.44).abs() < 1e-12);
    assert_eq!(
        stability::friction_times(&settings(Method::Sgld), 100),
        None
    );
    // Half a cosine from the whole step to 0.3 of it: its mean over the sampling steps is 0.65.
    c.schedule = Schedule::Cosine {
        final_fraction: 0.3,
    };
    assert!((stability::physical_time(&c, 100) - (3.0 + 7.0 * 0.65)).abs() < 1e-12);
    assert!((stability::physical_time(&c, 20) - 2.0).abs() < 1e-12);
    let at = |step| c.step_size_at(step) / c.step_size;
    assert_eq!((at(0), at(29), at(30)), (1.0, 1.0, 1.0));
    assert!(
        (at(99) - 0.3).abs() < 1e-12 && at(64) > at(65) && (at(64) + at(65) - 1.3).abs() < 1e-12
    );
    let one = Schedule::Cosine {
        final_fraction: 0.3,
    };
    assert_eq!(one.factor(0, 1), 1.0);
    // The chain uses it: without noise, from rest, a step of BAOA moves by h^2 (1 + c) / 2 times the gradient over
    // the mass.
    (c.temperature, c.warmup_steps) = (0.0, 0);
    let state = SamplerState {
        step: 69,
        theta: vec![0.0],
        momenta: Some(vec![0.0]),
        mass: None,
        center: vec![0.0],
        thermostat: None,
    };
    let mut sampler = Sampler::restore(cpu(), c, &state).unwrap();
    let r = sampler.step_with_gradient(&vec![1.0], 0.0).unwrap();
    assert!((r.step_size - 0.03).abs() < 1e-12 && r.temperature == 0.0);
    let (h, gamma) = (0.03f64, 0.9 / 1.44);
    let want = h * h * (1.0 + (-gamma * h).exp()) / 2.0 / 1.44;
    assert!((sampler.params()[0] as f64 / want - 1.0).abs() < 1e-6);
}

// ---------------------------------------------------------------- the order of minibatches

/// Centres of four batches whose log posteriors are -(theta - centre)^2 / 2: their gradients differ by additive noise.
const CENTRES: [f64; 4] = [1.5, -0.5, -2.0, 1.0];

/// Every order of four batches.
fn permutations() -> Vec<Vec<usize>> {
    let all = (0..256).map(|i: usize| vec![i & 3, i >> 2 & 3, i >> 4 & 3, i >> 6]);
    all.filter(|p| (0..4).all(|i| p.contains(&i))).collect()
}

/// E theta^2 of BAOA at T = 0 in equilibrium, averaged over a cycle: cycles are drawn alike and independently from `cycles`, all of one length
/// and with the sum of their centres 0 in the mean.
fn square_from_batches(h: f64, cycles: &[Vec<usize>]) -> f64 {
    let mut c = config(Method::Baoa, h, 1.0, 0.0, 1.0, 0.0);
    c.temperature = 0.0;
    let (f, _) = linear_step(&c, &UNIT);
    // What a unit of gradient adds to (theta, m): a kick of h, then the rest of the step.
    let kick = [[0.0, 0.0], [h, 0.0]];
    let no_force = Direction {
        lambda: 0.0,
        ..UNIT
    };
    let b = multiply(&linear_step(&c, &no_force).0, &kick);
    let apply = |a: &Matrix, u: [f64; 2]| {
        [
            a[0][0] * u[0] + a[0][1] * u[1],
            a[1][0] * u[0] + a[1][1] * u[1],
        ]
    };
    // A cycle from rest: where it leads after each step.
    let paths: Vec<Vec<[f64; 2]>> = cycles
        .iter()
        .map(|cycle| {
            let mut u = [0.0; 2];
            let to = |i: &usize| {
                let v = apply(&f, u);
                u = [v[0] + b[0][0] * CENTRES[*i], v[1] + b[1][0] * CENTRES[*i]];
                u
            };
            cycle.iter().map(to).collect()
        })
        .collect();
    let (n, count) = (cycles[0].len(), cycles.len() as f64);
    let ends = || paths.iter().map(|p| p[n - 1]);
    // The state at a cycle's start, over many: mean mu = F^n mu + E u, second moment P = F^n P F^n' + terms, iterated.
    let power = (1..n).fold(f, |a, _| multiply(&f, &a));
    let (mut mu, mut p) = ([0.0; 2], [[0.0; 2]; 2]);
    for _ in 0..20_000 {
        let carried = apply(&power, mu);
        let mut next = multiply(&multiply(&power, &p), &transpose(&power));
        let mut mean = [0.0; 2];
        for u in ends() {
            for i in 0..2 {
                mean[i] += (carried[i] + u[i]) / count;
                for j in 0..2 {
                    next[i][j] += (carried[i] * u[j] + u[i] * carried[j] + u[i] * u[j]) / count;
                }
            }
        }
        (mu, p) = (mean, next);
    }
    // Within the cycle.
    let (mut total, mut power) = (0.0, [[1.0, 0.0], [0.0, 1.0]]);
    for k in 0..n {
        power = multiply(&f, &power);
        let carried = apply(&power, mu);
        let square = multiply(&multiply(&power, &p), &transpose(&power))[0][0];
        let cross: f64 = paths
            .iter()
            .map(|p| 2.0 * carried[0] * p[k][0] + p[k][0].powi(2))
            .sum();
        total += square + cross / count;
    }
    total / n as f64
}

#[test]
fn sweeps_there_and_back_raise_the_order_of_the_minibatches_bias() {
    // The gradients' noise alone, at T = 0: what it adds to E theta^2 is its bias at any temperature. Exactly: of first order in h for
    // independent batches, of third for a new order each sweep, of fourth for sweeps there and back.
    let single: Vec<Vec<usize>> = (0..4).map(|i| vec![i]).collect();
    let sweeps = permutations();
    let back = |p: &Vec<usize>| p.iter().chain(p.iter().rev()).copied().collect();
    let symmetric: Vec<Vec<usize>> = sweeps.iter().map(back).collect();
    let h = 0.2;
    for (name, cycles, order) in [
        ("independent", &single, 1.0),
        ("sweep", &sweeps, 3.0),
        ("symmetric", &symmetric, 4.0),
    ] {
        let want = square_from_batches(h, cycles);
        let slope =
            (square_from_batches(h / 2.0, cycles) / square_from_batches(h / 4.0, cycles)).log2();
        assert!((slope - order).abs() < 0.06, "{name}: {slope}");
        // The sampler itself, in many coordinates with batches of their own: the mean square within Z of its own standard error.
        let (n, length) = (2048, cycles[0].len() as u64);
        let mut c = config(Method::Baoa, h, 1.0, 0.0, 1.0, 0.0);
        (c.warmup_steps, c.sampling_steps, c.thinning) = (160, 480, 1);
        let mut sampler = Sampler::new(cpu(), &vec![0.0; n], c).unwrap();
        let stream = Stream::new(21, Purpose::Evaluate, 3);
        let mut sums = vec![0.0; n];
        while sampler.phase() != Phase::Done {
            let step = sampler.step();
            let of = |i: usize| {
                let drawn = stream.below(cycles.len() as u64, step / length, i as u64) as usize;
                CENTRES[cycles[drawn][(step % length) as usize]] as f32
            };
            let theta = sampler.params();
            let grad = theta.iter().enumerate().map(|(i, t)| of(i) - t).collect();
            if sampler.step_with_gradient(&grad, 0.0).unwrap().sample_due {
                let each = sums.iter_mut().zip(sampler.params());
                each.for_each(|(s, x)| *s += (*x as f64).powi(2) / 480.0);
            }
        }
        let mean = sums.iter().sum::<f64>() / n as f64;
        let spread = sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n as f64;
        let error = (spread / n as f64).sqrt();
        assert!(
            (mean - want).abs() < Z * error,
            "{name}: {mean} +- {error}, {want}"
        );
        assert!(
            error < 0.02 * want,
            "{name}: too coarse to tell the orders apart"
        );
    }
}
