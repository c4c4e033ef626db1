//! The densities of fifteen posteriors of posteriordb in unconstrained coordinates, with their gradients, written from the models' formulas.
//!
//! A scale has its logarithm as a coordinate, and so on; each log density has the Jacobian of that, and leaves constants out.

use serde_json::Value;

/// A log density with its gradient, as a caller of the library has one.
pub type Density = Box<dyn Fn(&[f64], &mut [f64]) -> f64 + Send + Sync>;

/// A posterior with what is known of it.
pub struct Posterior {
    pub name: String,
    pub names: Vec<String>,
    pub mean: Vec<f64>,
    pub sd: Vec<f64>,
    pub mcse_mean: Vec<f64>,
    pub mcse_sd: Vec<f64>,
    #[allow(dead_code)] // the bench does not compare gradients
    pub points: Vec<(Vec<f64>, f64, Vec<f64>)>, // u, log density, gradient
    pub density: Density,
}

/// Returns all of them.
pub fn all() -> Vec<Posterior> {
    let text = include_str!("../data/posteriordb.json");
    let all: Value = serde_json::from_str(text).expect("JSON");
    let each = all.as_object().expect("posteriors").iter();
    each.map(|(name, p)| Posterior {
        name: name.clone(),
        names: serde_json::from_value(p["names"].clone()).expect("names"),
        mean: numbers(&p["mean"]),
        sd: numbers(&p["sd"]),
        mcse_mean: numbers(&p["mcse_mean"]),
        mcse_sd: numbers(&p["mcse_sd"]),
        points: (p["points"].as_array().expect("points").iter())
            .map(|q| {
                let at = q["log_post"].as_f64().expect("a number");
                (numbers(&q["u"]), at, numbers(&q["grad"]))
            })
            .collect(),
        density: density(name, &p["data"]),
    })
    .collect()
}

fn numbers(v: &Value) -> Vec<f64> {
    serde_json::from_value(v.clone()).unwrap_or_else(|e| panic!("{v}: {e}"))
}

fn logs(v: &Value) -> Vec<f64> {
    numbers(v).into_iter().map(f64::ln).collect()
}

fn number(v: &Value) -> f64 {
    v.as_f64().expect("a number")
}

fn density(name: &str, d: &Value) -> Density {
    let column = |k: &str| numbers(&d[k]);
    match name {
        "eight_schools-eight_schools_noncentered" => eight_schools(column("y"), column("sigma")),
        "garch-garch11" => garch(column("y"), number(&d["sigma1"])),
        "arma-arma11" => arma(column("y")),
        "low_dim_gauss_mix-low_dim_gauss_mix" => mixture(column("y")),
        "gp_pois_regr-gp_regr" => gaussian_process(column("x"), column("y")),
        _ => regression(name, d),
    }
}

/// The linear regressions.
fn regression(name: &str, d: &Value) -> Density {
    let column = |k: &str| numbers(&d[k]);
    let ones = |n: usize| vec![1.0; n];
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).collect::<Vec<_>>();
    let flat = Regression::default();
    let half_cauchy = || Regression {
        sigma: Scale::Cauchy(2.5),
        ..Regression::default()
    };
    match name {
        "kidiq-kidscore_momiq" => {
            let (y, iq) = (column("kid_score"), column("mom_iq"));
            half_cauchy().of(vec![ones(y.len()), iq], y)
        }
        "kidiq-kidscore_interaction" => {
            let (y, iq, hs) = (column("kid_score"), column("mom_iq"), column("mom_hs"));
            let both = product(&iq, &hs);
            half_cauchy().of(vec![ones(y.len()), hs, iq, both], y)
        }
        "earnings-logearn_height" => {
            let y = logs(&d["earn"]);
            flat.of(vec![ones(y.len()), column("height")], y)
        }
        "earnings-logearn_interaction" => {
            let (y, h, m) = (logs(&d["earn"]), column("height"), column("male"));
            let both = product(&h, &m);
            flat.of(vec![ones(y.len()), h, m, both], y)
        }
        "sblrc-blr" | "sblri-blr" => {
            let rows: Vec<Vec<f64>> = serde_json::from_value(d["X"].clone()).expect("rows");
            let columns = (0..rows[0].len()).map(|j| rows.iter().map(|r| r[j]).collect());
            let prior = vec![(0.0, 10.0); rows[0].len()];
            let sigma = Scale::Normal(10.0);
            Regression { prior, sigma }.of(columns.collect(), column("y"))
        }
        "nes1980-nes" => flat.of(election(d), column("partyid7")),
        "mesquite-logmesquite" => {
            let y = logs(&d["weight"]);
            let mut x = vec![ones(y.len())];
            x.extend(
                ["diam1", "diam2", "canopy_height", "total_height", "density"].map(|k| logs(&d[k])),
            );
            x.push(column("group"));
            flat.of(x, y)
        }
        "kilpisjarvi_mod-kilpisjarvi" => {
            let (x, y) = (column("x"), column("y"));
            let prior = vec![
                (number(&d["pmualpha"]), number(&d["psalpha"])),
                (number(&d["pmubeta"]), number(&d["psbeta"])),
            ];
            let sigma = Scale::Flat;
            Regression { prior, sigma }.of(vec![ones(y.len()), x], y)
        }
        "arK-arK" => autoregression(column("y"), number(&d["K"]) as usize),
        _ => panic!("{name} has no density here"),
    }
}

