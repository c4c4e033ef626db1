//! Settings in TOML, given and recorded, and what is filled from them.
#![no_main]

use bnn::run::config::{Config, Given, from_toml};
use bnn::settings::TargetKind;
use bnn_fuzz::{cost, place::Place};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("config"));

fn fill(s: &Config) {
    let shape = s.model(7);
    let _ = (
        s.recipe(),
        s.generation(),
        s.gaussian(),
        s.gradients(3),
        s.extra_baselines(),
        s.on_gradients(0),
    );
    if let Ok(shape) = shape {
        let _ = (
            s.session(0, &shape),
            s.baseline_batch(&shape),
            s.check_evaluation(&shape),
        );
    }
    let text = s.to_toml().expect("settings are TOML");
    let again =
        from_toml(&PLACE.file("again.toml", text.as_bytes())).expect("what was written is read");
    let again = again.recorded().expect("what was written is whole");
    assert_eq!(again.to_toml().expect("TOML"), text);
}

fn read(bytes: &[u8]) {
    let Ok(given) = from_toml(&PLACE.file("config.toml", bytes)) else {
        return;
    };
    let _ = given.json();
    let of = |given: &Given| given.clone();
    let _ = of(&given).defaulted(TargetKind::Own);
    for settings in [of(&given).resolve(), of(&given).recorded()]
        .into_iter()
        .flatten()
    {
        fill(&settings);
    }
}

fuzz_target!(|bytes: &[u8]| cost::within(bytes.len(), || read(bytes)));
