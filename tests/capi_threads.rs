//! What the C interface lets several threads share: a device, a text and a model, used at once and freed by whoever comes last.
//! `tests/sanitize.sh thread` looks for races in it.

use bnn::capi::*;
use std::ptr::{null, null_mut};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const TEXT: &str = "abcabdacbdabcdabcabdacbdabcdabcdabdcabcdbacdabcdbacd\
                    dcbaabcdbdacdbacabcdabdcabcdabcabdacbdabcdbadcabcdba";
const THREADS: usize = 3;

/// A handle that another thread may use, as the header says of its kind.
struct Shared<T>(*mut T);

// SAFETY: contexts, texts and models are documented to be shared between threads; what is one thread's alone is never put in here.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

fn options(pairs: &[(&str, u64)]) -> *mut bnn_options {
    let mut options = null_mut();
    // SAFETY: the handle is live and texts have their lengths.
    unsafe {
        assert_eq!(bnn_options_new(&mut options, null_mut()), BNN_OK);
        let (name, value) = ("shape", "tiny");
        let set = bnn_options_set_str(
            options,
            name.as_ptr().cast(),
            name.len(),
            value.as_ptr().cast(),
            value.len(),
            null_mut(),
        );
        assert_eq!(set, BNN_OK);
        for (name, value) in pairs {
            let name_at = name.as_ptr().cast();
            let set = bnn_options_set_u64(options, name_at, name.len(), *value, null_mut());
            assert_eq!(set, BNN_OK);
        }
    }
    options
}

const SMALL: &[(&str, u64)] = &[
    ("n_layer", 1),
    ("n_head", 1),
    ("n_embd", 8),
    ("block_size", 8),
    ("batch_size", 2),
    ("warmup_steps", 2),
    ("sampling_steps", 4),
    ("thinning", 2),
    ("preconditioner_steps", 2),
];

/// Each thread samples with a chain of its own on one device, one text and one model, and asks the model in between. All find the same chain.
#[test]
fn threads_share_a_device_a_text_and_a_model() {
    let (mut context, mut corpus, mut model) = (null_mut(), null_mut(), null_mut());
    let settings = options(SMALL);
    let mut n = 0;
    // SAFETY: handles are live, and what is written to is this test's own.
    unsafe {
        assert_eq!(bnn_context_new(2, &mut context, null_mut()), BNN_OK);
        let text = TEXT.as_ptr().cast();
        assert_eq!(
            bnn_corpus_from_text(text, TEXT.len(), &mut corpus, null_mut()),
            BNN_OK
        );
        assert_eq!(
            bnn_model_new(context, settings, 4, &mut model, null_mut()),
            BNN_OK
        );
        let mut block = 0;
        assert_eq!(
            bnn_model_sizes(model, &mut n, &mut block, null_mut()),
            BNN_OK
        );
        bnn_options_free(settings);
        // The model keeps its device.
        bnn_context_free(context);
    }
    let (shared_corpus, shared_model) = (Shared(corpus), Shared(model));
    let barrier = Barrier::new(THREADS);
    let chain = || {
        let (corpus, model) = (shared_corpus.get(), shared_model.get());
        let options = options(SMALL);
        let (mut sampler, mut params) = (null_mut(), vec![0.0f32; n]);
        let mut answers = 0;
        barrier.wait();
        // SAFETY: the sampler and the options are this thread's own; the others may be shared.
        unsafe {
            // Readers of a model do not wait for each other.
            let made = bnn_sampler_new(model, corpus, options, &mut sampler, null_mut());
            assert_eq!(made, BNN_OK);
            let (mut phase, mut due, mut loss) = (BNN_PHASE_WARMUP, 0, 0.0);
            while phase != BNN_PHASE_DONE {
                assert_eq!(
                    bnn_sampler_step(sampler, &mut phase, &mut due, null_mut()),
                    BNN_OK
                );
                let asked = bnn_model_loss(model, corpus, BNN_SPLIT_VAL, &mut loss, null_mut());
                assert_eq!(asked, BNN_OK);
                answers += usize::from(loss > 0.0);
            }
            let to = params.as_mut_ptr();
            assert_eq!(bnn_sampler_get_params(sampler, to, n, null_mut()), BNN_OK);
            bnn_options_free(options);
            bnn_sampler_free(sampler);
        }
        (params, answers)
    };
    let found: Vec<(Vec<f32>, usize)> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..THREADS).map(|_| scope.spawn(chain)).collect();
        all.into_iter()
            .map(|t| t.join().expect("no panic"))
            .collect()
    });
    assert!(found.iter().all(|(params, _)| *params == found[0].0));
    // 2 steps for the mass, 2 of warm-up, 4 of sampling, each with an answer.
    assert!(found.iter().all(|(_, answers)| *answers == 8));
    std::thread::scope(|scope| {
        // SAFETY: it is freed once, by another thread than the one that made it.
        scope.spawn(|| unsafe { bnn_model_free(shared_model.get()) });
        // SAFETY: as above.
        scope.spawn(|| unsafe { bnn_corpus_free(shared_corpus.get()) });
    });
}