/// y_t on the k values before it.
fn autoregression(y: Vec<f64>, k: usize) -> Density {
    let lag = |j: usize| y[k - j..y.len() - j].to_vec();
    let mut x = vec![vec![1.0; y.len() - k]];
    x.extend((1..=k).map(lag));
    let (prior, sigma) = (vec![(0.0, 10.0); k + 1], Scale::Cauchy(2.5));
    Regression { prior, sigma }.of(x, y[k..].to_vec())
}

/// The columns of the election study: age in four classes.
fn election(d: &Value) -> Vec<Vec<f64>> {
    let column = |k: &str| numbers(&d[k]);
    let age = column("age_discrete");
    let is = |k: f64| age.iter().map(|&a| f64::from(a == k)).collect::<Vec<_>>();
    vec![
        vec![1.0; age.len()],
        column("real_ideo"),
        column("race_adj"),
        is(2.0),
        is(3.0),
        is(4.0),
        column("educ1"),
        column("gender"),
        column("income"),
    ]
}

/// The prior of a residual's scale.
#[derive(Clone, Copy, Default)]
enum Scale {
    #[default]
    Flat,
    Cauchy(f64),
    Normal(f64),
}

/// y ~ N(X beta, sigma^2), coordinates (beta, log sigma).
#[derive(Default)]
struct Regression {
    prior: Vec<(f64, f64)>, // mean and standard deviation of each coefficient; none where it is flat
    sigma: Scale,
}

impl Regression {
    /// `x` is column by column.
    fn of(self, x: Vec<Vec<f64>>, y: Vec<f64>) -> Density {
        let (n, d) = (y.len(), x.len());
        Box::new(move |u, g| {
            let (s, sigma) = (u[d], u[d].exp());
            let mut squares = 0.0;
            g.fill(0.0);
            for i in 0..n {
                let fit: f64 = x.iter().zip(u).map(|(c, b)| c[i] * b).sum();
                let r = y[i] - fit;
                squares += r * r;
                x.iter().zip(&mut *g).for_each(|(c, g)| *g += c[i] * r);
            }
            let precision = 1.0 / (sigma * sigma);
            g[..d].iter_mut().for_each(|g| *g *= precision);
            let mut value = (1.0 - n as f64) * s - 0.5 * precision * squares;
            g[d] = 1.0 - n as f64 + precision * squares;
            for (i, (mean, sd)) in self.prior.iter().enumerate() {
                let z = (u[i] - mean) / sd;
                value -= 0.5 * z * z;
                g[i] -= z / sd;
            }
            match self.sigma {
                Scale::Flat => {}
                Scale::Cauchy(c) => {
                    let q = (sigma / c).powi(2);
                    value -= q.ln_1p();
                    g[d] -= 2.0 * q / (1.0 + q);
                }
                Scale::Normal(c) => {
                    let q = (sigma / c).powi(2);
                    value -= 0.5 * q;
                    g[d] -= q;
                }
            }
            value
        })
    }
}

