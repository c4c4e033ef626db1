//! The presets: what every setting is when nothing is said.

use super::config::{
    MassChoice, Normal, Preset, PriorCenter, PriorFamily, PriorUnit, SampleDtype, Sampler,
    ScheduleChoice, Settings, Starts,
};
use crate::backend::Precision;
use crate::baseline::Recipe;
use crate::data::Order;
use crate::gpt::Objective;
use crate::samplers::{Method, NormalConfig, defaults};

impl Settings {
    /// The preset's value of every setting that has one.
    pub fn defaults(preset: Preset, sampler: Sampler) -> Self {
        match sampler {
            Sampler::Chain(method) => Self::chain_defaults(preset, method),
            Sampler::Normal(normal) => Self::normal_defaults(preset, normal),
        }
    }

    /// What the normals have of their own, over a chain's.
    fn normal_defaults(preset: Preset, normal: Normal) -> Self {
        let original = preset == Preset::Original;
        let own = NormalConfig::new(normal, 1);
        Self {
            sampler: Some(Sampler::Normal(normal)),
            learning_rate: Some(match (normal, original) {
                (Normal::Vi, true) => 1e-4,
                (Normal::Ekf, true) => 5e-6,
                (Normal::Laplace, true) => 1e-5, // not used
                (_, false) => own.learning_rate,
            }),
            init_sd: Some(if original { 1.0 } else { own.init_sd }),
            temperature: (!original).then_some(own.temperature),
            num_epochs: Some(if original { 15 } else { 1 }),
            num_samples: Some(if original { 10 } else { 25 }),
            batch_order: Some(if original {
                Order::Independent
            } else {
                Order::Sweep
            }),
            schedule: Some(match normal {
                Normal::Vi => ScheduleChoice::Linear,
                _ => ScheduleChoice::Constant,
            }),
            final_fraction: Some(0.01),
            preconditioner: Some(MassChoice::None),
            ..Self::default()
        }
        .or(Self {
            alpha: None,
            momentum: None,
            ..Self::chain_defaults(preset, Method::Sgld)
        })
    }

    fn chain_defaults(preset: Preset, sampler: Method) -> Self {
        let recipe = Recipe::default();
        let momentum = sampler.has_momenta().then_some(defaults::MOMENTUM);
        // A chain reads none of a fit's settings, but every setting has a value.
        let fit = NormalConfig::new(Normal::Vi, 1);
        let own = Self {
            preset: Some(Preset::Default),
            sampler: Some(Sampler::Chain(sampler)),
            shape: Some("cpu".into()),
            baseline_iters: Some(recipe.iters),
            baseline_learning_rate: Some(recipe.learning_rate),
            baseline_warmup_iters: Some(recipe.warmup_iters),
            weight_decay: Some(recipe.weight_decay),
            grad_clip: Some(recipe.grad_clip),
            learning_rate: Some(sampler.scheme().model_step_size()),
            thermostat_mass: (sampler.has_thermostat()).then_some(defaults::MODEL_THERMOSTAT_MASS),
            schedule: Some(ScheduleChoice::Constant),
            temperature_schedule: Some(ScheduleChoice::Constant),
            final_fraction: Some(0.1),
            schedule_delay: Some(100.0),
            schedule_power: Some(0.55),
            cycles: Some(4),
            exploration: Some(if sampler.scheme().can_explore() {
                0.5
            } else {
                0.0
            }),
            momentum,
            sigma: Some(1.0),
            beta: Some(0.0),
            temperature: Some(defaults::MODEL_TEMPERATURE),
            preconditioner: Some(MassChoice::Rms),
            preconditioner_steps: Some(100),
            preconditioner_floor: Some(0.1),
            preconditioner_decay: Some(0.99),
            preconditioner_every: Some(25),
            preconditioner_gamma: Some(true),
            prior_family: Some(PriorFamily::Normal),
            prior_dof: Some(3.0),
            likelihood_weight: Some(1.0),
            prior_std: Some(1.0),
            prior_center: Some(PriorCenter::Zero),
            prior_scale: Some(PriorUnit::Absolute),
            objective: Some(Objective::All),
            batch_order: Some(Order::Independent),
            num_samples: Some(25),
            init_sd: Some(fit.init_sd),
            transition_sd: Some(fit.transition_sd),
            init_log_scale: Some(fit.init_log_scale),
            vi_n_samples: Some(fit.vi_n_samples),
            stick_the_landing: Some(fit.stick_the_landing),
            laplace_structure: Some(fit.laplace_structure),
            laplace_labels: Some(fit.laplace_labels),
            laplace_fit_prior: Some(fit.laplace_fit_prior),
            warmup_steps: Some(defaults::WARMUP_STEPS),
            sampling_steps: Some(defaults::SAMPLING_STEPS),
            thinning: Some(defaults::THINNING),
            chains: Some(1),
            starts: Some(Starts::Shared),
            seed: Some(42),
            sample_dtype: Some(SampleDtype::F32),
            checkpoint_every: Some(500),
            probe_tokens: Some(4096),
            probe_every: Some(20),
            auto_step: Some(false),
            step_tolerance: Some(0.1),
            temperature_every: Some(10),
            curvature_iterations: Some(10),
            llc_every: Some(20),
            threads: Some(0),
            precision: Some(Precision::Highest),
            force: Some(false),
            save_dir: Some("checkpoints/samplers".into()),
            eval: Some(false),
            eval_splits: Some(vec!["val".into(), "train".into()]),
            eval_num_posterior_samples: Some(0),
            eval_num_text_samples: Some(20),
            eval_prompt_length: Some(20),
            eval_generation_length: Some(30),
            eval_control: Some(true),
            ..Self::default()
        };
        match preset {
            Preset::Default => own,
            Preset::Original => Self {
                preset: Some(Preset::Original),
                learning_rate: Some(match sampler {
                    Method::Sghmc | Method::SghmcEuler => 1e-5,
                    _ => 1e-6,
                }),
                alpha: (sampler.has_momenta()).then(|| sampler.scheme().default_alpha()),
                temperature: Some(1.0),
                preconditioner: Some(MassChoice::None),
                prior_std: Some(1.0),
                prior_center: Some(PriorCenter::Pretrained),
                prior_scale: Some(PriorUnit::Absolute),
                objective: Some(Objective::Last),
                batch_size: Some(16),
                train_samples: Some(10_000),
                max_seq_length: Some(128),
                warmup_steps: Some(200),
                sampling_steps: Some(1000),
                thinning: Some(10),
                eval_num_posterior_samples: Some(10),
                ..Self::default()
            }
            .or(Self {
                momentum: None,
                thermostat_mass: None,
                ..own
            }),
        }
    }
}
