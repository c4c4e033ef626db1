//! Memory that runs short is an error, never an abort: an allocator refuses the k-th large allocation, for every k, on the way through the whole
//! library as C sees it. Large is 4 KiB or more: smaller ones are messages, names, JSON and what rayon and serde_json keep, which have no other way
//! than to abort. No bytes may be left behind, and the loop ends when nothing is refused any more.
//! Broken: a `to_vec` of the parameters in `bnn_ensemble_add`, SIGABRT with "memory allocation of 17408 bytes failed".
#![allow(unsafe_code)] // an allocator is an unsafe trait, and the C functions are called

use bnn::capi::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_char;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI64, AtomicIsize, Ordering::SeqCst};

/// What is large.
const LARGE: usize = 4096;

struct Refusing;

/// How many large allocations are still granted; below 0 none is, and far above all are.
static LEFT: AtomicI64 = AtomicI64::new(i64::MAX);
/// Bytes that are in use.
static LIVE: AtomicIsize = AtomicIsize::new(0);

fn refused(size: usize) -> bool {
    size >= LARGE && LEFT.fetch_sub(1, SeqCst) == 0
}

// SAFETY: every call that is not refused goes on to the system's allocator unchanged, and a null pointer says that there is no memory.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refused(layout.size()) {
            return null_mut();
        }
        LIVE.fetch_add(layout.size() as isize, SeqCst);
        // SAFETY: the layout is what the caller of this function promises it to be.
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && refused(size) {
            return null_mut();
        }
        LIVE.fetch_add(size as isize - layout.size() as isize, SeqCst);
        // SAFETY: `at` came from this allocator, which is the system's, with this layout.
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, SeqCst);
        // SAFETY: `at` came from this allocator, which is the system's, with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// Handles, freed whatever happens.
struct Handles {
    context: *mut bnn_context,
    corpus: *mut bnn_corpus,
    options: *mut bnn_options,
    report: *mut bnn_report,
    model: *mut bnn_model,
    trainer: *mut bnn_trainer,
    trained: *mut bnn_trainer,
    evaluator: *mut bnn_evaluator,
    sampler: *mut bnn_sampler,
    resumed: *mut bnn_sampler,
    ensemble: *mut bnn_ensemble,
    generator: *mut bnn_generator,
    probe: *mut bnn_probe,
    store: *mut bnn_store,
}

impl Drop for Handles {
    fn drop(&mut self) {
        // SAFETY: each is NULL or a handle that was made once.
        unsafe {
            bnn_store_free(self.store);
            bnn_probe_free(self.probe);
            bnn_generator_free(self.generator);
            bnn_ensemble_free(self.ensemble);
            bnn_sampler_free(self.resumed);
            bnn_sampler_free(self.sampler);
            bnn_evaluator_free(self.evaluator);
            bnn_trainer_free(self.trained);
            bnn_trainer_free(self.trainer);
            bnn_model_free(self.model);
            bnn_report_free(self.report);
            bnn_options_free(self.options);
            bnn_corpus_free(self.corpus);
            bnn_context_free(self.context);
        }
    }
}

