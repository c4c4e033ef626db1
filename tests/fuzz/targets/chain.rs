//! The state of a chain or a fit: what is accepted can be asked, goes on, and is saved and read again.
#![no_main]

use bnn::Error;
use bnn::backend::Cpu;
use bnn::inference::Session;
use bnn_fuzz::{cost, place::Place, sealed, sessions::Sessions};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::path::Path;

thread_local! {
    static PLACE: Place = Place::new("chain");
    static ALL: Sessions = Sessions::new(&PLACE.with(|p| p.path("settings.toml")));
}

fn read(bytes: &[u8], place: &Place, all: &Sessions) {
    // The seed says which session's it is; for another one it would be refused.
    let Some(parts) = sealed::Sealed::open(bytes) else {
        return;
    };
    let i = parts.seed as usize % all.len();
    let path = place.file("state.bnn", bytes);
    let opened = cost::within(bytes.len(), || look(&path, i, all));
    let Some(mut s) = opened else {
        return;
    };
    let copy = place.path("copy.bnn");
    match s.save(&copy) {
        Ok(()) => {
            let again = all.open(i, Some(&copy)).expect("what was saved is read");
            assert_eq!(again.steps_made(), s.steps_made());
        }
        // Diverged; not recorded; a deviation that is 0.
        Err(Error::NotFinite { .. } | Error::Conflict(_) | Error::OutOfRange { .. }) => {}
        Err(e) => panic!("{e}"),
    }
}

/// Opens a session, asks it everything and makes two steps.
fn look(path: &Path, i: usize, all: &Sessions) -> Option<Session<Cpu>> {
    let mut s = all.open(i, Some(path)).ok()?;
    let _ = s.curvature();
    let _ = s.sampler_now();
    let _ = s.mean_momentum();
    let _ = s.sd();
    let _ = s.prior_fit();
    let _ = s.draw(0);
    for _ in 0..2 {
        if all.step(&mut s).is_err() {
            break;
        }
    }
    Some(s)
}

fuzz_target!(|bytes: &[u8]| PLACE.with(|place| ALL.with(|all| read(bytes, place, all))));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealed::mutate(data, size, max_size, seed)
});
