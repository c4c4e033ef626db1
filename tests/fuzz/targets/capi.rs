//! The C interface: functions in any order, with handles that are valid or NULL and lengths that are true. None may crash or report a defect.
#![no_main]
#![allow(non_camel_case_types)]

use bnn::capi::*;
use bnn::settings::TABLE;
use bnn_fuzz::numbers::Rng;
use bnn_fuzz::place::Place;
use libfuzzer_sys::fuzz_target;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::LazyLock;

/// Elements of each array: more than any product of lengths that one call is given.
const ROOM: usize = 1 << 15;
/// Handles of one kind that are kept.
const KEPT: usize = 2;

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let place = Place::new("capi");
    std::env::set_current_dir(place.path("")).expect("a folder");
    place
});

/// Words that mean something somewhere: settings and their values, rows of reports, files, fields.
static WORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut all: Vec<&str> = TABLE
        .iter()
        .flat_map(|row| row.words().into_iter().chain([row.name]))
        .collect();
    all.extend([
        "file.bnn",
        "other.bnn",
        "folder",
        "missing/file",
        "name",
        "help",
        "default",
        "range",
        "kind",
        "value",
        "verdict",
        "rhat",
        "rhat.worst",
        "step_size",
        "kinetic.mean",
        "log_post",
        "log_lik",
        "moved",
        "gain",
        "z",
        "nll",
        "baseline.nll",
        "abcabc",
        "",
        "a",
        "hgfedcba",
        "\u{e9}",
    ]);
    let mut all: Vec<Vec<u8>> = all.into_iter().map(|w| w.as_bytes().to_vec()).collect();
    all.push(b"\xff\xfe".to_vec());
    all
});

/// Handles of one kind.
struct Slots<T> {
    kept: [*mut T; KEPT],
    made: *mut T,
}

impl<T> Slots<T> {
    const EMPTY: Self = Self {
        kept: [null_mut(); KEPT],
        made: null_mut(),
    };
}

/// A kind of handle.
trait Handle: Sized {
    fn slots<'s>(s: &'s mut State<'_>) -> &'s mut Slots<Self>;
    fn free(p: *mut Self);
}

macro_rules! handles {
    ($($name:ident: $type:ty, $free:ident;)*) => {
        $(impl Handle for $type {
            fn slots<'s>(s: &'s mut State<'_>) -> &'s mut Slots<Self> {
                &mut s.$name
            }

            fn free(p: *mut Self) {
                // SAFETY: the handle came from the library, and its slot is empty from now on.
                unsafe { $free(p) }
            }
        })*

        /// The rest of the input, the handles, and arrays to read and to write.
        struct State<'a> {
            bytes: &'a [u8],
            rng: Rng,
            /// Length of the text that was just given.
            text: Option<usize>,
            /// Whether this call has a large length already.
            large: bool,
            /// Whether numbers may be as large as they like.
            extreme: bool,
            n_params: usize,
            next: usize,
            arrays: &'a mut Arrays,
            err: bnn_error,
            calls_back: u32,
            $($name: Slots<$type>,)*
        }

        impl<'a> State<'a> {
            fn new(bytes: &'a [u8], arrays: &'a mut Arrays) -> Self {
                Self {
                    bytes, rng: Rng(1), text: None, large: false, extreme: false, n_params: 0, next: 0, arrays,
                    err: bnn_error { code: 0, message: [0; 508] }, calls_back: 0,
                    $($name: Slots::EMPTY,)*
                }
            }

            /// Keeps what a call made.
            fn keep(&mut self) {
                let at = self.byte() as usize % KEPT;
                $({
                    let made = std::mem::replace(&mut self.$name.made, null_mut());
                    if !made.is_null() {
                        <$type>::free(std::mem::replace(&mut self.$name.kept[at], made));
                    }
                })*
            }

            fn free_all(&mut self) {
                $(for p in &mut self.$name.kept {
                    <$type>::free(std::mem::replace(p, null_mut()));
                })*
            }
        }
    };
}

