//! A method's step on a Gaussian, in f64 and in the papers' variables, and the moments that this step is stationary at.

use bnn::samplers::{ChainConfig, Method};

/// A matrix by its rows.
pub type Rows = Vec<Vec<f64>>;

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn transpose(a: &Rows) -> Rows {
    let column = |j: usize| a.iter().map(|row| row[j]).collect();
    (0..a[0].len()).map(column).collect()
}

pub fn multiply(a: &Rows, b: &Rows) -> Rows {
    let columns = transpose(b);
    let row = |row: &Vec<f64>| columns.iter().map(|c| dot(row, c)).collect();
    a.iter().map(row).collect()
}

/// A B A'.
pub fn sandwich(a: &Rows, b: &Rows) -> Rows {
    multiply(&multiply(a, b), &transpose(a))
}

pub fn add(a: &Rows, b: &Rows) -> Rows {
    let row = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a + b).collect();
    a.iter().zip(b).map(row).collect()
}

pub fn diagonal(d: &[f64]) -> Rows {
    let row = |i: usize| -> Vec<f64> {
        let at = |j: usize| if i == j { d[i] } else { 0.0 };
        (0..d.len()).map(at).collect()
    };
    (0..d.len()).map(row).collect()
}

/// The largest element's size; NaN if one is.
pub fn largest(a: &Rows) -> f64 {
    let larger = |top: f64, x: &f64| if x.abs() <= top { top } else { x.abs() };
    a.iter().flatten().fold(0.0, larger)
}

/// The lower triangular L with L L' = A; A may be singular.
pub fn cholesky(a: &Rows) -> Rows {
    let n = a.len();
    let mut l = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let rest = a[i][j] - dot(&l[i][..j], &l[j][..j]);
            l[i][j] = if i == j {
                rest.max(0.0).sqrt()
            } else if l[j][j] > 0.0 {
                rest / l[j][j]
            } else {
                0.0
            };
        }
    }
    l
}

/// Solves A x = b for symmetric positive definite A.
pub fn solve(a: &Rows, b: &[f64]) -> Vec<f64> {
    let (l, n) = (cholesky(a), b.len());
    let mut x = b.to_vec();
    for i in 0..n {
        x[i] = (x[i] - dot(&l[i][..i], &x[..i])) / l[i][i];
    }
    for i in (0..n).rev() {
        let below: f64 = (i + 1..n).map(|k| l[k][i] * x[k]).sum();
        x[i] = (x[i] - below) / l[i][i];
    }
    x
}

/// log_post = -x' precision x / 2, the diagonal mass M, and the covariance of the noise in the gradient.
#[derive(Clone, Debug)]
pub struct Target {
    pub precision: Rows,
    pub mass: Vec<f64>,
    pub gradient_noise: Rows,
}

impl Target {
    pub fn dim(&self) -> usize {
        self.mass.len()
    }

    /// Returns the length of the state: positions, and momenta where there are any.
    pub fn state_len(&self, c: &ChainConfig) -> usize {
        self.dim() * (1 + c.method.has_momenta() as usize)
    }
}

