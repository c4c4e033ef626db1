//! The order of each scheme's error on a double well: the stationary law of the discretisation by quadrature, and the
//! samplers against it.
//!
//! log p = x^2 - x^4 / 10, whose moments quadrature gives below. On the harmonic part BAOA is exact (tests/samplers.rs and
//! tests/exact.rs); what is left of its error here is the quartic's.

mod common;

use bnn::backend::Cpu;
use bnn::samplers::{ChainConfig, Method, Phase, Sampler, StepReport};
use common::replicas::{Estimate, repeat, run};
use std::f64::consts::PI;

fn log_p(x: f64) -> f64 {
    x * x - 0.1 * x.powi(4)
}

fn grad(x: f64) -> f64 {
    2.0 * x - 0.4 * x.powi(3)
}

/// A periodic grid about 0 of an odd number of points: smooth densities that have died out at its ends are integrated and
/// shifted on it to nearly all digits.
struct Grid {
    points: Vec<f64>,
    width: f64,
}

impl Grid {
    fn new(half: f64, n: usize) -> Self {
        assert!(n % 2 == 1);
        let width = 2.0 * half / n as f64;
        let at = |i: usize| (i as f64 - (n / 2) as f64) * width;
        Self {
            points: (0..n).map(at).collect(),
            width,
        }
    }

    /// The matrix that moves a density by `by`: the trigonometric interpolant read at points - by.
    fn shift(&self, by: f64) -> Vec<Vec<f64>> {
        let n = self.points.len();
        let length = self.width * n as f64;
        let kernel = |u: f64| match (PI * u / length).sin() {
            small if small.abs() < 1e-13 => 1.0,
            sine => (PI * u / self.width).sin() / (n as f64 * sine),
        };
        let row = |to: &f64| {
            self.points
                .iter()
                .map(|from| kernel(to - from - by))
                .collect()
        };
        self.points.iter().map(row).collect()
    }

    /// The matrix of x -> N(mean(x), sd^2) on densities.
    fn transition(&self, mean: impl Fn(f64) -> f64, sd: f64) -> Vec<Vec<f64>> {
        assert!(sd > 1.2 * self.width, "the noise falls between the points");
        let scale = self.width / (sd * (2.0 * PI).sqrt());
        let entry = |to: f64, from: f64| scale * (-0.5 * ((to - mean(from)) / sd).powi(2)).exp();
        let row = |&to: &f64| self.points.iter().map(|&from| entry(to, from)).collect();
        self.points.iter().map(row).collect()
    }
}

type Matrix = Vec<Vec<f64>>;

fn apply(a: &Matrix, x: &[f64]) -> Vec<f64> {
    let dot = |row: &Vec<f64>| row.iter().zip(x).map(|(a, x)| a * x).sum();
    a.iter().map(dot).collect()
}

fn transposed(a: &Matrix) -> Matrix {
    let column = |j: usize| a.iter().map(|row| row[j]).collect();
    (0..a[0].len()).map(column).collect()
}

/// Each row of the density under a matrix of its own.
fn along(rows: &mut Matrix, by: &[Matrix]) {
    rows.iter_mut()
        .zip(by)
        .for_each(|(row, a)| *row = apply(a, row));
}

/// E x^2 and E x^4 of a density of x, and what it integrates to before it is made 1.
fn moments(grid: &Grid, density: &[f64]) -> [f64; 3] {
    let sum = |k: i32| -> f64 {
        let terms = grid.points.iter().zip(density);
        terms.map(|(x, p)| x.powi(k) * p).sum::<f64>() * grid.width
    };
    [sum(2) / sum(0), sum(4) / sum(0), sum(0)]
}

/// Repeats `next` on a density until E x^2 stands still; the density then, with E x^2 and E x^4.
fn settle<T>(
    grid: &Grid,
    mut state: T,
    next: impl Fn(&mut T),
    marginal: impl Fn(&T) -> Vec<f64>,
) -> (T, [f64; 2]) {
    let mut before = f64::NAN;
    for round in 0..6000 {
        next(&mut state);
        if round % 20 == 0 {
            let [second, fourth, _] = moments(grid, &marginal(&state));
            if (second - before).abs() < 1e-8 {
                return (state, [second, fourth]);
            }
            before = second;
        }
    }
    panic!("no equilibrium after 6000 steps");
}

