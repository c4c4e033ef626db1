//! Laplace's approximation of the head alone: a normal over its weights W (V, C) whose covariance is full or a Kronecker product.
//!
//! **Target.** pi(W) ~ exp(log_post(W) / T) with every other parameter at the mode: N(mean, T (H + p I)^-1), p the prior's precision. The logits
//! W x are linear in W, so the log likelihood's negative Hessian is exactly the generalised Gauss-Newton matrix, whatever the labels
//! (Kristiadi, Hein and Hennig 2020, "Being Bayesian, Even Just a Bit"; Daxberger et al. 2021, "Laplace Redux", section 3):
//!
//! ```text
//! H = sum_n (diag(p_n) - p_n p_n^T) (x) x_n x_n^T     p_n (V) the prediction, x_n (C) the head's input
//! ```
//!
//! **Full.** Of H's blocks (C, C) those of two tokens u < v are -K_uv with K_uv = sum_n p_nu p_nv x_n x_n^T; every block row sums to 0. Only the
//! K are kept, half of each, and H = a sum over pairs that is positive semidefinite whatever the rounding of the K does to it.
//!
//! **Kronecker** (Ritter, Botev and Barber 2018, "A Scalable Laplace Approximation for Neural Networks", eq. 4-6; Martens and Grosse 2015).
//! H is taken for G (x) A with G = sum_n (diag(p_n) - p_n p_n^T) and A the mean of x_n x_n^T, as if predictions and inputs were independent.
//! The prior's precision is added to the product's eigenvalues, exactly.
//!
//! **The prior's precision by marginal likelihood.** As in [`laplace`](super::laplace), for the head's weights alone: p = gamma / |W|^2,
//! gamma = V C - p tr (H + p I)^-1 (MacKay 1992, eq. 4.9), found by the secant rule on log p.
//!
//! **Cost** with n = V C. Full: n^2 / 4 multiplications per position, n^3 / 3 for the factor, n^3 / 3 more for standard deviations; 8 n^2 bytes beside
//! 2 n^2 for the K. Kronecker: V^2 + C^2 per position.

use super::dense::Factor;
use super::laplace::PriorFit;
use crate::backend::{Backend, Objective, Transfer};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};
use nalgebra::{DMatrix, DMatrixView, SymmetricEigen};

/// Weights of a head whose covariance is full at most: H then has 5 GB, of which the lower half is touched.
const MOST_FULL: usize = 25_600;
/// Pairs of tokens whose K are added to at a time, and positions that they are added up over in f32.
const PAIRS: usize = 256;
const POSITIONS: usize = 512;

/// What messages call it.
const CURVATURE: &str = "a head's curvature";

/// What is known of the head's curvature, without the prior's.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadHessian {
    /// K_uv for the pairs u < v in order, of each the upper triangle row by row: (V (V - 1) / 2, C (C + 1) / 2).
    Full(Vec<f64>),
    /// The factors.
    Kronecker {
        /// G (V, V).
        outputs: Vec<f64>,
        /// The sum over steps of A (C, C).
        inputs: Vec<f64>,
    },
}

impl HeadHessian {
    /// Returns a zero Hessian with all its blocks, for V = `vocab` and C = `width`.
    ///
    /// # Errors
    /// Returns [`Error::OutOfMemory`] where memory does not hold it.
    pub fn full(vocab: usize, width: usize) -> Result<Self> {
        let pairs = vocab * vocab.saturating_sub(1) / 2;
        let n = pairs.saturating_mul(triangle(width));
        Ok(Self::Full(memory::zeros(n, CURVATURE)?))
    }

    /// Returns a zero Hessian as Kronecker factors, for V = `vocab` and C = `width`.
    ///
    /// # Errors
    /// Returns [`Error::OutOfMemory`] where memory does not hold them.
    pub fn kronecker(vocab: usize, width: usize) -> Result<Self> {
        Ok(Self::Kronecker {
            outputs: memory::zeros(vocab * vocab, CURVATURE)?,
            inputs: memory::zeros(width * width, CURVATURE)?,
        })
    }