/// One step from `state` (x, then m where the method has momenta), given the noise in the gradient and the method's own
/// standard normals. SGNHT's friction stands still at `c.xi`.
pub fn step(c: &ChainConfig, on: &Target, state: &[f64], noise: &[f64], z: &[f64]) -> Vec<f64> {
    let d = on.dim();
    let (mut x, mut m) = (state[..d].to_vec(), state[d..].to_vec());
    let grad: Vec<f64> = (0..d)
        .map(|i| noise[i] - dot(&on.precision[i], &x))
        .collect();
    let (h, t) = (c.step_size, c.temperature);
    let gamma = c.xi.unwrap_or(c.alpha) / (c.sigma * c.sigma);
    for i in 0..d {
        let heavy = c.sigma * c.sigma * on.mass[i];
        let injected = (h * t * (2.0 * c.alpha - h * t * c.beta) * on.mass[i]).sqrt();
        match c.method {
            Method::Sgld => {
                let p = 1.0 / on.mass[i];
                x[i] += h * p * grad[i] + (t * h * (2.0 - t * h * c.beta) * p).sqrt() * z[i];
            }
            Method::Sghmc | Method::SgnhtDing => {
                m[i] += h * grad[i] - h * gamma * m[i] + injected * z[i];
                x[i] += h * m[i] / heavy;
            }
            Method::SghmcEuler | Method::SgnhtEuler => {
                x[i] += h * m[i] / heavy;
                m[i] += h * grad[i] - h * gamma * m[i] + injected * z[i];
            }
            Method::Baoa => {
                let decay = (-gamma * h).exp();
                m[i] += h * grad[i];
                x[i] += 0.5 * h * m[i] / heavy;
                m[i] = decay * m[i] + (t * (1.0 - decay * decay) * heavy).sqrt() * z[i];
                x[i] += 0.5 * h * m[i] / heavy;
            }
            Method::Sgnht | Method::Ccadl => {
                let decay = (-gamma * h).exp();
                let variance = t * (2.0 * c.alpha - h * t * c.beta) * on.mass[i];
                let spread = variance * (1.0 - decay * decay) / (2.0 * gamma);
                m[i] += h * grad[i];
                x[i] += 0.5 * h * m[i] / heavy;
                m[i] = decay * m[i] + spread.sqrt() * z[i];
                x[i] += 0.5 * h * m[i] / heavy;
            }
            other => panic!("{other}'s step is not linear in its noise"),
        }
    }
    x.extend(m);
    x
}

/// The matrix of x -> f(x) for linear f, whose columns are what f makes of unit vectors.
fn matrix(n: usize, f: impl Fn(&[f64]) -> Vec<f64>) -> Rows {
    let unit = |i: usize| (0..n).map(|j| f64::from(i == j)).collect::<Vec<f64>>();
    transpose(&(0..n).map(|i| f(&unit(i))).collect())
}

/// What a step multiplies the mean of the state with.
pub fn drift(c: &ChainConfig, on: &Target) -> Rows {
    let (d, n) = (on.dim(), on.state_len(c));
    let zero = vec![0.0; d];
    match c.method {
        Method::Sglrw => matrix(d, |x| {
            let pull = |i: usize| x[i] - c.step_size / on.mass[i] * dot(&on.precision[i], x);
            (0..d).map(pull).collect()
        }),
        _ => matrix(n, |state| step(c, on, state, &zero, &zero)),
    }
}

/// The covariance of the state after a step, given that before it.
pub fn after(c: &ChainConfig, on: &Target, s: &Rows) -> Rows {
    let f = drift(c, on);
    let mut out = add(&sandwich(&f, s), &spread(c, on));
    if c.method == Method::Sglrw {
        // Given the gradient the coordinates' signs are independent with means h P g / (2 T h P)^1/2: the products of two
        // coordinates are SGLD's, and the square of one is the step's whatever its sign. With E g g' = A S A + V,
        //   S' = S - h (P A S + S A P) + offdiagonal of h^2 P (A S A + V) P + 2 T h P.
        let square = sandwich(&on.precision, s);
        for i in 0..on.dim() {
            let p = 1.0 / on.mass[i];
            out[i][i] -= (c.step_size * p).powi(2) * (square[i][i] + on.gradient_noise[i][i]);
        }
    }
    out
}

/// What a step adds to the covariance by noise.
fn spread(c: &ChainConfig, on: &Target) -> Rows {
    let (d, n) = (on.dim(), on.state_len(c));
    let (h, zero, start) = (c.step_size, vec![0.0; d], vec![0.0; n]);
    let p: Vec<f64> = on.mass.iter().map(|m| 1.0 / m).collect();
    let (from_gradient, own) = match c.method {
        Method::Sglrw => {
            let own = p.iter().map(|p| (2.0 * c.temperature * h * p).sqrt());
            let pull: Vec<f64> = p.iter().map(|p| h * p).collect();
            (diagonal(&pull), diagonal(&own.collect::<Vec<_>>()))
        }
        _ => (
            matrix(d, |noise| step(c, on, &start, noise, &zero)),
            matrix(d, |z| step(c, on, &start, &zero, z)),
        ),
    };
    add(
        &sandwich(&from_gradient, &on.gradient_noise),
        &multiply(&own, &transpose(&own)),
    )
}

