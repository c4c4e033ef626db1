//! The C interface from Rust, on one thread and the smallest model: every pointer that crosses it, small enough for Miri (`tests/sanitize.sh miri`).

use bnn::capi::*;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};

const TEXT: &str = "abcabdacbdabcdabcabdacbdabcd";

/// A call that must succeed.
macro_rules! ok {
    ($call:ident($($arg:expr),*)) => {{
        let mut err = bnn_error { code: 0, message: [0; 508] };
        // SAFETY: handles are live, lengths are true, and what is written to is this test's own.
        let status = unsafe { $call($($arg,)* &mut err) };
        // SAFETY: the message ends with a NUL.
        let message = unsafe { CStr::from_ptr(err.message.as_ptr()) };
        assert_eq!(status, BNN_OK, "{}: {}", stringify!($call), message.to_string_lossy());
    }};
}

fn chars(text: &str) -> *const c_char {
    text.as_ptr().cast()
}

/// What a test makes, freed in an order of its own.
struct Made {
    context: *mut bnn_context,
    corpus: *mut bnn_corpus,
    options: *mut bnn_options,
    model: *mut bnn_model,
    report: *mut bnn_report,
    n: usize,
}

impl Made {
    fn new(more: &[(&str, &str)]) -> Self {
        let (mut context, mut corpus, mut options) = (null_mut(), null_mut(), null_mut());
        let (mut model, mut report) = (null_mut(), null_mut());
        ok!(bnn_context_new(1, &mut context));
        ok!(bnn_corpus_from_text(chars(TEXT), TEXT.len(), &mut corpus));
        ok!(bnn_options_new(&mut options));
        ok!(bnn_report_new(&mut report));
        let sizes = [
            ("n_layer", 1),
            ("n_head", 1),
            ("n_embd", 2),
            ("block_size", 3),
            ("batch_size", 1),
            ("warmup_steps", 1),
            ("sampling_steps", 2),
            ("thinning", 1),
            ("preconditioner_steps", 1),
            ("max_new_tokens", 2),
            ("baseline_iters", 2),
        ];
        for (name, value) in sizes {
            ok!(bnn_options_set_u64(options, chars(name), name.len(), value));
        }
        for (name, value) in [("shape", "tiny")].iter().chain(more) {
            let (name_at, value_at) = (chars(name), chars(value));
            ok!(bnn_options_set_str(
                options,
                name_at,
                name.len(),
                value_at,
                value.len()
            ));
        }
        ok!(bnn_model_new(context, options, 4, &mut model));
        let (mut n, mut block) = (0, 0);
        ok!(bnn_model_sizes(model, &mut n, &mut block));
        assert_eq!(block, 3);
        Self {
            context,
            corpus,
            options,
            model,
            report,
            n,
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // SAFETY: each came from the library and is freed once; children keep alive what they need.
        unsafe {
            bnn_context_free(self.context);
            bnn_model_free(self.model);
            bnn_options_free(self.options);
            bnn_corpus_free(self.corpus);
            bnn_report_free(self.report);
        }
    }
}

/// A row of a report that is a number.
fn number(report: *const bnn_report, name: &str) -> f64 {
    let mut value = f64::NAN;
    ok!(bnn_report_get_f64(
        report,
        chars(name),
        name.len(),
        &mut value
    ));
    value
}

#[test]
fn texts_cross_the_border() {
    let made = Made::new(&[]);
    let (mut tokens, mut needed) = ([0u32; 8], 0);
    let to = tokens.as_mut_ptr();
    ok!(bnn_corpus_encode(
        made.corpus,
        chars("abcd"),
        4,
        to,
        8,
        &mut needed
    ));
    assert_eq!((&tokens[..4], needed), (&[0, 1, 2, 3][..], 4));
    let mut text = [0 as c_char; 8];
    let (from, back) = (tokens.as_ptr(), text.as_mut_ptr());
    ok!(bnn_corpus_decode(
        made.corpus,
        from,
        4,
        back,
        8,
        &mut needed
    ));
    assert_eq!(text.map(|c| c as u8)[..4], *b"abcd");
    // Too little room: nothing is written but what is needed.
    text = [9; 8];
    // SAFETY: as above.
    let status = unsafe {
        bnn_corpus_decode(
            made.corpus,
            from,
            4,
            text.as_mut_ptr(),
            3,
            &mut needed,
            null_mut(),
        )
    };
    assert_eq!((status, needed, text), (BNN_ERR_TOO_SMALL, 4, [9; 8]));
    // SAFETY: NULL is to be refused.
    let status =
        unsafe { bnn_corpus_sizes(null(), &mut needed, null_mut(), null_mut(), null_mut()) };
    assert_eq!(status, BNN_ERR_NULL);
}

unsafe extern "C" fn count(
    user_data: *mut c_void,
    _token: u32,
    entropy: f64,
    _mutual_information: f64,
    _log_prob: f64,
) -> i32 {
    assert!(entropy >= 0.0);
    // SAFETY: the call is given a number to count in.
    unsafe { *user_data.cast::<u32>() += 1 };
    1
}

#[test]
fn a_chain_samples_is_kept_and_writes() {
    let made = Made::new(&[("sampler", "baoa")]);
    let mut sampler = null_mut();
    ok!(bnn_sampler_new(
        made.model,
        made.corpus,
        made.options,
        &mut sampler
    ));
    let mut ensemble = null_mut();
    ok!(bnn_ensemble_new(made.model, &mut ensemble));
    let mut params = vec![0.0f32; made.n];
    let (mut phase, mut due) = (BNN_PHASE_WARMUP, 0);
    while phase != BNN_PHASE_DONE {
        ok!(bnn_sampler_step(sampler, &mut phase, &mut due));
        if due != 0 {
            ok!(bnn_sampler_get_params(sampler, params.as_mut_ptr(), made.n));
            ok!(bnn_ensemble_add(ensemble, params.as_ptr(), made.n));
        }
    }
    ok!(bnn_sampler_report(sampler, made.report));
    assert!(number(made.report, "log_lik") < 0.0);
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("chain.bnn");
    let path = path.to_str().expect("UTF-8");
    ok!(bnn_sampler_save(sampler, chars(path), path.len()));
    let mut again = null_mut();
    ok!(bnn_sampler_load(
        made.model,
        made.corpus,
        made.options,
        chars(path),
        path.len(),
        &mut again
    ));
    let mut same = vec![0.0f32; made.n];
    ok!(bnn_sampler_get_params(again, same.as_mut_ptr(), made.n));
    assert_eq!(same, params);

    let mut generator = null_mut();
    ok!(bnn_generator_new(
        ensemble,
        made.corpus,
        made.options,
        &mut generator
    ));
    let (mut calls, mut text, mut needed) = (0u32, [0 as c_char; 16], 0);
    let (mut entropy, mut information) = (0.0, 0.0);
    ok!(bnn_generator_generate(
        generator,
        chars("ab"),
        2,
        made.options,
        0,
        Some(count),
        (&raw mut calls).cast(),
        text.as_mut_ptr(),
        16,
        &mut needed,
        &mut entropy,
        &mut information
    ));
    assert_eq!((calls, needed > 0), (2, true));
    // SAFETY: each came from the library and is freed once.
    unsafe {
        bnn_sampler_free(sampler);
        bnn_sampler_free(again);
        bnn_ensemble_free(ensemble);
        bnn_generator_free(generator);
    }
}

#[test]
fn gradients_and_losses_are_written_where_they_belong() {
    let made = Made::new(&[]);
    let (x, y) = ([0u32, 1, 2], [1u32, 2, 3]);
    let (mut loss, mut grad) = (0.0, vec![f32::NAN; made.n]);
    let to = grad.as_mut_ptr();
    let mut evaluator = null_mut();
    ok!(bnn_evaluator_new(made.model, &mut evaluator));
    ok!(bnn_evaluator_gradient(
        evaluator,
        null(),
        0,
        x.as_ptr(),
        y.as_ptr(),
        1,
        3,
        0,
        &mut loss,
        null_mut(),
        to
    ));
    // SAFETY: it came from the library and is freed once.
    unsafe { bnn_evaluator_free(evaluator) };
    assert!(loss > 0.0 && grad.iter().all(|g| g.is_finite()));
    let mut trainer = null_mut();
    ok!(bnn_trainer_new(
        made.model,
        made.corpus,
        made.options,
        BNN_START_FRESH,
        &mut trainer
    ));
    ok!(bnn_trainer_step(trainer, &mut loss));
    ok!(bnn_trainer_finish(trainer));
    // SAFETY: it came from the library and is freed once.
    unsafe { bnn_trainer_free(trainer) };
}

#[test]
fn arrays_of_the_callers_are_read() {
    let made = Made::new(&[]);
    let draws: Vec<f64> = (0..40).map(|i| f64::from(i * i % 11)).collect();
    ok!(bnn_chain_diagnostics(draws.as_ptr(), 2, 20, made.report));
    assert!(number(made.report, "rhat").is_finite());
    let (texts, lens) = ([chars("abca"), chars("ab")], [4usize, 2]);
    let mut score = 0.0;
    let (t, l) = (texts.as_ptr(), lens.as_ptr());
    ok!(bnn_bleu(t, l, t, l, 2, BNN_UNIT_CHAR, 2, &mut score));
    assert!((score - 1.0).abs() < 1e-12);
    let (p, outcomes) = ([0.5, 0.5, 0.25, 0.75], [0u32, 1]);
    ok!(bnn_brier_score(
        p.as_ptr(),
        outcomes.as_ptr(),
        2,
        2,
        &mut score
    ));
    assert!((score - 0.3125).abs() < 1e-12);
}