    /// Returns a copy.
    fn copy(&self) -> Result<Self> {
        let copy = |of: &[f64]| memory::copy(of, CURVATURE);
        Ok(match self {
            Self::Full(pairs) => Self::Full(copy(pairs)?),
            Self::Kronecker { outputs, inputs } => Self::Kronecker {
                outputs: copy(outputs)?,
                inputs: copy(inputs)?,
            },
        })
    }

    /// Returns the arrays, by name.
    pub fn arrays(&self) -> Vec<(&'static str, &[f64])> {
        match self {
            Self::Full(pairs) => vec![("pairs", pairs)],
            Self::Kronecker { outputs, inputs } => vec![("outputs", outputs), ("inputs", inputs)],
        }
    }

    /// Returns the arrays, by name, to be filled.
    pub fn arrays_mut(&mut self) -> Vec<(&'static str, &mut Vec<f64>)> {
        match self {
            Self::Full(pairs) => vec![("pairs", pairs)],
            Self::Kronecker { outputs, inputs } => vec![("outputs", outputs), ("inputs", inputs)],
        }
    }
}

fn triangle(n: usize) -> usize {
    n * (n + 1) / 2
}

/// The whole state as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct LastLayerState {
    /// Batches taken in.
    pub step: u64,
    /// The mode: all of the model's parameters, the head's last.
    pub mean: Vec<f32>,
    /// The head's curvature so far.
    pub curvature: HeadHessian,
}

/// A batch as the head sees it.
#[derive(Clone, Copy, Debug)]
pub struct HeadBatch<'a> {
    /// The head's inputs (N, C).
    pub inputs: &'a [f32],
    /// The head's outputs (N, V).
    pub logits: &'a [f32],
    /// What is to be predicted (N), each below V.
    pub labels: &'a [u16],
    /// Positions of a sequence, T: N is a multiple of it.
    pub t: usize,
    /// Which of them count.
    pub objective: Objective,
}

enum Decomposed {
    Full {
        precision: f64,
        factor: Factor,
        inverse: Option<Vec<f64>>, // its diagonal, (V C), once asked for
    },
    Kronecker {
        outputs: Eigen,
        inputs: Eigen,
    },
}

/// Values and vectors of a symmetric matrix.
type Eigen = SymmetricEigen<f64, nalgebra::Dyn>;

/// A Laplace approximation of a head. One thread at a time.
pub struct LastLayer<B: Backend> {
    backend: B,
    vocab: usize,
    width: usize,
    step: u64,
    mean: B::Vector,
    head: Vec<f32>, // (V, C): the mean's last part
    curvature: HeadHessian,
    decomposed: Option<Decomposed>, // of the curvature as it is
}

impl<B: Backend> LastLayer<B> {
    /// Goes on from a state, bit for bit, with a head of `vocab` outputs and `width` inputs at the end of the mean.
    ///
    /// # Errors
    /// When sizes do not fit each other, a full covariance would be of more than 25,600 weights, or a number is not finite.
    pub fn restore(
        backend: &B,
        [vocab, width]: [usize; 2],
        state: &LastLayerState,
    ) -> Result<Self> {
        let n = vocab * width;
        super::sampler_state::check_finite("mean", &state.mean, state.mean.len())?;
        if state.mean.len() < n {
            let expected = format!("at least the head's {n}");
            return Err(Error::shape("parameters", expected, state.mean.len()));
        }
        let want = match &state.curvature {
            HeadHessian::Full(_) if n > MOST_FULL => {
                return Err(Error::conflict(format!(
                    "the head has {n} weights, and last_layer_full takes at most {MOST_FULL}: choose last_layer_kfac"
                )));
            }
            HeadHessian::Full(_) => HeadHessian::full(vocab, width)?,
            HeadHessian::Kronecker { .. } => HeadHessian::kronecker(vocab, width)?,
        };
        for ((name, want), (_, got)) in want.arrays().iter().zip(state.curvature.arrays()) {
            if want.len() != got.len() {
                return Err(Error::shape(*name, [want.len()], [got.len()]));
            }
            if let Some(at) = got.iter().position(|v| !v.is_finite()) {
                let what = format!("{name}[{at}]");
                return Err(Error::out_of_range(what, "a finite number", got[at]));
            }
        }
        let mut mean = backend.zeros(state.mean.len())?;
        backend.upload(&mut mean, &state.mean)?;
        Ok(Self {
            backend: backend.clone(),
            vocab,
            width,
            step: state.step,
            mean,
            head: memory::copy(&state.mean[state.mean.len() - n..], "a head")?,
            curvature: state.curvature.copy()?,
            decomposed: None,
        })
    }

