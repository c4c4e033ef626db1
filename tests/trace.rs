//! The trace beside a checkpoint: both generations go on with it whatever a crash leaves, and damage to it is said, not swallowed.

mod common;

use bnn::Result;
use bnn::backend::Cpu;
use bnn::data::Order;
use bnn::gpt::Objective;
use bnn::inference::{
    BatchConfig, Inference, MonitorConfig, Session, SessionConfig, check_series, forget_series,
};
use bnn::samplers::{ChainConfig, Method, Preconditioner};
use bnn::store::{keep_generation, previous, previous_trace, trace_of};
use common::bits;
use common::model::small;
use common::place::{CAT, Place};
use common::series::state;
use std::fs;
use std::path::{Path, PathBuf};

impl Place {
    fn new() -> Self {
        Self::of(CAT, small, |gpt| gpt.layout().init(1), 0.7)
    }

    fn new_session(&self, c: &SessionConfig) -> Session<Cpu> {
        Session::new(&self.cpu, &self.target(), c).unwrap()
    }

    fn resume(&self, path: &Path) -> Result<Session<Cpu>> {
        Session::resume(&self.cpu, &self.target(), &config(11), path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn config(seed: u64) -> SessionConfig {
    let sampler = ChainConfig {
        temperature: 0.6,
        warmup_steps: 4,
        sampling_steps: 30,
        thinning: 5,
        seed,
        alpha: 0.8,
        ..ChainConfig::new(Method::Baoa, 1e-3)
    };
    SessionConfig {
        inference: Inference::Chain {
            sampler,
            preconditioner: Preconditioner::None,
            auto_step: None,
        },
        objective: Objective::All,
        num_data: None,
        likelihood_weight: 1.0,
        batches: BatchConfig {
            size: 2,
            window: 7,
            order: Order::Independent,
            chosen: None,
        },
        monitors: MonitorConfig {
            temperature_every: 2,
            llc_every: 3,
            probe_tokens: 6,
            probe_every: 4,
        },
    }
}

fn steps(s: &mut Session<Cpu>, n: u64) {
    (0..n).for_each(|_| _ = s.step().unwrap());
}

/// Saves as the command does: the file before stays beside it.
fn save(s: &mut Session<Cpu>, path: &Path) {
    keep_generation(path).unwrap();
    s.save(path).unwrap();
}

/// A chain of 13 steps that was saved after 9 of them, too, and what the whole trace held after each.
fn saved_twice(place: &Place) -> (PathBuf, usize, Vec<u8>) {
    let path = place.at("chain.bnn");
    let mut s = place.new_session(&config(11));
    steps(&mut s, 9);
    save(&mut s, &path);
    let first = fs::read(trace_of(&path)).unwrap();
    steps(&mut s, 4);
    save(&mut s, &path);
    let whole = fs::read(trace_of(&path)).unwrap();
    assert!(whole.starts_with(&first), "it only grows");
    (path, first.len(), whole)
}

/// Asserts that a file goes on to the end as the chain that was never saved, in all that it recorded.
fn goes_on(place: &Place, from: &Path) {
    let mut want = place.new_session(&config(11));
    steps(&mut want, 34);
    let mut s = place.resume(from).unwrap();
    let made = s.steps_made();
    steps(&mut s, 2);
    save(&mut s, from);
    steps(&mut s, 32 - made);
    assert_eq!(bits(s.params()), bits(want.params()));
    for _ in 0..2 {
        assert_eq!(s.trace().unwrap(), want.trace().unwrap());
        assert_eq!(s.draws().unwrap(), want.draws().unwrap());
        assert_eq!(s.excess_losses().unwrap(), want.excess_losses().unwrap());
        // The second time all of it is in the file.
        save(&mut s, from);
    }
    let end = want.trace().unwrap().unwrap();
    assert_eq!((end.log_lik.len(), end.kinetic.len()), (34, 30));
    want.save(place.at("want.bnn")).unwrap();
    assert_eq!(state(from), state(&place.at("want.bnn")));
}

#[test]
fn both_generations_go_on_with_one_trace() {
    let place = Place::new();
    let (path, ..) = saved_twice(&place);
    assert_eq!(trace_of(&previous(&path)), trace_of(&path));
    assert_eq!(place.resume(&path).unwrap().steps_made(), 13);
    assert_eq!(place.resume(&previous(&path)).unwrap().steps_made(), 9);
    goes_on(&place, &path);
    let (path, ..) = saved_twice(&place);
    fs::rename(previous(&path), &path).unwrap();
    goes_on(&place, &path);
}

/// Broken: a trace that is one byte short taken for whole.
#[test]
fn a_trace_that_was_cut_is_refused_and_the_generation_before_goes_on() {
    let place = Place::new();
    let (path, first, whole) = saved_twice(&place);
    let trace = trace_of(&path);
    for len in first..whole.len() {
        fs::write(&trace, &whole[..len]).unwrap();
        let e = check_series(&path).unwrap_err().to_string();
        let says = ["block 2 of 2", "after step 9 are lost", "--repair"];
        assert!(says.iter().all(|part| e.contains(part)), "{len}: {e}");
        assert_eq!(check_series(&previous(&path)).unwrap(), 9);
    }
    for len in [0, 7, 75, 76, first - 1] {
        fs::write(&trace, &whole[..len]).unwrap();
        assert!(check_series(&previous(&path)).is_err(), "{len}");
    }
    fs::write(&trace, &whole[..whole.len() - 1]).unwrap();
    let e = place.resume(&path).err().unwrap().to_string();
    assert!(e.contains("chain.trace") && e.contains("chain.bnn"), "{e}");
    fs::rename(previous(&path), &path).unwrap();
    goes_on(&place, &path);
}

/// What a crash leaves behind the last checkpoint's end is no part of it, whole block or not.
#[test]
fn what_is_behind_the_end_is_cut_off() {
    let place = Place::new();
    for tail in [1, 24, 1000] {
        let (path, _, whole) = saved_twice(&place);
        fs::write(trace_of(&path), [whole, vec![0xa5; tail]].concat()).unwrap();
        assert_eq!(check_series(&path).unwrap(), 13);
        goes_on(&place, &path);
    }
}

#[test]
fn a_flipped_byte_is_found_in_every_checkpoint_that_has_it() {
    let place = Place::new();
    let (path, first, whole) = saved_twice(&place);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(trace_of(&path), bytes).unwrap();
        assert!(check_series(&path).is_err(), "{at}");
        let before = check_series(&previous(&path));
        assert_eq!(before.is_err(), at < first, "{at}");
    }
}

#[test]
fn another_chains_trace_is_refused() {
    let place = Place::new();
    let (path, ..) = saved_twice(&place);
    let mut other = place.new_session(&config(12));
    steps(&mut other, 13);
    other.save(place.at("other.bnn")).unwrap();
    fs::copy(place.at("other.trace"), trace_of(&path)).unwrap();
    let e = place.resume(&path).err().unwrap().to_string();
    assert!(e.contains("another chain"), "{e}");
    // The same chain, saved at other steps.
    let mut same = place.new_session(&config(11));
    for more in [8, 5] {
        steps(&mut same, more);
        same.save(place.at("same.bnn")).unwrap();
    }
    fs::copy(place.at("same.trace"), trace_of(&path)).unwrap();
    let e = place.resume(&path).err().unwrap().to_string();
    assert!(e.contains("another checkpoint"), "{e}");
}

/// A checkpoint that was moved alone says what it lacks; without it, it goes on bit for bit, and says where its series begin.
#[test]
fn a_checkpoint_without_its_trace_says_so() {
    let place = Place::new();
    let (path, _, whole) = saved_twice(&place);
    let moved = place.at("moved.bnn");
    fs::copy(&path, &moved).unwrap();
    let e = place.resume(&moved).err().unwrap().to_string();
    let says = ["moved.trace", "no such file", "belong together", "--repair"];
    assert!(says.iter().all(|part| e.contains(part)), "{e}");
    fs::write(trace_of(&moved), whole).unwrap();
    goes_on(&place, &moved);
    fs::remove_file(trace_of(&path)).unwrap();
    forget_series(&path).unwrap();
    let mut s = place.resume(&path).unwrap();
    assert_eq!(s.steps_made(), 13);
    steps(&mut s, 3);
    s.save(&path).unwrap();
    steps(&mut s, 18);
    let mut want = place.new_session(&config(11));
    steps(&mut want, 34);
    assert_eq!(bits(s.params()), bits(want.params()));
    let (part, all) = (s.trace().unwrap().unwrap(), want.trace().unwrap().unwrap());
    assert_eq!((part.skipped, part.is_whole()), (13, false));
    assert_eq!(part.log_lik, all.log_lik[13..]);
    assert_eq!(part.kinetic, all.kinetic[9..]);
    // Of 7 draws, every 4 of 30 steps, 2 had fallen due after 9 steps.
    let draws = s.draws().unwrap().unwrap();
    assert_eq!((draws.skipped, draws.len()), (2, 5));
}

/// A chain that begins anew takes the place of another at no moment that a crash could find. Broken: the trace of the one before overwritten.
#[test]
fn a_new_chain_at_the_same_path_leaves_the_one_before_whole_until_it_is_saved() {
    let place = Place::new();
    let (path, ..) = saved_twice(&place);
    let old = fs::read(&path).unwrap();
    let mut new = place.new_session(&config(12));
    steps(&mut new, 3);
    new.save(&path).unwrap();
    assert!(previous_trace(&trace_of(&path)).exists());
    // As if the power had failed between the trace and the checkpoint.
    let saved = fs::read(&path).unwrap();
    fs::write(&path, &old).unwrap();
    assert_eq!(check_series(&path).unwrap(), 13);
    let mut again = place.resume(&path).unwrap();
    steps(&mut again, 1);
    again.save(&path).unwrap();
    assert_eq!(check_series(&path).unwrap(), 14);
    goes_on(&place, &path);
    // The new one's trace is gone by now, and it says so.
    fs::write(place.at("new.bnn"), saved).unwrap();
    assert!(check_series(&place.at("new.bnn")).is_err());
    steps(&mut new, 1);
    let e = new.save(&path).unwrap_err().to_string();
    assert!(e.contains("another program"), "{e}");
    // Both live on at paths of their own; what was kept goes when nothing names it.
    let mut third = place.new_session(&config(13));
    for _ in 0..2 {
        steps(&mut third, 1);
        third.save(&path).unwrap();
    }
    assert!(!previous_trace(&trace_of(&path)).exists());
    assert_eq!(third.trace().unwrap().unwrap().log_lik.len(), 2);
}

/// Another path gets a copy of the whole trace; a name that does not end in `.bnn` keeps its own.
#[test]
fn a_session_may_save_to_several_paths() {
    let place = Place::new();
    let mut s = place.new_session(&config(11));
    let names = ["a.bnn", "b.bnn", "state.0", "state.1", "a.bnn"];
    for name in names {
        steps(&mut s, 2);
        s.save(place.at(name)).unwrap();
    }
    assert!(place.at("state.0.trace").exists() && place.at("state.1.trace").exists());
    for (name, made) in [("b.bnn", 4), ("state.0", 6), ("state.1", 8), ("a.bnn", 10)] {
        assert_eq!(check_series(&place.at(name)).unwrap(), made);
        let back = place.resume(&place.at(name)).unwrap();
        let (part, all) = (back.trace().unwrap().unwrap(), s.trace().unwrap().unwrap());
        assert_eq!(part.log_lik, all.log_lik[..made as usize]);
    }
}