/// How many steps forget the start to one part in 1e5: a power of 2.
pub fn forgetting(c: &ChainConfig, on: &Target) -> u64 {
    let (mut f, mut steps) = (drift(c, on), 1);
    while largest(&f) > 1e-5 {
        (f, steps) = (multiply(&f, &f), 2 * steps);
        assert!(steps < 1 << 16, "{c:?} forgets too slowly");
    }
    steps
}

/// The covariance in equilibrium, S = F S F' + Q and what SGLRW takes off; not finite where there is none.
pub fn stationary(c: &ChainConfig, on: &Target) -> Rows {
    let mut s = spread(c, on);
    if c.method == Method::Sglrw {
        for _ in 0..20 * forgetting(c, on) {
            s = after(c, on, &s);
        }
    } else {
        // Doubling: after k rounds the sum has its first 2^k terms F^i Q F'^i.
        let mut f = drift(c, on);
        for _ in 0..40 {
            s = add(&s, &sandwich(&f, &s));
            f = multiply(&f, &f);
        }
    }
    let next = after(c, on, &s);
    let residue = s.iter().flatten().zip(next.iter().flatten());
    let residue = residue.fold(0.0, |top, (a, b)| (a - b).abs().max(top));
    assert!(!largest(&s).is_finite() || residue < 1e-11 * largest(&s));
    s
}

/// The mean of m^2 / M' over the coordinates, as the thermostat has it: of BADODAB the mean of those after the kick and after the step.
pub fn kinetic(c: &ChainConfig, on: &Target, s: &Rows) -> f64 {
    match c.method {
        Method::Sgnht | Method::Ccadl => 0.5 * (kicked(c, on, s) + after_step(c, on, s)),
        _ => after_step(c, on, s),
    }
}

fn after_step(c: &ChainConfig, on: &Target, s: &Rows) -> f64 {
    let d = on.dim();
    let each = (0..d).map(|i| s[d + i][d + i] / (c.sigma * c.sigma * on.mass[i]));
    each.sum::<f64>() / d as f64
}

/// The mean of m^2 / M' over the coordinates after the kick.
pub fn kicked(c: &ChainConfig, on: &Target, s: &Rows) -> f64 {
    let (d, h) = (on.dim(), c.step_size);
    let kick = matrix(2 * d, |state| {
        let (x, m) = state.split_at(d);
        let kicked = (0..d).map(|i| m[i] - h * dot(&on.precision[i], x));
        x.iter().copied().chain(kicked).collect()
    });
    let mut kicked = sandwich(&kick, s);
    for i in 0..d {
        kicked[d + i][d + i] += h * h * on.gradient_noise[i][i];
    }
    after_step(c, on, &kicked)
}

/// The settings with the friction at which the kinetic temperature is T, where a thermostat of many coordinates settles;
/// without a thermostat as they are.
pub fn settled(c: &ChainConfig, on: &Target) -> ChainConfig {
    let mut c = c.clone();
    if !c.method.has_thermostat() {
        return c;
    }
    // The kinetic temperature falls with the friction, from where the chain is not stable for want of it.
    let (mut low, mut high) = (0.0, 0.9 * c.sigma * c.sigma / c.step_size);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        c.xi = Some(middle);
        let k = kinetic(&c, on, &stationary(&c, on));
        if k.is_finite() && k > 0.0 && k <= c.temperature {
            high = middle
        } else {
            low = middle
        }
    }
    let k = kinetic(&c, on, &stationary(&c, on));
    assert!((k / c.temperature - 1.0).abs() < 1e-9, "{c:?}: {k}");
    c
}