handles! {
    contexts: bnn_context, bnn_context_free;
    corpora: bnn_corpus, bnn_corpus_free;
    ensembles: bnn_ensemble, bnn_ensemble_free;
    generators: bnn_generator, bnn_generator_free;
    models: bnn_model, bnn_model_free;
    options: bnn_options, bnn_options_free;
    probes: bnn_probe, bnn_probe_free;
    reports: bnn_report, bnn_report_free;
    samplers: bnn_sampler, bnn_sampler_free;
    stores: bnn_store, bnn_store_free;
    trainers: bnn_trainer, bnn_trainer_free;
}

/// Arrays to read from, each in several versions, and to write to, several at a time.
struct Arrays {
    singles: Vec<f32>,
    doubles: Vec<f64>,
    tokens: Vec<u16>,
    flags: Vec<i32>,
    texts: Vec<*const c_char>,
    lens: Vec<usize>,
    to: Vec<u64>,
}

/// Versions of what is read; places to write to.
const VERSIONS: usize = 4;
const PLACES: usize = 8;

impl Arrays {
    fn new() -> Self {
        let mut rng = Rng(3);
        let n = VERSIONS * ROOM;
        // Small numbers, zeros, small ones with a NaN or an infinity here and there, large ones.
        let mut real = |i: usize| match i / ROOM {
            0 => rng.below(2001) as f64 / 1000.0 - 1.0,
            1 => 0.0,
            2 if i % 97 == 5 => rng.pick(&[f64::NAN, f64::INFINITY, -1.0, 1e300]),
            2 => 0.125,
            _ => 1e20 * (rng.below(3) as f64 - 1.0),
        };
        let doubles: Vec<f64> = (0..n).map(&mut real).collect();
        let text = |i: usize| &WORDS[i % WORDS.len()];
        Self {
            singles: doubles.iter().map(|&x| x as f32).collect(),
            tokens: (0..n)
                .map(|i| {
                    if i / ROOM == 2 && i % 31 == 7 {
                        u16::MAX
                    } else {
                        (i * i % 8) as u16
                    }
                })
                .collect(),
            flags: (0..n).map(|i| (i % 2) as i32).collect(),
            texts: (0..ROOM).map(|i| text(i).as_ptr().cast()).collect(),
            lens: (0..ROOM).map(|i| text(i).len()).collect(),
            doubles,
            to: vec![0; PLACES * ROOM],
        }
    }
}

impl State<'_> {
    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((&first, rest)) => {
                self.bytes = rest;
                first
            }
            None => self.rng.next() as u8,
        }
    }

    fn read_at<T>(&mut self, of: impl FnOnce(&Arrays) -> &Vec<T>) -> *const T {
        match self.byte() {
            0 => null(),
            b => of(self.arrays)[usize::from(b) % VERSIONS * ROOM..].as_ptr(),
        }
    }

    fn write_at<T>(&mut self) -> *mut T {
        if self.byte() == 0 {
            return null_mut();
        }
        self.next = (self.next + 1) % PLACES;
        self.arrays.to[self.next * ROOM..].as_mut_ptr().cast()
    }

    fn done(&mut self, status: i32) {
        let message: Vec<u8> = self
            .err
            .message
            .iter()
            .take_while(|c| **c != 0)
            .map(|c| *c as u8)
            .collect();
        assert!(
            (0..=20).contains(&status) && status != BNN_ERR_PANIC,
            "{status}: {}",
            String::from_utf8_lossy(&message)
        );
        self.keep();
        self.text = None;
        self.large = false;
    }
}

/// What a function's argument can be, by its type.
trait Arg {
    fn take(s: &mut State) -> Self;
}

impl<T: Handle> Arg for *const T {
    fn take(s: &mut State) -> Self {
        <*mut T>::take(s)
    }
}

impl<T: Handle> Arg for *mut T {
    fn take(s: &mut State) -> Self {
        match s.byte() {
            0 => null_mut(),
            b => T::slots(s).kept[usize::from(b) % KEPT],
        }
    }
}

impl<T: Handle> Arg for *mut *mut T {
    fn take(s: &mut State) -> Self {
        if s.byte() == 0 {
            null_mut()
        } else {
            &mut T::slots(s).made
        }
    }
}

macro_rules! arrays {
    ($($name:ident: $type:ty;)*) => {
        $(impl Arg for *const $type {
            fn take(s: &mut State) -> Self {
                s.read_at(|a| &a.$name)
            }
        })*
    };
}