    /// Returns the state as plain data.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn state(&self) -> Result<LastLayerState> {
        let mut mean = memory::zeros(self.backend.len(&self.mean), "a fit's mean")?;
        self.backend.download(&self.mean, &mut mean)?;
        Ok(LastLayerState {
            step: self.step,
            mean,
            curvature: self.curvature.copy()?,
        })
    }

    /// Takes in one batch, which counts `scale` times: its mean log likelihood over the positions that count.
    ///
    /// # Errors
    /// When there is no whole sequence, the batch does not fit the head, or a label is not below V (whether it counts or not), and
    /// [`Error::NotFinite`] for an input or an output that is not finite; the state is then as before.
    pub fn step(&mut self, batch: HeadBatch<'_>, scale: f64) -> Result<f64> {
        self.check(&batch)?;
        let (v, c, t) = (self.vocab, self.width, batch.t);
        let rows = batch.labels.len();
        let counted = match batch.objective {
            Objective::All => memory::collect(0..rows, "positions that count")?,
            Objective::Last => memory::collect((t - 1..rows).step_by(t), "positions that count")?,
        };
        // What nalgebra allocates: predictions, inputs in both precisions, their products, and the squares of one pass.
        let products = match self.curvature {
            HeadHessian::Full(_) => triangle(c) * POSITIONS.min(rows),
            HeadHessian::Kronecker { .. } => 2 * (v * v + c * c),
        };
        let need = rows * (2 * v + 3 * c) + products;
        memory::probe::<f64>(need, "a step of Laplace's approximation of a head")?;
        let (p, log_lik) = predictions(&batch, v, &counted); // (V, N)
        let x = DMatrix::from_fn(c, counted.len(), |i, n| batch.inputs[counted[n] * c + i]); // (C, N)
        match &mut self.curvature {
            HeadHessian::Full(pairs) => add_pairs(&self.backend, pairs, &p, &x, scale)?,
            HeadHessian::Kronecker { outputs, inputs } => {
                add(outputs, &(&p * p.transpose()), -scale);
                for (i, p) in p.column_sum().iter().enumerate() {
                    outputs[i * (v + 1)] += scale * p;
                }
                let x = x.map(f64::from);
                add(inputs, &(&x * x.transpose()), 1.0 / counted.len() as f64);
            }
        }
        self.decomposed = None;
        self.step += 1;
        Ok(log_lik / counted.len() as f64)
    }

    /// Checks that a batch fits the head and that its numbers are finite.
    fn check(&self, batch: &HeadBatch<'_>) -> Result<()> {
        let (v, c) = (self.vocab, self.width);
        let (rows, t) = (batch.labels.len(), batch.t);
        if t == 0 || rows == 0 || !rows.is_multiple_of(t) {
            let got = format!("{rows} positions in sequences of {t}");
            let expected = "one or more sequences of at least 1 position";
            return Err(Error::out_of_range("head's batch", expected, got));
        }
        if batch.inputs.len() != rows * c || batch.logits.len() != rows * v {
            let got = [batch.inputs.len(), batch.logits.len()];
            return Err(Error::shape("head's batch", [rows * c, rows * v], got));
        }
        if let Some(at) = batch.labels.iter().position(|&y| y as usize >= v) {
            let what = format!("y[{}, {}]", at / t, at % t);
            let expected = format!("a token below vocab_size = {v}");
            return Err(Error::out_of_range(what, expected, batch.labels[at]));
        }
        for (what, values) in [("head's input", batch.inputs), ("logits", batch.logits)] {
            if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                return Err(Error::NotFinite {
                    step: self.step,
                    tensor: format!("{what}[{at}]"),
                    value: values[at],
                });
            }
        }
        Ok(())
    }

    /// Returns the mode: all of the parameters.
    pub fn mean(&self) -> &B::Vector {
        &self.mean
    }

    /// Batches taken in.
    pub fn steps_made(&self) -> u64 {
        self.step
    }

    /// Returns H + p I as a matrix (V C, V C), column by column; the lower triangle alone is filled.
    fn matrix(&self, pairs: &[f64], precision: f64) -> Result<Vec<f64>> {
        let (v, c) = (self.vocab, self.width);
        let n = v * c;
        let what = format!("the full curvature of a head of {v} by {c}");
        let mut h = memory::zeros(n * n, &what)?;
        let mut blocks = pairs.chunks_exact(triangle(c));
        for u in 0..v {
            for w in u + 1..v {
                let mut k = blocks.next().into_iter().flatten();
                for i in 0..c {
                    for j in i..c {
                        let Some(&k) = k.next() else { continue };
                        // Row block w, column block u: all of it. The diagonal's blocks: their lower halves.
                        h[(u * c + i) * n + w * c + j] = -k;
                        h[(u * c + j) * n + w * c + i] = -k;
                        h[(u * c + i) * n + u * c + j] += k;
                        h[(w * c + i) * n + w * c + j] += k;
                    }
                }
            }
        }
        (0..n).for_each(|i| h[i * (n + 1)] += precision);
        Ok(h)
    }

    fn decompose(&mut self, precision: f64) -> Result<&mut Decomposed> {
        if !(precision > 0.0 && precision.is_finite()) {
            let expected = "a positive number";
            return Err(Error::out_of_range("prior_precision", expected, precision));
        }
        let n = self.vocab * self.width;
        let kept = self.decomposed.take().filter(|d| match d {
            Decomposed::Full { precision: p, .. } => *p == precision,
            Decomposed::Kronecker { .. } => true,
        });
        let made = match (kept, &self.curvature) {
            (Some(kept), _) => kept,
            (None, HeadHessian::Full(pairs)) => {
                let matrix = self.matrix(pairs, precision)?;
                let factor = Factor::new(&self.backend, n, matrix)?.ok_or_else(|| {
                    let expected = "large enough for H + p I to be positive definite in f64 (it is 1 / prior_std^2)";
                    Error::out_of_range("prior_precision", expected, precision)
                })?;
                Decomposed::Full {
                    precision,
                    factor,
                    inverse: None,
                }
            }
            (None, HeadHessian::Kronecker { outputs, inputs }) => {
                // What nalgebra allocates: copies, vectors and the room to find them.
                let need = 4 * (self.vocab * self.vocab + self.width * self.width);
                memory::probe::<f64>(need, "the eigenvectors of a head's curvature")?;
                let of = |a: &[f64], n: usize, scale: f64| {
                    let mut eigen = SymmetricEigen::new(DMatrixView::from_slice(a, n, n) * scale);
                    // Semidefinite but for rounding.
                    eigen.eigenvalues.iter_mut().for_each(|e| *e = e.max(0.0));
                    eigen
                };
                Decomposed::Kronecker {
                    outputs: of(outputs, self.vocab, 1.0),
                    inputs: of(inputs, self.width, 1.0 / self.step.max(1) as f64),
                }
            }
        };
        Ok(self.decomposed.insert(made))
    }

    /// Returns log det (H + p I), and the diagonal of its inverse, (V C).
    fn spread(&mut self, precision: f64) -> Result<(f64, Vec<f64>)> {
        let backend = self.backend.clone();
        Ok(match self.decompose(precision)? {
            Decomposed::Full {
                factor, inverse, ..
            } => {
                let diagonal = match inverse.take() {
                    Some(kept) => kept,
                    None => factor.inverse_diagonal(&backend)?,
                };
                let diagonal = inverse.insert(diagonal);
                (
                    factor.log_det(),
                    memory::copy(diagonal, "a head's variances")?,
                )
            }
            Decomposed::Kronecker { outputs, inputs } => {
                let [v, c] = [&outputs, &inputs].map(|e| e.eigenvalues.len());
                memory::probe::<f64>(v * v + c * c + 5 * v * c, "a head's variances")?;
                let values = products(outputs, inputs, precision);
                let log_det = values.iter().map(|e| e.ln()).sum();
                let squared = |e: &Eigen| e.eigenvectors.map(|v| v * v);
                let inverse = values.map(|e| 1.0 / e);
                let diagonal = squared(outputs) * inverse * squared(inputs).transpose(); // (V, C)
                (log_det, diagonal.transpose().as_slice().to_vec())
            }
        })
    }

    /// Returns the head's deviations, (V C): sqrt(T diag (H + p I)^-1). Every other parameter's is 0.
    ///
    /// # Errors
    /// When the prior's precision is not positive, or too small for a full H of this size.
    pub fn sd(&mut self, prior_precision: f64, temperature: f64) -> Result<Vec<f64>> {
        let (_, mut diagonal) = self.spread(prior_precision)?;
        diagonal
            .iter_mut()
            .for_each(|d| *d = (temperature * *d).sqrt());
        Ok(diagonal)
    }

    /// Writes draw number `index` of `seed` from N(mean, T (H + p I)^-1), into `out` (n_params).
    ///
    /// # Errors
    /// Returns the errors of [`LastLayer::sd`], and an error when `out` has another length.
    pub fn draw(
        &mut self,
        prior_precision: f64,
        temperature: f64,
        seed: u64,
        index: u64,
        out: &mut B::Vector,
    ) -> Result<()> {
        let (v, c, n) = (self.vocab, self.width, self.vocab * self.width);
        let mut z = memory::zeros(n, "a draw of a head")?;
        Stream::new(seed, StreamTag::Posterior, 0).fill_normal(index, &mut z);
        let mut z = memory::collect(z.into_iter().map(f64::from), "a draw of a head")?;
        match self.decompose(prior_precision)? {
            Decomposed::Full { factor, .. } => factor.whiten(&mut z),
            Decomposed::Kronecker { outputs, inputs } => {
                memory::probe::<f64>(6 * v * c, "a draw of a head")?;
                let scale = products(outputs, inputs, prior_precision).map(|e| e.sqrt().recip());
                let z_in_them = DMatrix::from_row_slice(v, c, &z).component_mul(&scale);
                let delta = &outputs.eigenvectors * z_in_them * inputs.eigenvectors.transpose();
                z.copy_from_slice(delta.transpose().as_slice());
            }
        }
        let mut point = memory::zeros(self.backend.len(&self.mean), "a draw")?;
        self.backend.download(&self.mean, &mut point)?;
        let first = point.len() - n;
        for ((o, m), z) in point[first..].iter_mut().zip(&self.head).zip(z) {
            *o = (*m as f64 + temperature.sqrt() * z) as f32;
        }
        self.backend.upload(out, &point)
    }

    /// Finds the precision of an isotropic normal prior about 0 on the head's weights that maximises the marginal likelihood, to 1e-6 of itself.
    ///
    /// # Errors
    /// When `start` is not positive, or the head or its curvature is 0.
    pub fn fit_prior(&mut self, start: f64) -> Result<PriorFit> {
        let d = self.head.len() as f64;
        let square: f64 = self.head.iter().map(|&m| (m as f64).powi(2)).sum();
        let seen = self
            .curvature
            .arrays()
            .iter()
            .all(|(_, a)| a.iter().any(|&k| k != 0.0));
        if square == 0.0 || !seen {
            return Err(Error::conflict(
                "the prior cannot be fitted to a head or a curvature that is all 0",
            ));
        }
        // In s = log p the fixed point's error log(gamma / |W|^2) - s falls with a slope between -2 and -1.
        let mut at = |s: f64| -> Result<(f64, PriorFit)> {
            let precision = s.exp();
            let (log_det, inverse) = self.spread(precision)?;
            let gamma = d - precision * inverse.iter().sum::<f64>();
            let fit = PriorFit {
                precision,
                effective_parameters: gamma,
                log_evidence: 0.5 * (d * s - precision * square - log_det),
            };
            Ok(((gamma / square).ln() - s, fit))
        };
        let (mut s, mut slope) = (start.ln(), -1.0);
        let (mut error, mut fit) = at(s)?;
        for _ in 0..100 {
            if error.abs() < 1e-6 {
                return Ok(fit);
            }
            let step = -error / slope;
            let (next, next_fit) = at(s + step)?;
            slope = ((next - error) / step).clamp(-2.0, -1.0);
            (s, error, fit) = (s + step, next, next_fit);
        }
        Err(Error::conflict(format!(
            "the prior's precision did not settle in 100 rounds (at {} with {error:e} to go): set prior_std yourself",
            fit.precision
        )))
    }
}