/// E x^2 and E x^4 in equilibrium of the discretisation itself, at M = sigma = 1: its step applied to the density of (x, m)
/// until nothing changes. Nothing of the library is used.
fn equilibrium(c: &ChainConfig) -> [f64; 2] {
    let (h, t, gamma) = (c.step_size, c.temperature, c.alpha);
    if c.method == Method::Sgld {
        let x = Grid::new(5.5, 221);
        let kernel = x.transition(|x| x + h * grad(x), (2.0 * h * t).sqrt());
        let start = x.points.iter().map(|&x| (log_p(x) / t).exp()).collect();
        return settle(
            &x,
            start,
            |p: &mut Vec<f64>| *p = apply(&kernel, p),
            Vec::clone,
        )
        .1;
    }
    let (x, m) = (Grid::new(5.5, 75), Grid::new(7.5, 75));
    let start: Matrix = x
        .points
        .iter()
        .map(|&x| {
            m.points
                .iter()
                .map(|&m| ((log_p(x) - 0.5 * m * m) / t).exp())
                .collect()
        })
        .collect();
    let marginal = |p: &Matrix| p.iter().map(|row| row.iter().sum()).collect();
    let drift = |h: f64| -> Vec<Matrix> { m.points.iter().map(|m| x.shift(h * m)).collect() };
    let each_x =
        |f: &dyn Fn(f64) -> Matrix| -> Vec<Matrix> { x.points.iter().map(|&x| f(x)).collect() };
    // Positions move by h m: on the transposed density a row has one momentum.
    let moved = |p: &mut Matrix, by: &[Matrix]| {
        let mut columns = transposed(p);
        along(&mut columns, by);
        *p = transposed(&columns);
    };
    let noise = (2.0 * gamma * h * t).sqrt();
    match c.method {
        Method::Baoa | Method::Sgnht => {
            let (kick, half) = (each_x(&|x| m.shift(h * grad(x))), drift(0.5 * h));
            let (mut gamma, mut state) = (gamma, start);
            loop {
                let decay = (-gamma * h).exp();
                let added = t * c.alpha * (1.0 - decay * decay) / gamma;
                let forget = m.transition(|m| decay * m, added.sqrt());
                let next = |p: &mut Matrix| {
                    along(p, &kick);
                    moved(p, &half);
                    p.iter_mut().for_each(|row| *row = apply(&forget, row));
                    moved(p, &half);
                };
                let (end, found) = settle(&x, state, next, marginal);
                // A thermostat of many coordinates settles where E m^2 after the kick and after the noise have the mean T; both are about
                // T alpha / gamma.
                let square = |p: &Matrix| moments(&m, &marginal(&transposed(p)))[0];
                let mut kicked = end.clone();
                along(&mut kicked, &kick);
                let wanted = gamma * 0.5 * (square(&kicked) + square(&end)) / t;
                if c.method == Method::Baoa || (wanted / gamma - 1.0).abs() < 1e-6 {
                    return found;
                }
                (gamma, state) = (wanted, end);
            }
        }
        Method::Sghmc => {
            let kick = each_x(&|x| m.transition(|m| m + h * grad(x) - h * gamma * m, noise));
            let whole = drift(h);
            let next = |p: &mut Matrix| {
                along(p, &kick);
                moved(p, &whole);
            };
            settle(&x, start, next, marginal).1
        }
        Method::SghmcEuler => {
            // The gradient is that of the old position, x - h m once it has moved.
            let kick =
                each_x(&|x| m.transition(|m| m + h * grad(x - h * m) - h * gamma * m, noise));
            let whole = drift(h);
            let next = |p: &mut Matrix| {
                moved(p, &whole);
                along(p, &kick);
            };
            settle(&x, start, next, marginal).1
        }
        other => panic!("{other}"),
    }
}

/// The exact moments.
fn exact() -> [f64; 2] {
    let x = Grid::new(6.0, 301);
    let p: Vec<f64> = x.points.iter().map(|&x| log_p(x).exp()).collect();
    let [second, fourth, z] = moments(&x, &p);
    // Published to these digits.
    assert!((z - 33.92159).abs() < 1e-5 && (second - 4.356815).abs() < 1e-6);
    assert!((fourth - 24.284073).abs() < 1e-6);
    [second, fourth]
}

fn config(method: Method, h: f64) -> ChainConfig {
    let mut c = ChainConfig::new(method, h);
    c.alpha = match method {
        Method::Sgld => 0.0,
        // With strong friction BAOA's error all but vanishes: 4e-6 of E x^2 at h = 0.1 and alpha = 1.5.
        Method::Baoa | Method::Sgnht => 0.3,
        _ => 1.5,
    };
    c
}

/// The order, and the step sizes to see it at, the smallest first.
const CASES: [(Method, i32, [f64; 4]); 5] = [
    (Method::Sgld, 1, [0.01, 0.02, 0.03, 0.04]),
    (Method::SghmcEuler, 1, [0.03, 0.04, 0.055, 0.07]),
    (Method::Sghmc, 2, [0.08, 0.12, 0.16, 0.2]),
    (Method::Baoa, 2, [0.1, 0.15, 0.2, 0.3]),
    (Method::Sgnht, 2, [0.1, 0.15, 0.2, 0.3]),
];

/// The slope of y over x by least squares, and its error.
fn slope(x: &[f64], y: &[f64], weight: &[f64]) -> (f64, f64) {
    let sum = |f: &dyn Fn(usize) -> f64| (0..x.len()).map(|i| weight[i] * f(i)).sum::<f64>();
    let (total, mean) = (sum(&|_| 1.0), sum(&|i| x[i]));
    let away = |i: usize| x[i] - mean / total;
    let spread = sum(&|i| away(i).powi(2));
    (sum(&|i| away(i) * y[i]) / spread, spread.powf(-0.5))
}