arrays! { singles: f32; doubles: f64; tokens: u16; flags: i32; }

impl Arg for *const *const c_char {
    fn take(s: &mut State) -> Self {
        s.arrays.texts.as_ptr()
    }
}

impl Arg for *const usize {
    fn take(s: &mut State) -> Self {
        s.arrays.lens.as_ptr()
    }
}

macro_rules! written {
    ($($type:ty)*) => {
        $(impl Arg for *mut $type {
            fn take(s: &mut State) -> Self {
                s.write_at()
            }
        })*
    };
}

written! { f32 f64 u16 u32 u64 usize i32 c_char }

impl Arg for *const c_char {
    fn take(s: &mut State) -> Self {
        match s.byte() {
            0 => {
                s.text = Some(usize::from(s.byte()) % 3);
                null()
            }
            b => {
                let word = &WORDS[(usize::from(b) * 256 + usize::from(s.byte())) % WORDS.len()];
                s.text = Some(word.len());
                word.as_ptr().cast()
            }
        }
    }
}

impl Arg for usize {
    fn take(s: &mut State) -> Self {
        if let Some(len) = s.text.take() {
            return len;
        }
        let b = usize::from(s.byte());
        match b % 16 {
            // The one length that fits a model, or nearly.
            0..8 if !s.large => {
                s.large = true;
                if b < 8 {
                    b.wrapping_sub(4).wrapping_add(s.n_params) % ROOM.min(1024)
                } else {
                    s.n_params
                }
            }
            _ => b / 16 % 9,
        }
    }
}

impl Arg for u64 {
    fn take(s: &mut State) -> Self {
        match s.byte() {
            b @ 0..220 => u64::from(b % 10),
            b if s.extreme => u64::MAX >> (b % 2),
            b => u64::from(b % 30),
        }
    }
}

impl Arg for u32 {
    fn take(s: &mut State) -> Self {
        u32::from(s.byte() % 3)
    }
}

impl Arg for i32 {
    fn take(s: &mut State) -> Self {
        i32::from(s.byte() % 4) - 1
    }
}

impl Arg for f64 {
    fn take(s: &mut State) -> Self {
        let b = s.byte();
        let mut rng = Rng(b.into());
        if b < 128 {
            f64::from(b) / 64.0
        } else {
            rng.real(1.0)
        }
    }
}

impl Arg for *mut bnn_error {
    fn take(s: &mut State) -> Self {
        if s.byte() == 0 {
            null_mut()
        } else {
            &mut s.err
        }
    }
}

impl Arg for *mut c_void {
    fn take(s: &mut State) -> Self {
        s.calls_back = 0;
        (&raw mut s.calls_back).cast()
    }
}

/// Whether a callback goes on: a few times.
fn goes_on(user_data: *mut c_void) -> i32 {
    // SAFETY: every call is given the counter of its state, which lives longer.
    let calls = unsafe { &mut *user_data.cast::<u32>() };
    *calls += 1;
    i32::from(*calls < 12)
}

unsafe extern "C" fn stepped(user_data: *mut c_void, _: u64, _: f64) -> i32 {
    goes_on(user_data)
}

unsafe extern "C" fn gradient(
    user_data: *mut c_void,
    params: *const f32,
    n: usize,
    grad: *mut f32,
) -> i32 {
    for i in 0..n {
        // SAFETY: the library says that both have n elements.
        unsafe { grad.add(i).write(-*params.add(i)) };
    }
    goes_on(user_data)
}

unsafe extern "C" fn token(user_data: *mut c_void, _: u16, _: f64, _: f64, _: f64) -> i32 {
    goes_on(user_data)
}

unsafe extern "C" fn batch_token(
    user_data: *mut c_void,
    _: usize,
    _: u16,
    _: f64,
    _: f64,
    _: f64,
) -> i32 {
    goes_on(user_data)
}

macro_rules! callbacks {
    ($($type:ty = $f:ident;)*) => {
        $(impl Arg for $type {
            fn take(_: &mut State) -> Self {
                Some($f)
            }
        })*
    };
}

