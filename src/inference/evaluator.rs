//! A model's losses, gradients, squared gradients and predictions at any parameters, for any tokens, with buffers that are kept between calls.

use crate::backend::vectors::{Combine, Transfer};
use crate::backend::{Backend, Objective};
use crate::data::narrow;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, SquareSums, Squares, TokenBatch, Workspace};
use crate::memory;

/// Parameters to evaluate at, (n_params).
#[derive(Debug)]
pub enum At<'a, V> {
    /// On the host, copied to the device.
    Host(&'a [f32]),
    /// On the device.
    Device(&'a V),
}

/// Token sequences of the caller's: inputs x and the targets y that follow them, both (B, T).
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    /// Inputs, each below the vocabulary's size.
    pub x: &'a [u32],
    /// Targets; empty where they are not needed.
    pub y: &'a [u32],
    /// Tokens T per sequence, 1 to the model's block size.
    pub t: usize,
    /// Which positions count in the loss.
    pub objective: Objective,
}

/// A loss over the positions that count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Mean, nats per position.
    pub mean: f64,
    /// How many positions count.
    pub count: usize,
}

impl Loss {
    /// Returns the sum over the positions that count, nats.
    pub fn total(&self) -> f64 {
        self.mean * self.count as f64
    }
}

/// Evaluates one model at any parameters and for any tokens. One thread at a time; any number of evaluators of one model may work at once.
///
/// Buffers grow to the largest batch that came and are kept: a call allocates nothing after the first of a size (on one thread; a pool's own tasks may).
/// Gradients have the bits of [`Gpt::gradient`], which a chain's steps take.
///
/// ```
/// use bnn::backend::Cpu;
/// use bnn::gpt::{Gpt, GptConfig, Objective};
/// use bnn::inference::{At, Evaluator, Sequences};
///
/// # fn main() -> bnn::Result<()> {
/// let gpt = Gpt::new(GptConfig::named("tiny", 50)?)?;
/// let (params, mut grad) = (gpt.layout().init(1), vec![0.0; gpt.n_params()]);
/// let mut evaluator = Evaluator::new(&Cpu::new(1)?, &gpt);
/// let batch = Sequences { x: &[1, 2, 3, 4], y: &[2, 3, 4, 5], t: 4, objective: Objective::All };
/// let loss = evaluator.gradient(At::Host(&params), batch, &mut grad)?;
/// assert!((loss.mean - 50f64.ln()).abs() < 0.3);
/// # Ok(())
/// # }
/// ```
pub struct Evaluator<B: Backend> {
    backend: B,
    gpt: Gpt,
    kept: Kept<B>,
}

/// What is kept between calls.
struct Kept<B: Backend> {
    ws: Option<Workspace<B>>,
    rows: usize, // that the workspace has room for
    has_gradients: bool,
    x: Vec<u16>,               // (B, T)
    y: Vec<u16>,               // (B, T)
    params: Option<B::Vector>, // (n_params), as the three below
    grad: Option<B::Vector>,
    squares: Option<B::Vector>,
    nll: Vec<f32>, // (B, T)
}

/// What a pass works with.
struct Pass<'p, 'a, B: Backend> {
    be: &'a B,
    gpt: &'a Gpt,
    params: &'p B::Vector,
    batch: TokenBatch<'a>,
    ws: &'a mut Workspace<B>,
    grad: &'a mut Option<B::Vector>,
    squares: &'a mut Option<B::Vector>,
}

impl<B: Backend> Evaluator<B> {
    /// Creates an evaluator; the first call makes its buffers.
    pub fn new(backend: &B, gpt: &Gpt) -> Self {
        Self {
            backend: backend.clone(),
            gpt: gpt.clone(),
            kept: Kept {
                ws: None,
                rows: 0,
                has_gradients: false,
                x: Vec::new(),
                y: Vec::new(),
                params: None,
                grad: None,
                squares: None,
                nll: Vec::new(),
            },
        }
    }

    /// Returns the model.
    pub fn gpt(&self) -> &Gpt {
        &self.gpt
    }