/// Each thread evaluates one model with an evaluator of its own while another thread sets its parameters again and again: none is told to wait, and at
/// parameters of its own each finds the bits of one thread alone. Broken: one lock around the model's parameters, BUSY.
#[test]
fn evaluators_of_one_model_work_at_once() {
    let settings = options(SMALL);
    let (mut context, mut model) = (null_mut(), null_mut());
    let (mut n, done) = (0, AtomicBool::new(false));
    // SAFETY: handles are live, and what is written to is this test's own.
    unsafe {
        assert_eq!(bnn_context_new(2, &mut context, null_mut()), BNN_OK);
        let made = bnn_model_new(context, settings, 4, &mut model, null_mut());
        assert_eq!(made, BNN_OK);
        let sizes = bnn_model_sizes(model, &mut n, null_mut(), null_mut());
        assert_eq!(sizes, BNN_OK);
    }
    let shared = Shared(model);
    let work = &|seed: u32| {
        let params: Vec<f32> = (0..n as u32)
            .map(|i| ((i * 7 + seed) % 13) as f32 / 40.0)
            .collect();
        let (x, y) = ([0u32, 1, 2, 3, 0, 1, 2, 3], [1u32, 2, 3, 0, 1, 2, 3, 0]);
        let (mut evaluator, mut loss, mut grad) = (null_mut(), 0.0, vec![0.0f32; n]);
        let (p, x, y) = (params.as_ptr(), x.as_ptr(), y.as_ptr());
        // SAFETY: the evaluator is this thread's own, and lengths are true.
        unsafe {
            let made = bnn_evaluator_new(shared.get(), &mut evaluator, null_mut());
            assert_eq!(made, BNN_OK);
            let (e, none) = (evaluator, null_mut());
            for (p, n) in [(null(), 0), (p, n)].into_iter().cycle().take(40) {
                let (to, err) = (grad.as_mut_ptr(), null_mut());
                let status =
                    bnn_evaluator_gradient(e, p, n, x, y, 2, 4, 0, &mut loss, none, to, err);
                assert_eq!(status, BNN_OK);
            }
            bnn_evaluator_free(evaluator);
        }
        (loss.to_bits(), grad)
    };
    let alone: Vec<_> = (0..8).map(work).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let setter = scope.spawn(|| {
            let mut params = vec![0.0f32; n];
            let mut times = 0;
            while !done.load(Relaxed) || times == 0 {
                params.fill(0.01 * (times % 7) as f32);
                // SAFETY: the model is shared, the parameters are this thread's own.
                let set =
                    unsafe { bnn_model_set_params(shared.get(), params.as_ptr(), n, null_mut()) };
                assert_eq!(set, BNN_OK);
                times += 1;
            }
        });
        let all: Vec<_> = (0..8).map(|seed| scope.spawn(move || work(seed))).collect();
        let found = all
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .collect();
        done.store(true, Relaxed);
        setter.join().expect("no panic");
        found
    });
    assert!(alone == together);
    // SAFETY: each is freed once.
    unsafe {
        bnn_model_free(model);
        bnn_context_free(context);
        bnn_options_free(settings);
    }
}

/// Devices with threads come and go on several threads at once.
#[test]
fn devices_come_and_go() {
    let work = || {
        for threads in 1..=3 {
            let (mut context, mut model) = (null_mut(), null_mut());
            let settings = options(SMALL);
            let (x, y) = ([0u32, 1, 2, 3, 0, 1, 2, 3], [1u32, 2, 3, 0, 1, 2, 3, 0]);
            // SAFETY: all handles are this thread's own and lengths are true.
            unsafe {
                assert_eq!(bnn_context_new(threads, &mut context, null_mut()), BNN_OK);
                assert_eq!(
                    bnn_model_new(context, settings, 4, &mut model, null_mut()),
                    BNN_OK
                );
                let (mut n, mut block, mut loss) = (0, 0, 0.0);
                assert_eq!(
                    bnn_model_sizes(model, &mut n, &mut block, null_mut()),
                    BNN_OK
                );
                let mut grad = vec![0.0f32; n];
                let to = grad.as_mut_ptr();
                let (x, y) = (x.as_ptr(), y.as_ptr());
                let mut evaluator = null_mut();
                let status = bnn_evaluator_new(model, &mut evaluator, null_mut());
                assert_eq!(status, BNN_OK);
                let (e, own, none, err) = (evaluator, null(), null_mut(), null_mut());
                let status =
                    bnn_evaluator_gradient(e, own, 0, x, y, 1, 8, 0, &mut loss, none, to, err);
                assert_eq!(status, BNN_OK);
                assert!(loss > 0.0);
                bnn_evaluator_free(evaluator);
                bnn_context_free(context);
                bnn_options_free(settings);
                bnn_model_free(model);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
}