callbacks! {
    bnn_step_callback = stepped;
    bnn_gradient_callback = gradient;
    bnn_token_callback = token;
    bnn_batch_token_callback = batch_token;
    bnn_schedule_callback = schedule;
}

unsafe extern "C" fn schedule(_: *mut c_void, step: u64, h: *mut f64, t: *mut f64) -> i32 {
    // SAFETY: the library gives two places.
    unsafe {
        h.write(1.0 / (1.0 + step as f64));
        t.write(1.0);
    }
    1
}

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
    A B C D E F G H I J K L M;
    A B C D E F G H I J K L M N O;
}

/// Calls one of these, which are given with as many underscores as they have arguments.
macro_rules! one_of {
    ($s:ident; $($f:ident($($arg:tt)+))*) => {{
        let all: &[fn(&mut State)] = &[$(|s| {
            s.extreme = matches!(stringify!($f), "bnn_options_set_u64" | "bnn_sampler_extend" | "bnn_agreement" | "bnn_sampler_draw" | "bnn_store_append");
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
        bnn_context_threads(1 2 3)
        bnn_corpus_from_file(1 2 3 4)
        bnn_corpus_from_text(1 2 3 4)
        bnn_corpus_sizes(1 2 3 4 5)
        bnn_corpus_tokens(1 2 3 4 5 6)
        bnn_corpus_encode(1 2 3 4 5 6 7)
        bnn_corpus_decode(1 2 3 4 5 6 7)
        bnn_sampler_curvature(1 2 3 4 5)
        bnn_sampler_curvature_with_gradients(1 2 3 4 5 6)
        bnn_energy(1 2 3 4 5 6 7)
        bnn_ensemble_new(1 2 3)
        bnn_ensemble_add(1 2 3 4)
        bnn_ensemble_len(1 2 3)
        bnn_ensemble_evaluate(1 2 3 4 5)
        bnn_ensemble_score(1 2 3 4 5 6 7)
        bnn_generator_new(1 2 3 4 5)
        bnn_generator_generate(1 2 3 4 5 6 7 8 9 10 11 12 13)
        bnn_generator_generate_batch(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
        bnn_generator_score_texts(1 2 3 4 5 6 7 8)
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
        bnn_model_tensor(1 2 3 4 5 6 7 8)
        bnn_model_loss(1 2 3 4 5)
        bnn_model_gradient(1 2 3 4 5 6 7 8 9 10)
        bnn_model_save(1 2 3 4 5 6)
        bnn_model_load(1 2 3 4 5 6)
        bnn_options_new(1 2)
        bnn_options_set_f64(1 2 3 4 5)
        bnn_options_set_u64(1 2 3 4 5)
        bnn_options_set_str(1 2 3 4 5 6)
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
        bnn_sampler_step(1 2 3 4)
        bnn_sampler_step_tokens(1 2 3 4 5 6 7)
        bnn_sampler_step_gradient(1 2 3 4 5 6 7 8)
        bnn_sampler_step_squares(1 2 3 4 5 6 7 8 9)
        bnn_sampler_get_params(1 2 3 4)
        bnn_sampler_get_normals(1 2 3 4 5)
        bnn_sampler_draw(1 2 3 4 5)
        bnn_sampler_report(1 2 3)
        bnn_sampler_step_size(1 2 3)
        bnn_sampler_forecast(1 2 3)
        bnn_sampler_temperature(1 2 3 4)
        bnn_sampler_watch(1 2 3 4 5 6)
        bnn_sampler_llc(1 2 3)
        bnn_sampler_energy(1 2 3)
        bnn_sampler_prior_fit(1 2 3)
        bnn_store_movement(1 2 3 4 5 6)
        bnn_store_score(1 2 3 4 5 6 7 8)
        bnn_store_new(1 2 3 4 5 6 7)
        bnn_store_open(1 2 3 4 5 6)
        bnn_store_len(1 2 3)
        bnn_store_append(1 2 3 4 5 6)
        bnn_store_get(1 2 3 4 5 6 7)
        bnn_store_verify(1 2)
        bnn_store_keep_last(1 2 3 4)
        bnn_store_keep_every(1 2 3 4)
        bnn_trainer_new(1 2 3 4 5)
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