    /// Computes the loss.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a token or a shape that the model does not have; [`Error::Shape`] for another number of parameters or targets;
    /// [`Error::OutOfMemory`]. A loss that is not finite is returned unchanged.
    pub fn loss(&mut self, at: At<'_, B::Vector>, of: Sequences<'_>) -> Result<Loss> {
        let p = self.pass(at, of, false)?;
        let mean = p.gpt.loss(p.be, p.params, p.batch, p.ws)?;
        Ok(loss(mean, &p.batch))
    }

    /// Computes the log-probability of each target into `out`, (B, T), nats.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluator::loss`]. Values that are not finite are returned unchanged.
    pub fn log_probs(
        &mut self,
        at: At<'_, B::Vector>,
        of: Sequences<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        let p = self.pass(at, of, false)?;
        p.gpt.log_prob(p.be, p.params, p.batch, p.ws, out)
    }

    /// Returns what [`Evaluator::log_probs`] computes, in a buffer of the evaluator's.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluator::log_probs`].
    pub fn log_probs_kept(&mut self, at: At<'_, B::Vector>, of: Sequences<'_>) -> Result<&[f32]> {
        let mut kept = std::mem::take(&mut self.kept.nll);
        memory::resize(&mut kept, of.x.len(), 0.0, "log-probabilities")?;
        let made = self.log_probs(at, of, &mut kept);
        self.kept.nll = kept;
        made.map(|()| &*self.kept.nll)
    }

    /// Computes the logits into `out`, (B, T, V). Targets and objective have no part in it.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluator::loss`], and [`Error::Shape`] for another length of `out`.
    pub fn logits(
        &mut self,
        at: At<'_, B::Vector>,
        of: Sequences<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        let v = self.gpt.config().vocab_size;
        if of.x.len().checked_mul(v) != Some(out.len()) {
            return Err(Error::shape("logits", [of.x.len(), v], [out.len()]));
        }
        let be = self.backend.clone();
        be.download_act(self.logits_on_device(at, of)?, v, out)
    }

    /// Computes what [`Evaluator::logits`] does, and leaves it on the device, one row per token.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluator::loss`].
    pub fn logits_on_device(
        &mut self,
        at: At<'_, B::Vector>,
        of: Sequences<'_>,
    ) -> Result<&B::Act> {
        let p = self.pass(at, Sequences { y: &[], ..of }, false)?;
        p.gpt
            .logits_on_device(p.be, p.params, p.batch.x, p.batch.t, p.ws)
    }

    /// Computes the loss, and its gradient in the parameters into `grad`, (n_params).
    ///
    /// # Errors
    /// Returns the errors of [`Evaluator::loss`], and [`Error::Shape`] for another length of `grad`.
    pub fn gradient(
        &mut self,
        at: At<'_, B::Vector>,
        of: Sequences<'_>,
        grad: &mut [f32],
    ) -> Result<Loss> {
        self.check_len("gradient", grad.len())?;
        let be = self.backend.clone();
        let (loss, made) = self.gradient_on_device(at, of)?;
        be.download(made, grad)?;
        Ok(loss)
    }

    /// Computes what [`Evaluator::gradient`] does, and leaves it on the device.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluator::loss`].
    pub fn gradient_on_device(
        &mut self,
        at: At<'_, B::Vector>,
        of: Sequences<'_>,
    ) -> Result<(Loss, &B::Vector)> {
        let p = self.pass(at, of, true)?;
        let to = vector(p.be, p.gpt, p.grad)?;
        let mean = (p.gpt).gradient(p.be, p.params, p.batch, None, p.ws, to)?;
        Ok((loss(mean, &p.batch), to))
    }

    /// Computes what [`Evaluator::gradient`] does, and into `squares` (n_params) the sum over the sequences of the square of the gradient of a sequence's
    /// log likelihood, which is the sum over its positions that count. Over B it is the diagonal of the empirical Fisher information per sequence;
    /// [`Gpt::gradient_and_squares`] says in which range.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluator::gradient`].
    pub fn squares(
        &mut self,
        at: At<'_, B::Vector>,
        of: Sequences<'_>,
        grad: &mut [f32],
        squares: &mut [f32],
    ) -> Result<Loss> {
        self.check_len("gradient", grad.len())?;
        self.check_len("squares", squares.len())?;
        let be = self.backend.clone();
        let (loss, made, sums) = self.squares_on_device(at, of)?;
        be.download(made, grad)?;
        be.download(sums, squares)?;
        Ok(loss)
    }