/// What failed: the call, its status and its message.
type Failed = (&'static str, bnn_status, String);

/// Calls a function with an error object behind its arguments.
macro_rules! call {
    ($name:ident($($arg:expr),* $(,)?)) => {{
        let mut err = bnn_error { code: 0, message: [0; 508] };
        // SAFETY: handles are NULL or live, and every array has the length that is given with it.
        let status = unsafe { $name($($arg,)* &mut err) };
        if status != BNN_OK {
            let text = err.message.iter().take_while(|&&c| c != 0).map(|&c| c as u8 as char);
            return Err((stringify!($name), status, text.collect()));
        }
    }};
}

fn set(options: *mut bnn_options, name: &str, value: u64) -> Result<(), Failed> {
    call!(bnn_options_set_u64(
        options,
        name.as_ptr().cast(),
        name.len(),
        value
    ));
    Ok(())
}

fn word(options: *mut bnn_options, name: &str, value: &str) -> Result<(), Failed> {
    let (n, v) = (name.as_ptr().cast(), value.as_ptr().cast());
    call!(bnn_options_set_str(options, n, name.len(), v, value.len()));
    Ok(())
}

/// Allocates what is the caller's, while nothing is refused.
fn of_the_callers<R>(f: impl FnOnce() -> R) -> R {
    let left = LEFT.swap(i64::MAX, SeqCst);
    let made = f();
    LEFT.store(left, SeqCst);
    made
}

/// A text of some 9,000 characters and 40 different ones.
fn text() -> String {
    let words = (0..1500u32).map(|i| {
        let letters = (0..5).map(|j| (b'A' + (i * 7 + j * j * 11 + i / 3) as u8 % 40) as char);
        letters.chain([' ']).collect::<String>()
    });
    words.collect()
}

/// Everything, from a text to scores. The folder is empty; paths and the text are made before memory is short.
fn work(folder: &Path, text: &str, method: &str) -> Result<(), Failed> {
    let mut h = Handles {
        context: null_mut(),
        corpus: null_mut(),
        options: null_mut(),
        report: null_mut(),
        model: null_mut(),
        trainer: null_mut(),
        trained: null_mut(),
        evaluator: null_mut(),
        sampler: null_mut(),
        resumed: null_mut(),
        ensemble: null_mut(),
        generator: null_mut(),
        probe: null_mut(),
        store: null_mut(),
    };
    call!(bnn_context_new(1, &mut h.context));
    call!(bnn_corpus_from_text(
        text.as_ptr().cast(),
        text.len(),
        &mut h.corpus
    ));
    let (mut vocab, mut train, mut val) = (0, 0, 0);
    call!(bnn_corpus_sizes(h.corpus, &mut vocab, &mut train, &mut val));
    call!(bnn_report_new(&mut h.report));
    call!(bnn_options_new(&mut h.options));
    let o = h.options;
    for (name, value) in [
        ("n_layer", 1),
        ("n_head", 2),
        ("n_embd", 16),
        ("block_size", 16),
        ("batch_size", 4),
        ("baseline_iters", 4),
        ("warmup_steps", 2),
        ("sampling_steps", 4),
        ("thinning", 2),
        ("temperature_every", 1),
        ("num_epochs", 1),
        ("max_new_tokens", 40),
    ] {
        set(o, name, value)?;
    }
    word(o, "sampler", method)?;
    if method == "baoa" {
        word(o, "preconditioner", "rms")?;
        set(o, "preconditioner_steps", 2)?;
    }
    call!(bnn_model_new(h.context, o, vocab, &mut h.model));
    call!(bnn_trainer_new(
        h.model,
        h.corpus,
        o,
        BNN_START_FRESH,
        &mut h.trainer
    ));
    let mut loss = 0.0;
    for _ in 0..2 {
        call!(bnn_trainer_step(h.trainer, &mut loss));
    }
    let at = folder.join("trainer.bnn");
    let at = at.to_str().expect("UTF-8");
    let (path, len) = (at.as_ptr().cast::<c_char>(), at.len());
    let (mut is_best, none) = (0, null_mut::<f64>());
    call!(bnn_trainer_keep_best(h.trainer, 1.0, &mut is_best));
    call!(bnn_trainer_save(h.trainer, path, len));
    call!(bnn_trainer_load(
        h.model,
        h.corpus,
        o,
        path,
        len,
        &mut h.trained
    ));
    let tokens: Vec<u32> = of_the_callers(|| (0..65).map(|i| i % 30).collect());
    let (x, y) = (tokens.as_ptr(), tokens[1..].as_ptr());
    call!(bnn_trainer_step_tokens(h.trained, x, y, 64, none));
    call!(bnn_trainer_finish(h.trainer));
    call!(bnn_model_loss(h.model, h.corpus, BNN_SPLIT_VAL, &mut loss));
    let (mut n, mut block) = (0, 0);
    call!(bnn_model_sizes(h.model, &mut n, &mut block));
    let mut params = of_the_callers(|| vec![0.0f32; n]);
    call!(bnn_model_get_params(h.model, params.as_mut_ptr(), n));

    // Evaluations, of parameters of the caller's and of the model's.
    call!(bnn_evaluator_new(h.model, &mut h.evaluator));
    let (mut grad, e, p) = (
        of_the_callers(|| vec![0.0f32; 2 * n]),
        h.evaluator,
        params.as_ptr(),
    );
    let (to, squares) = (grad.as_mut_ptr(), grad[n..].as_mut_ptr());
    call!(bnn_evaluator_loss(e, p, n, x, y, 4, 16, 0, none, none));
    call!(bnn_evaluator_squares(
        e, p, n, x, y, 4, 16, 0, none, none, to, squares
    ));
    call!(bnn_evaluator_gradient(
        e,
        std::ptr::null(),
        0,
        x,
        y,
        4,
        16,
        0,
        none,
        none,
        to
    ));
    let (mut sample, mut many) = (null_mut(), of_the_callers(|| vec![0u32; 9000]));
    for (i, token) in many.iter_mut().enumerate() {
        *token = i as u32 % 30;
    }
    let (from, len) = (many.as_ptr(), many.len());
    call!(bnn_corpus_from_tokens(from, len, from, 0, 30, &mut sample));
    // SAFETY: it was made just now, and is freed once.
    unsafe { bnn_corpus_free(sample) };

    // A chain or a fit, which is saved and goes on from its file.
    call!(bnn_sampler_new(h.model, h.corpus, o, &mut h.sampler));
    let (mut phase, mut due) = (0, 0);
    for _ in 0..5 {
        call!(bnn_sampler_step(h.sampler, &mut phase, &mut due));
    }
    let path = folder.join("state.bnn");
    let path = path.to_str().expect("UTF-8");
    let (at, len) = (path.as_ptr().cast::<c_char>(), path.len());
    call!(bnn_sampler_save(h.sampler, at, len));
    call!(bnn_sampler_load(
        h.model,
        h.corpus,
        o,
        at,
        len,
        &mut h.resumed
    ));
    call!(bnn_sampler_step(h.resumed, &mut phase, &mut due));
    if ["baoa", "sgnht"].contains(&method) {
        call!(bnn_sampler_get_params(h.resumed, params.as_mut_ptr(), n));
    } else {
        call!(bnn_sampler_draw(h.resumed, 0, params.as_mut_ptr(), n));
    }

    if method != "baoa" {
        return Ok(()); // the rest does not depend on the method
    }

    // Samples in memory and on disk, their scores and their text.
    call!(bnn_ensemble_new(h.model, &mut h.ensemble));
    for _ in 0..2 {
        call!(bnn_ensemble_add(h.ensemble, params.as_ptr(), n));
    }
    call!(bnn_ensemble_evaluate(
        h.ensemble,
        h.corpus,
        BNN_SPLIT_VAL,
        None,
        null_mut(),
        h.report
    ));
    let tokens: Vec<u32> = (0..60).map(|i| i % 30).collect();
    let mut scores = vec![0.0; tokens.len() - 1];
    call!(bnn_ensemble_score(
        h.ensemble,
        tokens.as_ptr(),
        tokens.len(),
        scores.as_mut_ptr(),
        null_mut(),
        null_mut()
    ));
    call!(bnn_generator_new(h.ensemble, h.corpus, o, &mut h.generator));
    let mut written = vec![0u8; 400];
    let (mut needed, mut entropy, mut mutual) = (0, 0.0, 0.0);
    call!(bnn_generator_generate(
        h.generator,
        text.as_ptr().cast(),
        20,
        o,
        0,
        None,
        null_mut(),
        written.as_mut_ptr().cast(),
        written.len(),
        &mut needed,
        &mut entropy,
        &mut mutual
    ));
    call!(bnn_probe_new(
        h.model,
        h.corpus,
        BNN_SPLIT_VAL,
        64,
        &mut h.probe
    ));
    let mut log_probs = vec![0.0f64; 64];
    call!(bnn_probe_log_probs(
        h.probe,
        params.as_ptr(),
        n,
        log_probs.as_mut_ptr(),
        log_probs.len(),
        &mut needed
    ));
    let path = folder.join("samples");
    let path = path.to_str().expect("UTF-8");
    let (at, len) = (path.as_ptr().cast::<c_char>(), path.len());
    call!(bnn_store_new(h.model, h.corpus, o, at, len, &mut h.store));
    call!(bnn_store_append(h.store, 0, 4, params.as_ptr(), n));
    let (mut chain, mut step) = (0, 0);
    call!(bnn_store_get(
        h.store,
        0,
        &mut chain,
        &mut step,
        params.as_mut_ptr(),
        n
    ));
    call!(bnn_store_verify(h.store));
    call!(bnn_store_score(
        h.store,
        h.model,
        h.corpus,
        BNN_SPLIT_VAL,
        0,
        1,
        None,
        null_mut(),
        h.report
    ));
    Ok(())
}

/// Does the work on a thread of its own, whose buffers end with it, with the k-th large allocation refused; what is left behind, in bytes.
fn with_refused(k: i64, text: &str, method: &str) -> (Result<(), Failed>, isize, i64) {
    let folder = tempfile::tempdir().expect("a folder");
    let before = LIVE.load(SeqCst);
    let run = || {
        LEFT.store(k, SeqCst);
        let result = work(folder.path(), text, method);
        let left = LEFT.swap(i64::MAX, SeqCst);
        (result, left)
    };
    let (result, left) = std::thread::scope(|s| s.spawn(run).join().expect("no panic"));
    let message = result.as_ref().err().map_or(0, |(_, _, m)| m.capacity());
    let kept = || LIVE.load(SeqCst) - before - message as isize;
    // A thread that reads samples ahead may have a name to give back still.
    for _ in 0..1000 {
        if kept() == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    (result, kept(), left)
}

#[test]
fn every_large_allocation_may_be_refused() {
    let text = text();
    for method in ["baoa", "sgnht", "ekf", "vi", "laplace"] {
        // What is made once and kept is made here.
        let (whole, _, _) = with_refused(i64::MAX / 2, &text, method);
        whole.unwrap_or_else(|e| panic!("{method} with all memory: {e:?}"));
        let mut k = 0;
        loop {
            if std::env::var_os("BNN_PRINT_K").is_some() {
                eprintln!("{method}, allocation {k}");
            }
            let (result, kept, left) = with_refused(k, &text, method);
            assert_eq!(
                kept, 0,
                "{method}, allocation {k}: bytes left behind after {result:?}"
            );
            match result {
                Ok(()) => {
                    assert!(
                        left >= 0,
                        "{method}: allocation {k} was refused, and no call said so"
                    );
                    break;
                }
                Err((call, status, message)) => {
                    assert_eq!(
                        status, BNN_ERR_NO_MEMORY,
                        "{method}, allocation {k}, {call}: {message}"
                    );
                    assert!(message.contains("no memory for"), "{call}: {message}");
                }
            }
            k += 1;
        }
        println!("{method}: {k} large allocations, each refused once");
        assert!(k > 50, "{method}: {k} large allocations");
    }
}
