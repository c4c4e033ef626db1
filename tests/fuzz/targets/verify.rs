//! A file of reference values for `bnn verify`, safetensors or JSON.
#![no_main]

use bnn::backend::Cpu;
use bnn::run::verify::verify_file;
use bnn_fuzz::{cost, json_file, place::Place};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

thread_local! {
    static PLACE: Place = Place::new("verify");
    static CPU: Cpu = Cpu::new(1).expect("a device");
}

fuzz_target!(|bytes: &[u8]| {
    let path = PLACE.with(|p| p.file("reference", bytes));
    let _ = CPU.with(|cpu| cost::within(bytes.len(), || verify_file(cpu, &path)));
});
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    json_file::mutate(data, size, max_size, seed)
});
