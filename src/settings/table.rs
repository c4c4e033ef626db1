//! The table of settings. One more setting is one row here, and its use.

use super::choices::{
    Adapt, BaselineChoice, Controls, Predictive, Preset, PriorCenter, PriorUnit, SamplerChoice,
    Starts,
};
use super::defaults::{Case, word};
use super::purpose::*;
use super::row::{Group, Range, Reader, Row};
use super::typed::{Field, Typed};
use super::words::Word;
use crate::backend::{Precision, PriorFamily, WeightType};
use crate::baseline::{Recipe, Selection};
use crate::data::Order;
use crate::generate::{ContextOverflow, Mode};
use crate::gpt::{Gelu, NAMED, Objective};
use crate::samplers::{
    CovarianceStructure, CurvatureKind, EMA_DECAY, NoiseCorrection, Preconditioner, Schedule,
    Thermostats, defaults,
};
use crate::store::Dtype;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::PathBuf;

type Inner<T> = <T as Field>::Inner;

/// Makes of the rows the given settings, the resolved ones, and the table. A row is
/// `/// help` `name: type = default, range, readers, column: value, …;` and its default may ask the case.
macro_rules! settings {
    ($case:ident => $($group:ident { $(
        $(#[doc = $help:literal])+
        $name:ident: $type:ty = $default:expr, $range:expr, $readers:expr $(, $column:ident: $value:expr)*;
    )+ })+) => {
        /// Settings as somebody gave them: what is not given is `None`.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Given {
            $($($(#[doc = $help])+ pub $name: Option<Inner<$type>>,)+)+
        }

        /// Settings with every value there.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $($($(#[doc = $help])+ pub $name: $type,)+)+
        }

        impl Given {
            /// Returns these settings, and where they give nothing the other's.
            pub fn or(self, other: Self) -> Self {
                Self { $($($name: self.$name.or(other.$name),)+)+ }
            }

            /// Returns these settings, and where they give nothing the case's defaults.
            pub(super) fn fill(self, $case: &Case) -> Settings {
                Settings { $($($name: self.$name.map_or_else(|| $default, Field::wrap),)+)+ }
            }

            /// Returns these settings as they are, or the name of one that has no value and needs one.
            pub(super) fn exact(self) -> Result<Settings, &'static str> {
                let need = |name| move || name;
                Ok(Settings { $($($name: match self.$name {
                    Some(v) => Field::wrap(v),
                    None => Field::absent().ok_or_else(need(stringify!($name)))?,
                },)+)+ })
            }
        }

        impl From<&Settings> for Given {
            fn from(s: &Settings) -> Self {
                Self { $($($name: s.$name.inner(),)+)+ }
            }
        }

        /// Every setting, in the order of flags and files.
        pub static TABLE: &[Row] = &[$($(Row {
            $($column: $value,)*
            ..Row {
                name: stringify!($name),
                aliases: &[],
                flag: None,
                help: concat!($($help),+),
                group: Group::$group,
                kind: <Inner<$type> as Typed>::KIND,
                range: $range,
                readers: $readers,
                purpose: None,
                brief: None,
                before: None,
                words: <Inner<$type> as Typed>::words,
                set: |given, value| {
                    let read = Typed::read(value);
                    given.$name = read.clone().or(given.$name.take());
                    read.is_some()
                },
                unset: |given| given.$name = None,
                given: |given| given.$name.as_ref().map(Typed::show),
                value: |settings| settings.$name.inner().as_ref().map(Typed::show),
                default: |$case| {
                    let _ = $case;
                    let default: $type = $default;
                    default.inner().as_ref().map(Typed::show)
                },
            }
        },)+)+];
    };
}

const ANY: Range = Range::Any;
const ABOVE_0: Range = Range::Real(Excluded(0.0), Unbounded);
const FROM_0: Range = Range::Real(Included(0.0), Unbounded);
const FROM_1: Range = Range::Real(Included(1.0), Unbounded);
const SHARE: Range = Range::Real(Excluded(0.0), Included(1.0));
const INSIDE: Range = Range::Real(Excluded(0.0), Excluded(1.0));
const BELOW_1: Range = Range::Real(Included(0.0), Excluded(1.0));
const COUNT: Range = Range::Whole(1, u64::MAX);
const SIZE: Range = Range::Whole(1, 1 << 16);
const SHAPES: Range = Range::Words(|| NAMED.iter().map(|n| n.0).collect());

use Reader::{
    Baseline, Bench, Diagnose, Eval, Generate, Generator, Gradients, Model, Resume, Store, Train,
    Trainer, Verify,
};

const TEXT: &[Reader] = &[Train, Baseline, Resume, Eval];
const SHAPE: &[Reader] = &[Model, Train, Baseline];
const RECIPE: &[Reader] = &[Trainer, Train, Baseline];
const CHAIN: &[Reader] = &[Reader::Sampler, Gradients, Train];
const OWN: &[Reader] = &[Gradients];
const GPT: &[Reader] = &[Reader::Sampler, Train];
const RUN: &[Reader] = &[Train];
const SCORES: &[Reader] = &[Train, Resume, Eval];
const WRITER: &[Reader] = &[Generator, Generate];

settings! { case =>
    Corpus {
        /// Plain text to learn from, UTF-8. Without it, and without `data_dir`, the embedded play is read.
        data: Option<PathBuf> = None, ANY, TEXT, brief: Some("Plain text to learn from, UTF-8 (without it, an embedded play)");
        /// Folder with nanoGPT's `train.bin` and `val.bin`, in place of `data`.
        data_dir: Option<PathBuf> = None, ANY, TEXT;
        /// nanoGPT's `meta.pkl`. Without it the one in `data_dir` is read.
        meta_path: Option<PathBuf> = None, ANY, TEXT;
        /// Text to report on, UTF-8, of the same characters. Without it, results are reported on the second half of the validation split, and its first
        /// half is what is chosen by. A run that is resumed or evaluated takes it from the flag alone.
        test: Option<PathBuf> = None, ANY, &[Train, Resume, Eval];
    }
    Model {
        /// Named shape of the model (layers, heads, width, block): tiny (2, 2, 32, 32), for tests; cpu (4, 4, 128, 64), which trains in minutes on a few
        /// cores; baby (6, 6, 384, 256), nanoGPT's character model, with batches of 16 x 128, and baby-full with nanoGPT's 64 x 256; gpt2
        /// (12, 12, 768, 1024).
        shape: String = "cpu".into(), SHAPES, SHAPE, brief: Some("Size: tiny, cpu, baby, baby-full or gpt2");
        /// Number of layers, in place of the shape's.
        n_layer: Option<usize> = None, Range::Whole(1, 1024), SHAPE;
        /// Number of attention heads, a divisor of `n_embd`, in place of the shape's.
        n_head: Option<usize> = None, SIZE, SHAPE;
        /// Width of the model, in place of the shape's.
        n_embd: Option<usize> = None, SIZE, SHAPE;
        /// Longest context in tokens, in place of the shape's.
        block_size: Option<usize> = None, SIZE, SHAPE;
        /// Whether linear layers and layer norms have biases, in place of the shape's.
        bias: Option<bool> = None, ANY, SHAPE;
        /// Dropout probability while the baseline is trained; the named shapes have 0.
        dropout: Option<f32> = None, BELOW_1, SHAPE;
        /// Form of GELU; the named shapes have exact.
        gelu: Option<Gelu> = None, ANY, SHAPE;
        /// Whether the token embedding is also the weight of the head; the named shapes tie them.
        tie_weights: Option<bool> = None, ANY, SHAPE;
    }
    Baseline {
        /// Baseline file to start from, in place of training one. Of a run that is there, the file of its baseline, where the run lacks it.
        model_path: Option<PathBuf> = None, ANY, &[Train, Baseline, Resume, Eval, Generate];
        /// Largest number of AdamW steps of the baseline, and length of its learning-rate schedule.
        baseline_iters: u64 = Recipe::default().iters, COUNT, RECIPE, aliases: &["iters"], brief: Some("Most AdamW steps of the baseline");
        /// Peak learning rate of the baseline.
        baseline_learning_rate: f64 = Recipe::default().learning_rate, ABOVE_0, RECIPE;
        /// Warm-up steps of the baseline's learning rate.
        baseline_warmup_iters: u64 = Recipe::default().warmup_iters, ANY, RECIPE;
        /// Decoupled weight decay of the baseline, on matrices only.
        weight_decay: f64 = Recipe::default().weight_decay, FROM_0, RECIPE;
        /// Largest norm of the baseline's gradient; 0 does not clip.
        grad_clip: f64 = Recipe::default().grad_clip, FROM_0, RECIPE;
        /// Sequences per batch of the baseline. Without it the command takes the shape's usual number, and a trainer takes `batch_size`.
        baseline_batch_size: Option<usize> = None, COUNT, RECIPE;
        /// Which state of its training the baseline is: best (on the choosing half of the validation split, of the parameters and their moving averages,
        /// looked at every 100 steps) or last.
        baseline_choice: BaselineChoice = case.preset(BaselineChoice::Best, BaselineChoice::Last), ANY, RECIPE, before: Some("last");
        /// Number of steps without a better state after which the baseline's training ends; 0 makes all steps. With `baseline_choice` = last it does not
        /// apply.
        baseline_patience: u64 = Selection::default().patience, ANY, RECIPE, before: Some("0"), purpose: BEST_BASELINE;
    }
    Sampler {
        /// Named set of defaults: default, or the Python original's.
        preset: Preset = Preset::Default, ANY, CHAIN;
        /// Method: a chain's, or a fit's (ekf, vi, laplace, swag, ivon, ema, snapshots).
        sampler: SamplerChoice = Case::usual().sampler, ANY, CHAIN, brief: Some("Method: baoa, sghmc, sgld, sgnht, ..., or a fit: vi, ekf, laplace, swag, ivon, ema, snapshots");
        /// Step size per preconditioned unit: h, of time, for methods with momenta; epsilon, of squared time, for sgld and sglrw. For vi, swag, ema and snapshots, the
        /// optimiser's rate; for ivon, a share of Newton's step.
        /// For ekf, the weight of each batch's mean log-likelihood; 0 weights the batches so that the data count once in total.
        learning_rate: f64 = case.learning_rate(), FROM_0, CHAIN, aliases: &["step_size"], brief: Some("Step size; 1e-3 for vi, 2e-4 for sgld"), purpose: STEPS;
        /// Friction alpha of methods with momenta. Without it `momentum` sets the friction.
        alpha: Option<f64> = case.alpha(), FROM_0, CHAIN, purpose: MOMENTA;
        /// Momentum of the same step in an optimiser's terms, which sets the friction alpha.
        momentum: Option<f64> = case.momentum(), INSIDE, CHAIN, purpose: MOMENTA;
        /// Standard deviation of the momenta at T = 1.
        sigma: f64 = 1.0, ABOVE_0, CHAIN, purpose: MOMENTA;
        /// Gradient noise that sgld and sghmc take as given.
        beta: f64 = 0.0, FROM_0, CHAIN, purpose: CHAINS;
        /// What a chain does about the noise of its minibatches' gradients: none, or diagonal, which estimates each parameter's noise variance as the chain goes and
        /// makes up for its heat. For baoa and ccadl.
        noise_correction: NoiseCorrection = case.noise_correction(), ANY, CHAIN, before: Some("none"), purpose: CHAINS;
        /// Friction of the thermostat at the start. Without it it is alpha.
        xi: Option<f64> = None, ANY, CHAIN, purpose: THERMOSTAT;
        /// Mass of the thermostat: how slowly its friction follows the temperature of the momenta.
        thermostat_mass: Option<f64> = case.thermostat_mass(), ABOVE_0, CHAIN, purpose: THERMOSTAT;
        /// How many thermostats a chain has: global (one, which follows the mean kinetic temperature of all parameters) or tensor (one for each tensor of the model, which
        /// follows that tensor's own). For sgnht and ccadl.
        thermostat: Thermostats = Thermostats::Global, ANY, GPT, before: Some("global"), purpose: THERMOSTAT;
        /// Temperature T of the target exp(log posterior / T). At 0 a chain is an optimiser, whose samples are no draws; fits need it above 0.
        temperature: f64 = case.temperature(), FROM_0, CHAIN, brief: Some("Temperature T of the target; the posterior is at 1, and at 0 a chain optimises"), purpose: DRAWS;
        /// Number of steps before sampling, after the mass is set.
        warmup_steps: u64 = case.warmup_steps(), ANY, CHAIN, purpose: CHAINS;
        /// Number of sampling steps. For a fit to a caller's own log posterior, all its steps.
        sampling_steps: u64 = defaults::SAMPLING_STEPS, COUNT, &[Reader::Sampler, Gradients, Train, Resume], brief: Some("Sampling steps of each chain"), purpose: CHAINS;
        /// Keep one sample every N sampling steps, at most `sampling_steps`. Without it a fiftieth of `sampling_steps`, 1 to 100.
        thinning: u64 = case.thinning(), COUNT, CHAIN, brief: Some("Keep one sample every N steps"), purpose: CHAINS;
        /// Number of independent chains of the same seed, or of fits.
        chains: u32 = 1, Range::Whole(1, 10_000), RUN, brief: Some("Independent chains");
        /// Number of chains that run at a time, each on its share of the threads; 0 takes one per thread for models of up to two million parameters, and else
        /// one. It changes no bit of any result; memory grows with it. Fits run one after the other.
        chains_at_once: usize = 0, ANY, &[Train, Resume], before: Some("0"), purpose: SEVERAL;
        /// Where chains start: shared (at the baseline), or separate (each after the first at a baseline of its own, trained with seed + chain).
        starts: Starts = Starts::Shared, ANY, RUN, before: Some("shared");
        /// Which chain of the seed this is.
        chain: u32 = 0, Range::Whole(0, u32::MAX as u64), &[Reader::Sampler, Gradients];
        /// Tune the step size during warm-up, starting from `learning_rate`, to a relative temperature error of `step_tolerance`. The momentum is kept
        /// unless `alpha` is given.
        auto_step: bool = false, ANY, CHAIN, before: Some("false"), purpose: CHAINS;
        /// Relative temperature error that `auto_step` may leave.
        step_tolerance: f64 = 0.1, INSIDE, CHAIN, before: Some("0.1"), purpose: SEARCH;
        /// How many times `learning_rate` the step that `auto_step` finds may be; 0 sets no such ceiling.
        step_growth: f64 = case.step_growth(), FROM_0, CHAIN, before: Some("0.0"), purpose: SEARCH;
        /// Form of the mass that the warm-up of a chain on a caller's own gradients finds, and with it the step size: none (both are as they are set),
        /// diagonal (from variances), or dense (from the covariance; at most 1,000 parameters). The friction stays `alpha`, 1 by default.
        adapt: Adapt = Adapt::None, ANY, OWN, before: Some("none"), purpose: CHAINS;
        /// Relative error that the step of `adapt` may make in the stiffest direction, h^2 lambda / 4 for its curvature lambda. On a normal it is about that of sghmc's variance there;
        /// the variances of baoa, sgnht and ccadl have none.
        adapt_tolerance: f64 = case.adapt_tolerance(), INSIDE, OWN, before: Some("0.01"), purpose: ADAPTING;
        /// Run a step that is provably unstable.
        force: bool = false, ANY, RUN, purpose: CHAINS;
    }
    Schedule {
        /// How the step size changes while sampling.
        schedule: Word<Schedule> = case.schedule(), ANY, CHAIN, before: Some("constant"), purpose: RATES;
        /// How the temperature changes while sampling. Measured temperatures are rescaled to T, that of the start.
        temperature_schedule: Word<Schedule> = word("constant"), Range::Words(|| vec!["constant", "linear", "cosine", "polynomial"]), CHAIN,
            before: Some("constant"), purpose: CHAINS;
        /// Value at the end of linear, cosine and cyclical schedules, as a share of the start.
        final_fraction: f64 = case.kind(0.1, 0.01), SHARE, CHAIN, before: Some("0.1"), purpose: FALLING;
        /// Delay of polynomial schedules in steps: the factor is (1 + step / delay)^(-power).
        schedule_delay: f64 = 100.0, ABOVE_0, CHAIN, before: Some("100.0"), purpose: POLYNOMIAL;
        /// Power of polynomial schedules.
        schedule_power: f64 = 0.55, SHARE, CHAIN, before: Some("0.55"), purpose: POLYNOMIAL;
        /// Number of cycles of a cyclical schedule, at most `sampling_steps`.
        cycles: u64 = 4, COUNT, CHAIN, before: Some("4"), purpose: CYCLICAL;
        /// Share of a cycle that explores: no noise is added and no sample is kept.
        exploration: f64 = case.exploration(), BELOW_1, CHAIN, before: Some("0.5"), purpose: CYCLICAL;
    }
    Mass {
        /// How the mass is chosen: none; from gradients at the start (rms, or adaptive, which goes on through the warm-up); from the Fisher
        /// information (fisher); from the prior's curvature (prior). Each is frozen before sampling, except live: it follows every step, for sgld only,
        /// and is biased, for comparison.
        preconditioner: Word<Preconditioner> = case.preconditioner(), ANY, GPT, purpose: CHAINS;
        /// Number of gradients that the mass is estimated from, before the warm-up.
        preconditioner_steps: u64 = 100, COUNT, GPT, purpose: ESTIMATED_MASS;
        /// Added to every element of the mass, as a share of their mean.
        preconditioner_floor: f64 = 0.1, ABOVE_0, GPT, purpose: MASS;
        /// Weight that a squared gradient keeps per step, in the adaptive mass (above 0) and the live one.
        preconditioner_decay: f64 = 0.99, BELOW_1, GPT, before: Some("0.99"), purpose: FOLLOWING_MASS;
        /// Number of warm-up steps between new adaptive masses.
        preconditioner_every: u64 = 25, COUNT, GPT, before: Some("25"), purpose: ADAPTIVE_MASS;
        /// Whether the divergence term (Gamma) of the live mass is added, at the cost of a second gradient per step.
        preconditioner_gamma: bool = true, ANY, GPT, before: Some("true"), purpose: LIVE_MASS;
    }
    Prior {
        /// Form of the prior; laplace is the double exponential.
        prior_family: Word<PriorFamily> = word("normal"), ANY, GPT, before: Some("normal");
        /// Scale of the prior: of a normal one its standard deviation.
        prior_std: f64 = case.prior_std(), ABOVE_0, &[Reader::Sampler, Gradients, Train], brief: Some("Standard deviation of the prior");
        /// Degrees of freedom of a student_t prior.
        prior_dof: f64 = 3.0, ABOVE_0, GPT, before: Some("3.0"), purpose: STUDENT_T;
        /// Centre of the prior: zero, or the parameters that the chain starts from (pretrained).
        prior_center: PriorCenter = case.preset(PriorCenter::Zero, PriorCenter::Pretrained), ANY, GPT;
        /// Unit of `prior_std`: absolute (1), relative (|w| + 1e-4 of the weights w that the chain starts from), or fan_in (for the weights of each matrix of a
        /// block and of an untied head 1 / sqrt(its inputs); 1 for embeddings, gains and biases). Or fitted: the marginal likelihood at the baseline chooses a standard
        /// deviation for each tensor, in place of `prior_std`, for a normal prior about zero; `bnn train` alone has it.
        prior_scale: PriorUnit = PriorUnit::Absolute, ANY, GPT;
        /// Power of the likelihood. Unlike the temperature it leaves the prior alone.
        likelihood_weight: f64 = 1.0, ABOVE_0, CHAIN, before: Some("1.0");
    }
    Batches {
        /// Positions that count as data: all, or only the last of each window.
        objective: Objective = case.preset(Objective::All, Objective::Last), ANY, GPT;
        /// Number of observations that the mean log-likelihood is multiplied by. Without it they are counted in the data.
        num_data: Option<f64> = None, FROM_1, CHAIN;
        /// Sequences per batch of the sampler.
        batch_size: usize = case.batch_size(), COUNT, &[Trainer, Reader::Sampler, Train];
        /// How batches follow each other: independent, sweep (each window once per sweep), or symmetric (sweeps there and back).
        batch_order: Order = case.kind(Order::Independent, case.preset(Order::Sweep, Order::Independent)), ANY, GPT, before: Some("independent");
        /// Tokens per window of the sampler, at most the block size. Without it, the block size.
        max_seq_length: Option<usize> = case.preset(None, Some(128)), COUNT, &[Trainer, Reader::Sampler, Train], aliases: &["window"];
        /// Number of windows that the sampler draws from, chosen once by the seed. Without it, all.
        train_samples: Option<usize> = case.preset(None, Some(10_000)), COUNT, GPT;
    }
    Fits {
        /// Number of passes over the data of a fit (ekf, vi, laplace, swag, ivon, ema, snapshots); chains are counted in steps.
        num_epochs: Option<u64> = case.epochs(), COUNT, &[Reader::Sampler, Train, Resume], aliases: &["epochs"], purpose: FITS;
        /// Number of draws from the fitted normals that are stored, of each fit; of states of the path that snapshots keeps, at equal distances; 1 for ema.
        num_samples: u64 = case.num_samples(), COUNT, CHAIN, before: Some("25"), purpose: SEVERAL_DRAWS;
        /// Standard deviation of ekf's normals before any data.
        init_sd: f64 = case.kind(case.fit().init_sd, case.preset(case.fit().init_sd, 1.0)), ABOVE_0, CHAIN, before: Some("0.01"), purpose: OF_EKF;
        /// Standard deviation that ekf adds to every parameter per step.
        transition_sd: f64 = case.fit().transition_sd, FROM_0, CHAIN, before: Some("0.0"), purpose: OF_EKF;
        /// Labels of ekf's squared gradients: ggn (no labels: generalised Gauss-Newton), model (Fisher), or data (empirical Fisher: one gradient a step in place
        /// of two, but far from the mode residuals inflate the squares, and the means stop too early).
        ekf_labels: CurvatureKind = case.preset(CurvatureKind::Ggn, CurvatureKind::EmpiricalFisher), ANY, GPT, before: Some("data"), purpose: OF_EKF;
        /// Logarithm of the standard deviation that the normals of vi and ivon begin with.
        init_log_scale: f64 = case.fit().init_log_scale, ANY, CHAIN, before: Some("-5.0"), purpose: OF_VI_AND_IVON;
        /// Number of draws, each with a gradient, per step of vi and ivon.
        vi_n_samples: u32 = case.fit().vi_n_samples, Range::Whole(1, u32::MAX as u64), CHAIN, before: Some("1"), purpose: OF_VI_AND_IVON;
        /// Whether vi's gradient leaves out the part whose expectation is 0 (sticking the landing).
        stick_the_landing: bool = case.fit().stick_the_landing, ANY, CHAIN, before: Some("true"), purpose: OF_VI;
        /// Covariance of laplace: diagonal (independent normals), or of the head's weights alone, untied from the embedding: last_layer_full, or
        /// last_layer_kfac (a Kronecker product).
        laplace_structure: CovarianceStructure = CovarianceStructure::Diagonal, ANY, CHAIN, before: Some("diagonal"), purpose: OF_LAPLACE;
        /// Labels of the gradients of a diagonal laplace: data (empirical Fisher), model (Fisher), or ggn (no labels: generalised Gauss-Newton).
        laplace_labels: CurvatureKind = case.fit().laplace_labels, ANY, CHAIN, before: Some("data"), purpose: OF_LAPLACE;
        /// Let the marginal likelihood choose the precision of laplace's prior, in place of `prior_std`.
        laplace_fit_prior: bool = case.fit().laplace_fit_prior, ANY, CHAIN, before: Some("false"), purpose: OF_LAPLACE;
        /// Share of its estimate of the curvature that a step of ivon keeps.
        ivon_decay: f64 = 0.999, INSIDE, CHAIN, before: Some("0.999"), purpose: OF_IVON;
        /// Share of ema's moving average that a step keeps.
        ema_decay: f64 = EMA_DECAY, BELOW_1, CHAIN, before: Some("0.99"), purpose: OF_EMA;
        /// Number of steps between two snapshots of swag's path.
        swag_every: u64 = 20, COUNT, CHAIN, before: Some("20"), purpose: OF_SWAG;
        /// Number of swag's latest snapshots that the low-rank part of its covariance is made of.
        swag_rank: usize = 20, Range::Whole(2, 1000), CHAIN, before: Some("20"), purpose: OF_SWAG;
    }
    Recording {
        /// How stored samples are rounded: f32 (not at all), or bf16 (to 8 significant bits, half the space).
        sample_dtype: Dtype = Dtype::F32, Range::Words(|| vec!["f32", "bf16"]), &[Store, Train];
        /// Number of steps between checkpoints of a chain, of a baseline and of the control; one is also written when a run is stopped.
        checkpoint_every: u64 = 500, COUNT, RECIPE;
        /// Number of validation tokens whose log-probability is recorded while a chain runs, for R-hat and effective sample sizes; 0 records none.
        probe_tokens: usize = 4096, ANY, RUN, before: Some("0");
        /// Number of sampling steps between two such records.
        probe_every: u64 = 20, COUNT, RUN, before: Some("20");
        /// Number of sampling steps between two readings of each tensor's temperature; 0 takes none.
        temperature_every: u64 = 10, ANY, GPT, before: Some("0");
        /// Number of Lanczos iterations (two gradients each) that estimate the largest curvature before sampling; 0 disables the estimate.
        curvature_iterations: u64 = case.curvature_iterations(), ANY, RUN, before: Some("0");
        /// Number of sampling steps between two readings of the loss over that at the start, for the local learning coefficient; 0 takes none.
        /// It needs `prior_center` = pretrained.
        llc_every: u64 = 20, ANY, GPT, before: Some("0");
    }
    Evaluation {
        /// After sampling also score the training split, models of equal cost (`controls`) and generated texts. The validation split is always scored.
        eval: bool = false, ANY, &[Train, Resume], brief: Some("Score the training split, what else equal cost gives, and texts, too");
        /// Splits to evaluate on: val, train, or both.
        eval_splits: Vec<String> = vec!["val".into(), "train".into()], Range::Words(|| vec!["val", "train"]), SCORES;
        /// Number of samples that are averaged, spread evenly over chains and steps; 0 averages all.
        eval_num_posterior_samples: usize = case.preset(0, 10), ANY, SCORES;
        /// What the averaged prediction is made of: weights (the samples as they are), or linearised (the model's logits, linear in the parameters around the
        /// mean of the fit, at the samples), for a diagonal laplace whose fits share their start. Texts are written by the samples as they are.
        predictive: Predictive = case.predictive(), ANY, SCORES, before: Some("weights");
        /// Number of texts generated for BLEU and ROUGE, at most what the split has room for.
        eval_num_text_samples: usize = 20, ANY, SCORES, purpose: EVALUATION;
        /// Number of tokens in each text's prompt.
        eval_prompt_length: usize = 20, COUNT, SCORES, purpose: EVALUATION;
        /// Number of tokens generated for each text.
        eval_generation_length: usize = 30, COUNT, SCORES, purpose: EVALUATION;
        /// Train models for as many gradients as the samples took, and compare the averaged prediction with theirs.
        eval_control: bool = true, ANY, SCORES, purpose: EVALUATION;
        /// Which models those are: basic (one run of AdamW from the same start, at a constant rate: its last and best state, its moving average, the mean
        /// of its snapshots' weights, and the average of their predictions), or full (also a model trained from scratch for as many gradients in all, an
        /// ensemble of several baselines, and the chain without noise).
        controls: Controls = Controls::Basic, ANY, SCORES, before: Some("basic"), purpose: CONTROLS;
        /// Largest number of windows evaluated per split. Without it, all; of the training split, as much text as the validation split has.
        eval_max_samples: Option<usize> = None, COUNT, SCORES;
        /// Largest number of tokens evaluated per split, at least one block. Without it, all; of the training split, as many as the validation split has.
        eval_max_tokens: Option<usize> = None, COUNT, SCORES;
    }
    Generation {
        /// Number of tokens to generate.
        max_new_tokens: usize = 600, ANY, WRITER, brief: Some("Tokens to generate");
        /// Temperature T at which tokens are drawn; 0 takes the likeliest. Uncertainty is always given at 1.
        generation_temperature: f64 = 0.3, FROM_0, WRITER, flag: Some("temperature"), brief: Some("Temperature at which tokens are drawn");
        /// Draw among this many likeliest tokens; 0 takes all.
        top_k: usize = 10, ANY, WRITER, brief: Some("Draw among this many likeliest tokens; 0 takes all");
        /// What tokens are drawn from: average (the samples' averaged prediction, to the power 1/T), vote (the average of the samples' tempered predictions),
        /// or sequence (each text from one sample: at T = 1 and `top_k` = 0 texts are draws from the posterior predictive).
        mode: Mode = Mode::Average, ANY, WRITER;
        /// What happens when the block is full: exact reads the last block again for each token; hop drops the older half and goes on.
        context: ContextOverflow = ContextOverflow::Exact, ANY, WRITER;
        /// How the samples' weights are kept: f32, or bf16, which rounds them to 8 significant bits and is up to twice as fast on large models.
        weights: WeightType = WeightType::F32, ANY, WRITER;
    }
    Running {
        /// Seed of everything random.
        seed: u64 = 42, ANY, &[Model, Trainer, Reader::Sampler, Gradients, Store, Generator, Train, Baseline, Generate], brief: Some("Seed of everything random");
        /// Number of threads; 0 takes all. It changes no bit of any result.
        threads: usize = 0, ANY, &[Train, Resume, Baseline, Eval, Generate, Diagnose, Verify, Bench], brief: Some("Threads; 0 takes all");
        /// Precision of matrix products: highest (f32), high (two bf16s per number with AMX, else f32), or medium (bf16 with AMX or AVX512_BF16, else f32).
        precision: Precision = Precision::Highest, ANY, &[Model, Train, Baseline, Verify], before: Some("highest");
        /// Folder where runs and baselines are kept.
        save_dir: PathBuf = "checkpoints/samplers".into(), ANY, &[Train, Baseline], brief: Some("Where runs and baselines are kept");
        /// Folder for a second copy of the run's log. A run that is resumed takes it from the flag alone.
        log_dir: Option<PathBuf> = None, ANY, &[Train, Resume];
        /// File that the result is written to as JSON, in place of a new file in the run's folder.
        output: Option<PathBuf> = None, ANY, &[Eval, Generate], brief: Some("Write the result as JSON to this file");
    }
}
