//! The C interface: functions in any order, with handles that are valid or NULL and lengths that are true. None may crash or report a defect.
#![no_main]
#![allow(non_camel_case_types)]

#[path = "capi/arguments.rs"]
mod arguments;

use arguments::{Arg, Arrays, Handle, KEPT, PLACE, State};
use bnn::capi::*;
use bnn::settings::TABLE;
use libfuzzer_sys::fuzz_target;
use std::ptr::null_mut;

/// A function that takes arguments of its types.
trait Call {
    fn call(self, s: &mut State);
}

macro_rules! calls {
    ($($($a:ident)+;)*) => {
        $(impl<$($a: Arg),+> Call for unsafe extern "C" fn($($a),+) -> i32 {
            #[allow(non_snake_case)]
            fn call(self, s: &mut State) {
                $(let $a = $a::take(s);)+
                // SAFETY: handles are live or NULL, arrays have `ROOM` elements, and no product of lengths is larger; texts have their lengths.
                let status = unsafe { self($($a),+) };
                s.done(status);
            }
        })*
    };
}

calls! {
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
    A B C D E F G H I J K L M;
    A B C D E F G H I J K L M N O;
}

/// Calls one of these, which are given with as many underscores as they have arguments.
macro_rules! one_of {
    ($s:ident; $($f:ident($($arg:tt)+))*) => {{
        let all: &[fn(&mut State)] = &[$(|s| {
            s.extreme = matches!(stringify!($f), "bnn_options_set_u64" | "bnn_sampler_batch" | "bnn_sampler_extend" | "bnn_agreement" | "bnn_sampler_draw" | "bnn_store_append");
            // A matrix of many parameters would not fit into an array.
            s.large = matches!(stringify!($f), "bnn_sampler_set_mass_cholesky" | "bnn_sampler_get_mass_cholesky");
            let f: unsafe extern "C" fn($(one_of!(@ $arg)),+) -> i32 = $f;
            f.call(s);
        }),*];
        let at = usize::from($s.byte()) % all.len();
        all[at]($s);
    }};
    (@ $arg:tt) => { _ };
}

