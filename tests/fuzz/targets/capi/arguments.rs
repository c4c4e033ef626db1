//! Arguments of C functions by their types: handles that are live or NULL, arrays that are as long as the lengths beside them, callbacks.

use bnn::capi::*;
use bnn::settings::TABLE;
use bnn_fuzz::numbers::Rng;
use bnn_fuzz::place::Place;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::LazyLock;

/// Elements of each array: more than any product of lengths that one call is given.
pub const ROOM: usize = 1 << 15;
/// Handles of one kind that are kept.
pub const KEPT: usize = 2;

pub static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let place = Place::new("capi");
    std::env::set_current_dir(place.path("")).expect("a folder");
    place
});

/// Words that mean something somewhere: settings and their values, rows of reports, files, fields.
pub static WORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
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
pub struct Slots<T> {
    pub kept: [*mut T; KEPT],
    made: *mut T,
}

impl<T> Slots<T> {
    const EMPTY: Self = Self {
        kept: [null_mut(); KEPT],
        made: null_mut(),
    };
}

/// A kind of handle.
pub trait Handle: Sized {
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
        pub struct State<'a> {
            pub bytes: &'a [u8],
            pub rng: Rng,
            /// Length of the text that was just given.
            pub text: Option<usize>,
            /// Whether this call has a large length already.
            pub large: bool,
            /// Whether numbers may be as large as they like.
            pub extreme: bool,
            pub n_params: usize,
            next: usize,
            pub arrays: &'a mut Arrays,
            err: bnn_error,
            calls_back: u32,
            $(pub $name: Slots<$type>,)*
        }

        impl<'a> State<'a> {
            pub fn new(bytes: &'a [u8], arrays: &'a mut Arrays) -> Self {
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

            pub fn free_all(&mut self) {
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
    evaluators: bnn_evaluator, bnn_evaluator_free;
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
pub struct Arrays {
    pub singles: Vec<f32>,
    doubles: Vec<f64>,
    tokens: Vec<u32>,
    flags: Vec<i32>,
    texts: Vec<*const c_char>,
    rows: Vec<*const u32>,
    lens: Vec<usize>,
    to: Vec<u64>,
}

/// Versions of what is read; places to write to.
pub const VERSIONS: usize = 4;
pub const PLACES: usize = 8;

impl Arrays {
    pub fn new() -> Self {
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
        let tokens: Vec<u32> = (0..n)
            .map(|i| {
                if i / ROOM == 2 && i % 31 == 7 {
                    u32::MAX
                } else {
                    (i * i % 8) as u32
                }
            })
            .collect();
        Self {
            // The memory of a vector stays where it is when the vector moves.
            rows: (0..ROOM)
                .map(|i| tokens[i % VERSIONS * ROOM + i % 7..].as_ptr())
                .collect(),
            tokens,
            singles: doubles.iter().map(|&x| x as f32).collect(),
            flags: (0..n).map(|i| (i % 2) as i32).collect(),
            texts: (0..ROOM).map(|i| text(i).as_ptr().cast()).collect(),
            lens: (0..ROOM).map(|i| text(i).len()).collect(),
            doubles,
            to: vec![0; PLACES * ROOM],
        }
    }
}

impl State<'_> {
    pub fn byte(&mut self) -> u8 {
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

    pub fn done(&mut self, status: i32) {
        let message: Vec<u8> = self
            .err
            .message
            .iter()
            .take_while(|c| **c != 0)
            .map(|c| *c as u8)
            .collect();
        assert!(
            (0..=BNN_ERR_STATE).contains(&status) && status != BNN_ERR_PANIC,
            "{status}: {}",
            String::from_utf8_lossy(&message)
        );
        self.keep();
        self.text = None;
        self.large = false;
    }
}

/// What a function's argument can be, by its type.
pub trait Arg {
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

arrays! { singles: f32; doubles: f64; tokens: u32; flags: i32; }

impl Arg for *const *const c_char {
    fn take(s: &mut State) -> Self {
        s.arrays.texts.as_ptr()
    }
}

impl Arg for *const *const u32 {
    fn take(s: &mut State) -> Self {
        s.arrays.rows.as_ptr()
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

written! { f32 f64 u32 u64 usize i32 c_char }

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
pub fn goes_on(user_data: *mut c_void) -> i32 {
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

unsafe extern "C" fn token(user_data: *mut c_void, _: u32, _: f64, _: f64, _: f64) -> i32 {
    goes_on(user_data)
}

unsafe extern "C" fn batch_token(
    user_data: *mut c_void,
    _: usize,
    _: u32,
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
    bnn_progress_callback = progressed;
}

unsafe extern "C" fn progressed(user_data: *mut c_void, _: u64, _: u64) -> i32 {
    goes_on(user_data)
}

unsafe extern "C" fn schedule(_: *mut c_void, step: u64, h: *mut f64, t: *mut f64) -> i32 {
    // SAFETY: the library gives two places.
    unsafe {
        h.write(1.0 / (1.0 + step as f64));
        t.write(1.0);
    }
    1
}