/// y_j ~ N(mu + tau t_j, sigma_j^2), t_j ~ N(0, 1), mu ~ N(0, 5^2), tau ~ Cauchy+(0, 5), coordinates (t, mu, log tau).
fn eight_schools(y: Vec<f64>, sigma: Vec<f64>) -> Density {
    let n = y.len();
    Box::new(move |u, g| {
        let (mu, log_tau) = (u[n], u[n + 1]);
        let tau = log_tau.exp();
        let q = tau * tau / 25.0;
        let mut value = -mu * mu / 50.0 - q.ln_1p() + log_tau;
        g[n] = -mu / 25.0;
        g[n + 1] = 1.0 - 2.0 * q / (1.0 + q);
        for j in 0..n {
            let r = (y[j] - mu - tau * u[j]) / sigma[j];
            value -= 0.5 * (u[j] * u[j] + r * r);
            let force = r / sigma[j];
            g[j] = force * tau - u[j];
            g[n] += force;
            g[n + 1] += force * tau * u[j];
        }
        value
    })
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// log of the logistic function and of one minus it.
fn log_logistic(x: f64) -> (f64, f64) {
    let soft = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    (-soft(-x), -soft(x))
}

/// y_t ~ N(mu, h_t), h_t = a0 + a1 (y_(t-1) - mu)^2 + b1 h_(t-1), h_1 = sigma1^2; coordinates (mu, log a0, logit a1, logit b1 / (1 - a1)).
fn garch(y: Vec<f64>, sigma1: f64) -> Density {
    Box::new(move |u, g| {
        let (mu, a0, a1, p) = (u[0], u[1].exp(), logistic(u[2]), logistic(u[3]));
        let b1 = p * (1.0 - a1);
        let mut h = sigma1 * sigma1;
        let mut dh = [0.0; 4]; // by mu, a0, a1, b1
        let mut by = [0.0; 4];
        let mut value = 0.0;
        for (t, y_t) in y.iter().enumerate() {
            if t > 0 {
                let e = y[t - 1] - mu;
                dh = dh.map(|d| b1 * d);
                dh[0] -= 2.0 * a1 * e;
                dh[1] += 1.0;
                dh[2] += e * e;
                dh[3] += h;
                h = a0 + a1 * e * e + b1 * h;
            }
            let e = y_t - mu;
            value -= 0.5 * (h.ln() + e * e / h);
            let slope = 0.5 * (e * e / h - 1.0) / h;
            by.iter_mut().zip(dh).for_each(|(b, d)| *b += slope * d);
            by[0] += e / h;
        }
        let ((la, lna), (lp, lnp)) = (log_logistic(u[2]), log_logistic(u[3]));
        value += u[1] + la + 2.0 * lna + lp + lnp;
        g[0] = by[0];
        g[1] = by[1] * a0 + 1.0;
        g[2] = (by[2] - by[3] * p) * a1 * (1.0 - a1) + 1.0 - 3.0 * a1;
        g[3] = by[3] * (1.0 - a1) * p * (1.0 - p) + 1.0 - 2.0 * p;
        value
    })
}

/// e_t = y_t - mu - phi y_(t-1) - theta e_(t-1) ~ N(0, sigma^2) with y_0 = mu, e_0 = 0; mu ~ N(0, 10^2), phi and theta ~ N(0, 2^2), sigma ~ Cauchy+(0, 2.5);
/// coordinates (mu, phi, theta, log sigma).
fn arma(y: Vec<f64>) -> Density {
    Box::new(move |u, g| {
        let (mu, phi, theta, sigma) = (u[0], u[1], u[2], u[3].exp());
        let mut e = y[0] - mu - phi * mu;
        let mut de = [-1.0 - phi, -mu, 0.0];
        let (mut squares, mut by) = (e * e, de.map(|d| e * d));
        for t in 1..y.len() {
            de = [
                -1.0 - theta * de[0],
                -y[t - 1] - theta * de[1],
                -e - theta * de[2],
            ];
            e = y[t] - mu - phi * y[t - 1] - theta * e;
            squares += e * e;
            by.iter_mut().zip(de).for_each(|(b, d)| *b += e * d);
        }
        let (n, precision, q) = (y.len() as f64, 1.0 / (sigma * sigma), (sigma / 2.5).powi(2));
        g[0] = -by[0] * precision - mu / 100.0;
        g[1] = -by[1] * precision - phi / 4.0;
        g[2] = -by[2] * precision - theta / 4.0;
        g[3] = 1.0 - n + squares * precision - 2.0 * q / (1.0 + q);
        let prior = -mu * mu / 200.0 - (phi * phi + theta * theta) / 8.0 - q.ln_1p();
        prior + (1.0 - n) * u[3] - 0.5 * squares * precision
    })
}

/// y ~ theta N(mu_1, s_1^2) + (1 - theta) N(mu_2, s_2^2) with mu_1 < mu_2, mu and s ~ N(0, 2^2), theta ~ Beta(5, 5); coordinates (mu_1, log(mu_2 - mu_1), log s_1,
/// log s_2, logit theta).
fn mixture(y: Vec<f64>) -> Density {
    Box::new(move |u, g| {
        let gap = u[1].exp();
        let (mu, s, theta) = ([u[0], u[0] + gap], [u[2].exp(), u[3].exp()], logistic(u[4]));
        let (lt, lnt) = log_logistic(u[4]);
        let (mut value, mut by_mu, mut by_s, mut by_t) = (0.0, [0.0; 2], [0.0; 2], 0.0);
        for &y in &y {
            let z = [(y - mu[0]) / s[0], (y - mu[1]) / s[1]];
            let l = [
                lt - u[2] - 0.5 * z[0] * z[0],
                lnt - u[3] - 0.5 * z[1] * z[1],
            ];
            let most = l[0].max(l[1]);
            let sum = most + ((l[0] - most).exp() + (l[1] - most).exp()).ln();
            value += sum;
            for k in 0..2 {
                let w = (l[k] - sum).exp();
                by_mu[k] += w * z[k] / s[k];
                by_s[k] += w * (z[k] * z[k] - 1.0);
                by_t += if k == 0 {
                    w * (1.0 - theta)
                } else {
                    -w * theta
                };
            }
        }
        for k in 0..2 {
            value -= (mu[k] * mu[k] + s[k] * s[k]) / 8.0;
            by_mu[k] -= mu[k] / 4.0;
            g[2 + k] = by_s[k] - s[k] * s[k] / 4.0 + 1.0;
        }
        g[0] = by_mu[0] + by_mu[1];
        g[1] = by_mu[1] * gap + 1.0;
        g[4] = by_t + 5.0 * (1.0 - 2.0 * theta);
        value + u[1] + u[2] + u[3] + 5.0 * (lt + lnt)
    })
}

/// y ~ N(0, a^2 exp(-(x - x')^2 / (2 rho^2)) + sigma I), rho ~ Gamma(25, 4), a ~ N+(0, 2^2), sigma ~ N+(0, 1); coordinates (log rho, log a, log sigma).
fn gaussian_process(x: Vec<f64>, y: Vec<f64>) -> Density {
    use nalgebra::{DMatrix, DVector};
    let (n, y) = (x.len(), DVector::from_vec(y));
    let apart = DMatrix::from_fn(n, n, |i, j| (x[i] - x[j]).powi(2));
    Box::new(move |u, g| {
        let (rho, a, sigma) = (u[0].exp(), u[1].exp(), u[2].exp());
        let k = apart.map(|s| a * a * (-0.5 * s / (rho * rho)).exp());
        let Some(c) = (&k + DMatrix::identity(n, n) * sigma).cholesky() else {
            return f64::NAN;
        };
        let (solved, inverse) = (c.solve(&y), c.inverse());
        let w = &solved * solved.transpose() - inverse;
        let half_log_det: f64 = c.l_dirty().diagonal().iter().map(|l| l.ln()).sum();
        let by = |m: &DMatrix<f64>| w.component_mul(m).sum();
        g[0] = 0.5 * by(&k.component_mul(&apart)) / (rho * rho) + 25.0 - 4.0 * rho;
        g[1] = by(&k) - a * a / 4.0 + 1.0;
        g[2] = 0.5 * w.trace() * sigma - sigma * sigma + 1.0;
        let prior = 24.0 * u[0] - 4.0 * rho - a * a / 8.0 - 0.5 * sigma * sigma;
        prior - half_log_det - 0.5 * y.dot(&solved) + u.iter().sum::<f64>()
    })
}