/// Returns the predictions p (V, N) at the positions that count, and the sum of their labels' log-probabilities.
fn predictions(batch: &HeadBatch<'_>, v: usize, counted: &[usize]) -> (DMatrix<f64>, f64) {
    let mut p = DMatrix::zeros(v, counted.len());
    let mut log_lik = 0.0;
    for (mut p, &n) in p.column_iter_mut().zip(counted) {
        let z = &batch.logits[n * v..][..v];
        let top = z.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)) as f64;
        for (p, &z) in p.iter_mut().zip(z) {
            *p = (z as f64 - top).exp();
        }
        let total = sum(p.as_slice());
        p /= total;
        log_lik += z[batch.labels[n] as usize] as f64 - top - total.ln();
    }
    (p, log_lik)
}

/// Adds up eight sums side by side.
fn sum(x: &[f64]) -> f64 {
    let (eights, rest) = x.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for x in eights {
        lanes.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    }
    let pairs = (0..4).map(|i| lanes[i] + lanes[i + 4]);
    pairs.chain(rest.iter().copied()).sum()
}

/// Computes a += scale b, for a symmetric b.
fn add(a: &mut [f64], b: &DMatrix<f64>, scale: f64) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += scale * b);
}

/// Computes K += scale sum_n p_nu p_nv x_n x_n^T, pairs by pairs.
fn add_pairs<B: Backend>(
    be: &B,
    pairs: &mut [f64],
    p: &DMatrix<f64>, // (V, N)
    x: &DMatrix<f32>, // (C, N)
    scale: f64,
) -> Result<()> {
    let (v, c) = (p.nrows(), x.nrows());
    let q = triangle(c);
    let of = (0..v).flat_map(|u| (u + 1..v).map(move |w| (u, w)));
    let of: Vec<(usize, usize)> = memory::collect(of, "pairs of tokens")?;
    for at in (0..p.ncols()).step_by(POSITIONS) {
        let positions = POSITIONS.min(p.ncols() - at);
        let (p, x) = (p.columns(at, positions), x.columns(at, positions));
        let mut squares = DMatrix::<f32>::zeros(q, positions); // (Q, N)
        for (mut to, x) in squares.column_iter_mut().zip(x.column_iter()) {
            let each = (0..c).flat_map(|i| (i..c).map(move |j| (i, j)));
            to.iter_mut()
                .zip(each)
                .for_each(|(o, (i, j))| *o = x[i] * x[j]);
        }
        let mut parts: Vec<_> = pairs.chunks_mut(PAIRS * q).collect();
        be.host().each(&mut parts, |i, part| {
            let of = &of[i * PAIRS..][..part.len() / q];
            memory::probe::<f32>((positions + q) * of.len(), "products of pairs of tokens")?;
            let weights = DMatrix::from_fn(positions, of.len(), |n, k| {
                (p[(of[k].0, n)] * p[(of[k].1, n)]) as f32
            });
            let sums = &squares * weights; // (Q, pairs)
            let each = part.iter_mut().zip(&sums);
            each.for_each(|(k, &sum)| *k += scale * sum as f64);
            Ok(())
        })?;
    }
    Ok(())
}

/// Eigenvalues of G (x) A + p I: (V, C).
fn products(outputs: &Eigen, inputs: &Eigen, precision: f64) -> DMatrix<f64> {
    let each = &outputs.eigenvalues * inputs.eigenvalues.transpose();
    each.add_scalar(precision)
}
