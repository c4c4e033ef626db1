//! A method's step in one direction of a Gaussian, as a map of (theta, m), and the covariance that it is stationary at.

use bnn::samplers::{ChainConfig, Method};

pub type Matrix = [[f64; 2]; 2];

pub fn multiply(a: &Matrix, b: &Matrix) -> Matrix {
    let entry = |i: usize, j: usize| a[i][0] * b[0][j] + a[i][1] * b[1][j];
    [[entry(0, 0), entry(0, 1)], [entry(1, 0), entry(1, 1)]]
}

pub fn transpose(a: &Matrix) -> Matrix {
    [[a[0][0], a[1][0]], [a[0][1], a[1][1]]]
}

/// A direction of the Gaussian: log_post = -lambda theta^2 / 2, mass, and the variance of the noise in its gradient.
#[derive(Clone, Copy, Debug)]
pub struct Direction {
    pub lambda: f64,
    pub mass: f64,
    pub gradient_noise: f64,
}

/// One step of the method as (theta, m)' = A (theta, m) + noise of covariance Q, from the formulas in the papers'
/// variables.
pub fn linear_step(c: &ChainConfig, d: &Direction) -> (Matrix, Matrix) {
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
        Method::Sghmc | Method::SghmcEuler | Method::SgnhtDing | Method::SgnhtEuler => {
            let injected = (h * t * (2.0 * c.alpha - h * t * c.beta) * d.mass).sqrt();
            let kick = [[1.0, 0.0], [-h * d.lambda, 1.0 - h * gamma]];
            let drift = [[1.0, h / mass], [0.0, 1.0]];
            let noise = [injected, h * v.sqrt()];
            if matches!(c.method, Method::Sghmc | Method::SgnhtDing) {
                let pushed = |n: f64| [h / mass * n, n];
                (multiply(&drift, &kick), noise.map(pushed))
            } else {
                let both = [[1.0, h / mass], [-h * d.lambda, 1.0 - h * gamma]];
                (both, noise.map(|n| [0.0, n]))
            }
        }
        Method::Baoa | Method::Sgnht | Method::Ccadl => {
            let decay = (-gamma * h).exp();
            let added = 2.0 * c.alpha - h * t * c.beta;
            let injected = (t * added * d.mass * (1.0 - decay * decay) / (2.0 * gamma)).sqrt();
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
pub fn stationary(c: &ChainConfig, d: &Direction) -> Matrix {
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
pub fn settled(c: &ChainConfig, directions: &[Direction]) -> f64 {
    let excess = |xi: f64| {
        let mut c = c.clone();
        c.xi = Some(xi);
        let kinetic = |d: &Direction| {
            let (s, h) = (stationary(&c, d), c.step_size);
            // BADODAB takes the mean of this and of the momenta after the kick.
            let kicked = s[1][1] - 2.0 * h * d.lambda * s[0][1]
                + h * h * (d.lambda.powi(2) * s[0][0] + d.gradient_noise);
            let both = match c.method {
                Method::Sgnht | Method::Ccadl => 0.5 * (kicked + s[1][1]),
                _ => s[1][1],
            };
            both / (c.sigma.powi(2) * d.mass)
        };
        directions.iter().map(kinetic).sum::<f64>() / directions.len() as f64 - c.temperature
    };
    // The kinetic temperature falls with the friction, up to where the friction itself is unstable.
    let (mut low, mut high) = (0.2, 1.9 * c.sigma.powi(2) / c.step_size / 2.0);
    assert!(excess(low) > 0.0 && excess(high) < 0.0, "{c:?}");
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if excess(middle) > 0.0 {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

/// The covariances of all directions, and the settings with a thermostat that starts where it settles.
pub fn equilibrium(c: &ChainConfig, directions: &[Direction]) -> (ChainConfig, Vec<Matrix>) {
    let mut c = c.clone();
    if c.method.has_thermostat() {
        c.xi = Some(settled(&c, directions));
    }
    let all = directions.iter().map(|d| stationary(&c, d)).collect();
    (c, all)
}

pub fn config(
    method: Method,
    h: f64,
    alpha: f64,
    beta: f64,
    sigma: f64,
    temperature: f64,
) -> ChainConfig {
    let mut c = ChainConfig::new(method, h);
    (c.alpha, c.beta, c.sigma, c.temperature) = (alpha, beta, sigma, temperature);
    c
}

pub const UNIT: Direction = Direction {
    lambda: 1.0,
    mass: 1.0,
    gradient_noise: 0.0,
};