/// The slope at step size 0 of log |bias| over log h: the slopes from one step size to the next lie on a line in h (in h^2 for
/// schemes of second order), whose end at 0 is the order.
fn order_in_the_limit(steps: &[f64], bias: &[f64], order: i32) -> f64 {
    let between = |i: usize| {
        let slope = (bias[i + 1] / bias[i]).ln() / (steps[i + 1] / steps[i]).ln();
        ((steps[i] * steps[i + 1]).sqrt().powi(order), slope)
    };
    let (at, slopes): (Vec<f64>, Vec<f64>) = (0..steps.len() - 1).map(between).unzip();
    let n = at.len() as f64;
    let (rise, _) = slope(&at, &slopes, &vec![1.0; at.len()]);
    (slopes.iter().sum::<f64>() - rise * at.iter().sum::<f64>()) / n
}

#[test]
fn the_order_of_the_error() {
    // By quadrature alone: what the schemes are.
    let want = exact()[0];
    for (method, order, steps) in CASES {
        let bias = steps.map(|h| equilibrium(&config(method, h))[0] - want);
        let found = order_in_the_limit(&steps, &bias, order);
        println!("{method}: errors {bias:?} at {steps:?}, order {found:.3}");
        assert!(
            (found - order as f64).abs() < 0.06,
            "{method}: order {found}, {bias:?}"
        );
    }
}

/// Independent chains.
const REPLICAS: usize = 8192;

/// Two sides of a normal law beyond this: 2e-9; the file makes 45 comparisons.
const Z: f64 = 6.0;

/// E x^2 and E x^4 of the sampler, over `REPLICAS` chains that start in the wells.
fn measure(c: &ChainConfig, time: f64) -> [Estimate; 2] {
    let mut c = c.clone();
    (c.warmup_steps, c.sampling_steps) = ((25.0 / c.step_size) as u64, (time / c.step_size) as u64);
    let start = repeat(&[2.1, -2.1], REPLICAS / 2);
    let gradient = |sampler: &Sampler<Cpu>, g: &mut Vec<f32>| {
        let gradients = sampler.params().iter().map(|x| 2.0 * x - 0.4 * x * x * x);
        g.iter_mut().zip(gradients).for_each(|(g, to)| *g = to);
    };
    let (mut second, mut fourth) = (vec![0.0; REPLICAS], vec![0.0; REPLICAS]);
    let observe = |sampler: &Sampler<Cpu>, report: &StepReport| {
        if report.phase == Phase::Sampling {
            for (i, x) in sampler.params().iter().enumerate() {
                let square = (*x as f64).powi(2);
                second[i] += square;
                fourth[i] += square * square;
            }
        }
    };
    run(&c, &start, &vec![1.0; REPLICAS], gradient, observe);
    [second, fourth].map(|sums| {
        let means: Vec<f64> = sums.iter().map(|s| s / c.sampling_steps as f64).collect();
        Estimate::of(&means)
    })
}

/// Each sampler's E x^2 and E x^4 against quadrature at four step sizes, and the slope of its own error.
fn check(method: Method) {
    let (_, order, steps) = *CASES.iter().find(|case| case.0 == method).expect("a case");
    let want = exact()[0];
    let (mut bias, mut expected, mut weight) = (vec![], vec![], vec![]);
    for h in steps {
        let c = config(method, h);
        let (got, law) = (measure(&c, 400.0), equilibrium(&c));
        for (got, law) in got.iter().zip(law) {
            assert!(got.off(law) < Z, "{method} at {h}: {got:?} for {law}");
        }
        // A temperature off by 5 % would be seen.
        let mut hot = c.clone();
        hot.temperature = 1.05;
        if h == steps[3] {
            assert!(
                got[0].off(equilibrium(&hot)[0]) > 1.2 * Z,
                "{method} at {h}"
            );
        }
        bias.push((got[0].mean - want).abs());
        expected.push((law[0] - want).abs());
        weight.push((expected[expected.len() - 1] / got[0].error).powi(2));
    }
    // These errors are at most two standard errors here, and have no slope to be fitted: quadrature has it.
    if matches!(method, Method::Baoa | Method::Sgnht) {
        return;
    }
    let log = |x: &[f64]| x.iter().map(|x| x.ln()).collect::<Vec<f64>>();
    let (found, error) = slope(&log(&steps), &log(&bias), &weight);
    let (exactly, _) = slope(&log(&steps), &log(&expected), &weight);
    println!("{method}: slope {found:.3} +- {error:.3}, {exactly:.3} by quadrature");
    assert!(
        (found - exactly).abs() < Z * error,
        "{found} +- {error}, {exactly}"
    );
    // By four errors the slope tells first order from second.
    let other = (3 - order) as f64;
    assert!((found - other).abs() > 4.0 * error, "{found} +- {error}");
}

#[test]
fn double_well_sgld() {
    check(Method::Sgld);
}

#[test]
fn double_well_sghmc_euler() {
    check(Method::SghmcEuler);
}

#[test]
fn double_well_sghmc() {
    check(Method::Sghmc);
}

#[test]
fn double_well_baoa() {
    check(Method::Baoa);
}

#[test]
fn double_well_sgnht() {
    check(Method::Sgnht);
}