    /// Computes what [`Evaluator::squares`] does, and leaves gradient and squares on the device.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluator::loss`].
    pub fn squares_on_device(
        &mut self,
        at: At<'_, B::Vector>,
        of: Sequences<'_>,
    ) -> Result<(Loss, &B::Vector, &B::Vector)> {
        let p = self.pass(at, of, true)?;
        let to = vector(p.be, p.gpt, p.grad)?;
        let sums = vector(p.be, p.gpt, p.squares)?;
        p.be.combine(sums, Combine::Fill(0.0))?;
        let of = SquareSums {
            of: Squares::Gradients,
            to: &mut *sums,
        };
        let mean = (p.gpt).gradient_and_squares(p.be, p.params, p.batch, p.ws, to, of)?;
        Ok((loss(mean, &p.batch), to, sums))
    }

    fn check_len(&self, what: &str, n: usize) -> Result<()> {
        match self.gpt.n_params() {
            own if own == n => Ok(()),
            own => Err(Error::shape(what, [own], [n])),
        }
    }

    /// Takes in parameters and tokens.
    fn pass<'p, 'a: 'p>(
        &'a mut self,
        at: At<'p, B::Vector>,
        of: Sequences<'_>,
        gradients: bool,
    ) -> Result<Pass<'p, 'a, B>> {
        let Self {
            backend: be,
            gpt,
            kept,
        } = self;
        kept.take_in(be, gpt, of, gradients)?;
        let params = match at {
            At::Device(params) => params,
            At::Host(params) => {
                gpt.layout().check(params)?;
                let own = vector(be, gpt, &mut kept.params)?;
                be.upload(own, params)?;
                &*own
            }
        };
        let ws = kept
            .ws
            .as_mut()
            .ok_or_else(|| Error::conflict("no workspace"))?;
        Ok(Pass {
            be,
            gpt,
            params,
            batch: TokenBatch::new(&kept.x, &kept.y, of.t, of.objective),
            ws,
            grad: &mut kept.grad,
            squares: &mut kept.squares,
        })
    }
}

impl<B: Backend> Kept<B> {
    /// Takes in tokens, and makes room where there is too little.
    fn take_in(&mut self, be: &B, gpt: &Gpt, of: Sequences<'_>, gradients: bool) -> Result<()> {
        let (v, n) = (gpt.config().vocab_size, of.x.len());
        if of.t == 0 || n == 0 || !n.is_multiple_of(of.t) {
            let expected = format!("sequences of 1 to {} tokens", gpt.config().block_size);
            let got = format!("{n} tokens in sequences of {}", of.t);
            return Err(Error::out_of_range("batch", expected, got));
        }
        narrow("x", of.x, of.t, v, &mut self.x)?;
        narrow("y", of.y, of.t, v, &mut self.y)?;
        self.make_room(be, gpt, n / of.t, of.t, gradients)
    }

    fn make_room(&mut self, be: &B, gpt: &Gpt, b: usize, t: usize, gradients: bool) -> Result<()> {
        let (rows, gradients) = (b * t, gradients || self.has_gradients);
        let c = gpt.config();
        if self.ws.is_some() && rows <= self.rows && gradients == self.has_gradients {
            return Ok(());
        }
        let rows = rows.max(self.rows);
        // What there was is given back first, so that both need not fit at once.
        (self.ws, self.rows) = (None, 0);
        // Room is counted in tokens, whatever sequences they make.
        let (b, t) = if rows > b * t {
            (rows.div_ceil(t), t)
        } else {
            (b, t)
        };
        self.ws = Some(match gradients {
            true => Workspace::for_gradients(be, c, b, t)?,
            false => Workspace::for_prediction(be, c, b, t)?,
        });
        (self.rows, self.has_gradients) = (b * t, gradients);
        Ok(())
    }
}

/// Returns a kept vector of parameters, made where there is none.
fn vector<'a, B: Backend>(
    be: &B,
    gpt: &Gpt,
    slot: &'a mut Option<B::Vector>,
) -> Result<&'a mut B::Vector> {
    let made = match slot.take() {
        Some(made) => made,
        None => be.zeros(gpt.n_params())?,
    };
    Ok(slot.insert(made))
}

fn loss(mean: f64, batch: &TokenBatch<'_>) -> Loss {
    let count = batch.count();
    Loss { mean, count }
}