fn step(s: &mut State) {
    one_of! { s;
        bnn_agreement(1 2 3 4 5 6 7 8 9)
        bnn_model_train_once(1 2 3 4 5 6 7 8 9)
        bnn_paired_bootstrap(1 2 3 4 5 6 7 8)
        bnn_check_checkpoint(1 2 3 4 5)
        bnn_check_samples(1 2 3 4 5)
        bnn_sampler_missing(1 2 3 4)
        bnn_context_threads(1 2 3)
        bnn_context_info(1 2 3)
        bnn_corpus_from_file(1 2 3 4)
        bnn_corpus_from_text(1 2 3 4)
        bnn_corpus_from_tokens(1 2 3 4 5 6 7)
        bnn_corpus_from_nanogpt(1 2 3 4 5)
        bnn_corpus_vocabulary(1 2 3 4 5)
        bnn_corpus_sizes(1 2 3 4 5)
        bnn_corpus_tokens(1 2 3 4 5 6)
        bnn_corpus_encode(1 2 3 4 5 6 7)
        bnn_corpus_decode(1 2 3 4 5 6 7)
        bnn_sampler_curvature(1 2 3 4 5 6 7)
        bnn_sampler_curvature_with_gradients(1 2 3 4 5 6)
        bnn_energy(1 2 3 4 5 6 7)
        bnn_ensemble_new(1 2 3)
        bnn_ensemble_add(1 2 3 4)
        bnn_ensemble_add_stored(1 2 3 4 5 6 7)
        bnn_ensemble_len(1 2 3)
        bnn_ensemble_evaluate(1 2 3 4 5 6 7)
        bnn_ensemble_score(1 2 3 4 5 6 7)
        bnn_generator_new(1 2 3 4 5)
        bnn_generator_generate(1 2 3 4 5 6 7 8 9 10 11 12 13)
        bnn_generator_generate_tokens(1 2 3 4 5 6 7 8 9 10 11 12 13)
        bnn_generator_generate_batch(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
        bnn_generator_begin(1 2 3 4 5 6 7)
        bnn_generator_begin_texts(1 2 3 4 5 6 7)
        bnn_generator_advance(1 2 3 4 5 6 7)
        bnn_generator_predict(1 2 3 4 5 6 7)
        bnn_generator_put(1 2 3 4)
        bnn_generator_stop(1 2 3)
        bnn_generator_tokens(1 2 3 4 5 6)
        bnn_generator_text(1 2 3 4 5 6)
        bnn_generator_score_texts(1 2 3 4 5 6 7 8 9 10)
        bnn_bleu(1 2 3 4 5 6 7 8 9)
        bnn_rouge(1 2 3 4 5 6 7 8)
        bnn_brier_score(1 2 3 4 5 6)
        bnn_calibration_error(1 2 3 4 5 6)
        bnn_chain_diagnostics(1 2 3 4 5)
        bnn_movement(1 2 3 4 5 6 7)
        bnn_temperature_band(1 2 3 4 5 6)
        bnn_model_new(1 2 3 4 5)
        bnn_model_untie(1 2 3)
        bnn_model_sizes(1 2 3 4)
        bnn_model_get_params(1 2 3 4)
        bnn_model_set_params(1 2 3 4)
        bnn_model_tensor(1 2 3 4 5 6 7 8 9 10 11)
        bnn_model_find_tensor(1 2 3 4 5)
        bnn_model_info(1 2 3)
        bnn_model_copy(1 2 3)
        bnn_model_loss(1 2 3 4 5)
        bnn_evaluator_new(1 2 3)
        bnn_evaluator_loss(1 2 3 4 5 6 7 8 9 10 11)
        bnn_evaluator_gradient(1 2 3 4 5 6 7 8 9 10 11 12)
        bnn_evaluator_squares(1 2 3 4 5 6 7 8 9 10 11 12 13)
        bnn_evaluator_log_probs(1 2 3 4 5 6 7 8 9)
        bnn_evaluator_logits(1 2 3 4 5 6 7 8 9)
        bnn_model_save(1 2 3 4 5 6)
        bnn_model_load(1 2 3 4 5 6)
        bnn_model_save_safetensors(1 2 3 4)
        bnn_model_read_safetensors(1 2 3 4)
        bnn_options_new(1 2)
        bnn_options_set_f64(1 2 3 4 5)
        bnn_options_set_u64(1 2 3 4 5)
        bnn_options_set_str(1 2 3 4 5 6)
        bnn_options_set_text(1 2 3 4 5 6)
        bnn_options_copy(1 2 3)
        bnn_options_unread(1 2 3 4 5)
        bnn_options_unset(1 2 3 4)
        bnn_options_get_f64(1 2 3 4 5)
        bnn_options_get_u64(1 2 3 4 5)
        bnn_options_get_str(1 2 3 4 5 6 7)
        bnn_options_describe(1 2 3 4 5 6 7)
        bnn_probe_new(1 2 3 4 5 6)
        bnn_probe_len(1 2 3)
        bnn_probe_log_probs(1 2 3 4 5 6 7)
        bnn_report_new(1 2)
        bnn_report_count(1 2 3)
        bnn_report_name(1 2 3 4 5 6)
        bnn_report_describe(1 2 3 4 5 6 7 8)
        bnn_report_get_f64(1 2 3 4 5)
        bnn_report_get_u64(1 2 3 4 5)
        bnn_report_get_str(1 2 3 4 5 6 7)
        bnn_report_get_f64s(1 2 3 4 5 6 7)
        bnn_sampler_new(1 2 3 4 5)
        bnn_sampler_new_with_gradients(1 2 3 4 5 6)
        bnn_sampler_load(1 2 3 4 5 6 7)
        bnn_sampler_load_with_gradients(1 2 3 4 5 6 7)
        bnn_sampler_save(1 2 3 4)
        bnn_sampler_extend(1 2 3)
        bnn_sampler_set_schedule(1 2 3 4)
        bnn_sampler_set_mass(1 2 3 4)
        bnn_sampler_set_gradient_noise(1 2 3 4)
        bnn_sampler_run(1 2 3 4 5 6 7 8 9)
        bnn_sampler_step(1 2 3 4)
        bnn_sampler_step_tokens(1 2 3 4 5 6 7)
        bnn_sampler_step_gradient(1 2 3 4 5 6 7 8)
        bnn_sampler_step_squares(1 2 3 4 5 6 7 8 9)
        bnn_sampler_get_params(1 2 3 4)
        bnn_sampler_get_normals(1 2 3 4 5)
        bnn_sampler_draw(1 2 3 4 5)
        bnn_sampler_report(1 2 3)
        bnn_sampler_step_size(1 2 3)
        bnn_sampler_gradient_noise(1 2 3)
        bnn_sampler_forecast(1 2 3)
        bnn_sampler_free_diffusion(1 2 3 4 5)
        bnn_sampler_temperature(1 2 3 4)
        bnn_sampler_watch(1 2 3 4 5 6)
        bnn_sampler_llc(1 2 3)
        bnn_sampler_energy(1 2 3)
        bnn_sampler_prior_fit(1 2 3)
        bnn_store_movement(1 2 3 4 5 6)
        bnn_verdict(1 2 3 4 5 6 7 8 9 10 11 12)
        bnn_store_score(1 2 3 4 5 6 7 8 9 10)
        bnn_store_new(1 2 3 4 5 6 7)
        bnn_store_open(1 2 3 4 5 6)
        bnn_store_len(1 2 3)
        bnn_store_append(1 2 3 4 5 6)
        bnn_store_get(1 2 3 4 5 6 7)
        bnn_store_spread(1 2 3 4 5 6)
        bnn_store_verify(1 2)
        bnn_store_keep_last(1 2 3 4)
        bnn_store_keep_every(1 2 3 4)
        bnn_trainer_new(1 2 3 4 5 6)
        bnn_trainer_load(1 2 3 4 5 6 7)
        bnn_trainer_save(1 2 3 4)
        bnn_trainer_step_tokens(1 2 3 4 5 6)
        bnn_trainer_get_params(1 2 3 4)
        bnn_trainer_keep_best(1 2 3 4)
        bnn_trainer_get_best(1 2 3 4)
        bnn_trainer_report(1 2 3)
        bnn_sampler_batch(1 2 3 4 5 6 7 8)
        bnn_sampler_step_loss_gradient(1 2 3 4 5 6 7)
        bnn_sampler_step_gradient_f64(1 2 3 4 5 6 7 8)
        bnn_sampler_get_momenta(1 2 3 4)
        bnn_sampler_get_mass(1 2 3 4)
        bnn_sampler_set_mass_cholesky(1 2 3 4)
        bnn_sampler_get_mass_cholesky(1 2 3 4)
        bnn_trainer_step(1 2 3)
        bnn_trainer_finish(1 2)
    }
}

/// Frees one handle.
fn free(s: &mut State) {
    fn of<T: Handle>(s: &mut State) {
        let at = usize::from(s.byte()) % KEPT;
        T::free(std::mem::replace(&mut T::slots(s).kept[at], null_mut()));
    }
    let all = [
        of::<bnn_context>,
        of::<bnn_corpus>,
        of::<bnn_ensemble>,
        of::<bnn_generator>,
        of::<bnn_model>,
        of::<bnn_options>,
        of::<bnn_probe>,
        of::<bnn_report>,
        of::<bnn_sampler>,
        of::<bnn_store>,
        of::<bnn_trainer>,
    ];
    let at = usize::from(s.byte()) % all.len();
    all[at](s);
}

/// A device, a text, small settings, a model, and a method that the input chooses.
fn begin(s: &mut State) {
    let text = bnn_fuzz::sessions::TEXT;
    let small: [(&str, u64); 12] = [
        ("n_layer", 1),
        ("n_head", 2),
        ("n_embd", 4),
        ("block_size", 4),
        ("batch_size", 2),
        ("warmup_steps", 3),
        ("sampling_steps", 6),
        ("thinning", 2),
        ("preconditioner_steps", 2),
        ("baseline_iters", 3),
        ("max_new_tokens", 9),
        ("num_data", 70),
    ];
    let method = TABLE
        .iter()
        .find(|row| row.name == "sampler")
        .expect("a setting")
        .words();
    let method = method[usize::from(s.byte()) % method.len()];
    let none = null_mut();
    // SAFETY: what is made is kept in its slot; texts have their lengths.
    unsafe {
        assert_eq!(
            bnn_context_new(
                1 + usize::from(s.byte() == 77),
                &mut s.contexts.kept[1],
                none
            ),
            0
        );
        assert_eq!(
            bnn_corpus_from_text(
                text.as_ptr().cast(),
                text.len(),
                &mut s.corpora.kept[1],
                none
            ),
            0
        );
        assert_eq!(bnn_report_new(&mut s.reports.kept[1], none), 0);
        assert_eq!(bnn_options_new(&mut s.options.kept[1], none), 0);
        let options = s.options.kept[1];
        for (name, value) in small {
            let set = match name {
                "num_data" => bnn_options_set_f64(
                    options,
                    name.as_ptr().cast(),
                    name.len(),
                    value as f64,
                    none,
                ),
                _ => bnn_options_set_u64(options, name.as_ptr().cast(), name.len(), value, none),
            };
            assert_eq!(set, 0, "{name}");
        }
        for (name, value) in [("shape", "tiny"), ("sampler", method)] {
            let set = bnn_options_set_str(
                options,
                name.as_ptr().cast(),
                name.len(),
                value.as_ptr().cast(),
                value.len(),
                none,
            );
            assert_eq!(set, 0, "{name}");
        }
        let vocabulary = text
            .chars()
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        assert_eq!(
            bnn_model_new(
                s.contexts.kept[1],
                options,
                vocabulary,
                &mut s.models.kept[1],
                none
            ),
            0
        );
        let mut block = 0;
        assert_eq!(
            bnn_model_sizes(s.models.kept[1], &mut s.n_params, &mut block, none),
            0
        );
        match s.byte() % 4 {
            0 => {}
            1 => {
                let theta = s.arrays.singles.as_ptr();
                s.n_params = 5;
                let _ = bnn_sampler_new_with_gradients(
                    s.contexts.kept[1],
                    options,
                    theta,
                    5,
                    &mut s.samplers.kept[1],
                    none,
                );
            }
            2 => {
                let _ = bnn_ensemble_new(s.models.kept[1], &mut s.ensembles.kept[1], none);
                let _ = bnn_ensemble_add(
                    s.ensembles.kept[1],
                    s.arrays.singles.as_ptr(),
                    s.n_params,
                    none,
                );
                let _ = bnn_generator_new(
                    s.ensembles.kept[1],
                    s.corpora.kept[1],
                    options,
                    &mut s.generators.kept[1],
                    none,
                );
            }
            _ => {
                _ = bnn_sampler_new(
                    s.models.kept[1],
                    s.corpora.kept[1],
                    options,
                    &mut s.samplers.kept[1],
                    none,
                )
            }
        }
    }
}

thread_local! {
    static ARRAYS: std::cell::RefCell<Arrays> = std::cell::RefCell::new(Arrays::new());
}

fuzz_target!(|bytes: &[u8]| {
    for entry in std::fs::read_dir(PLACE.path(""))
        .expect("a folder")
        .flatten()
    {
        let path = entry.path();
        let _ = if path.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
    }
    ARRAYS.with_borrow_mut(|arrays| {
        let mut state = State::new(bytes, arrays);
        let s = &mut state;
        begin(s);
        for _ in 0..60 {
            if s.bytes.is_empty() {
                break;
            }
            if s.byte() % 16 == 0 { free(s) } else { step(s) }
        }
        s.free_all();
    });
});
