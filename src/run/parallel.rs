//! Several chains at a time, each on its share of the threads. One log speaks for all.

use super::Context;
use super::progress::{Log, Progress, Word};
use super::spent::Meter;
use super::stop::Stop;
use super::train::Run;
use crate::backend::Device;
use crate::error::{Error, Result};
use crate::inference::ChainEnd;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Parameters up to which a gradient's products are too small to keep several threads busy.
const SMALL: usize = 2_000_000;

/// What workers share.
struct Work<'a> {
    run: &'a Run<'a>,
    meter: &'a Meter,
    stop: Stop,
    /// Threads of each worker.
    threads: usize,
    /// The chain that is taken next.
    next: AtomicU32,
}

impl Run<'_> {
    /// Returns how many chains run at a time.
    pub(super) fn chains_at_once(&self) -> usize {
        let threads = self.setting.model.backend.threads();
        let most = match self.config.chains_at_once {
            0 if self.setting.model.gpt.n_params() > SMALL => 1,
            0 => threads,
            n => n,
        };
        most.min(self.config.chains as usize)
    }

    /// Runs all chains to their ends, `workers` of them at a time. Where one fails, the others stop with their states kept.
    ///
    /// # Errors
    /// Returns that of the chain which failed, and [`Error::Interrupted`] when the work was stopped.
    pub(super) fn side_by_side(
        &self,
        workers: usize,
        meter: &Meter,
        ctx: &mut Context,
    ) -> Result<Vec<ChainEnd>> {
        let threads = self.setting.model.backend.threads() / workers;
        let work = Work {
            run: self,
            meter,
            stop: ctx.stop.of_parts(),
            threads: threads.max(1),
            next: AtomicU32::new(0),
        };
        let results = thread::scope(|scope| {
            let (words, heard) = channel();
            let workers: Vec<_> = (0..workers)
                .map(|_| {
                    let words = words.clone();
                    scope.spawn(|| work.chains(words))
                })
                .collect();
            drop(words);
            self.speak(&heard, &mut ctx.log);
            let each = workers
                .into_iter()
                .map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic)));
            each.collect::<Vec<_>>()
        });
        in_order(results)
    }

    /// Says the words of all chains until the last one has ended.
    fn speak(&self, heard: &Receiver<Word>, log: &mut Log) {
        let chains = self.config.chains;
        let mut made: BTreeMap<u32, u64> = BTreeMap::new();
        let mut progress = None;
        for word in heard {
            match word {
                Word::Say(line) => log.say(&line),
                Word::Keep(lines) => log.keep(&lines),
                Word::At {
                    chain,
                    first,
                    done,
                    total,
                    state,
                } => {
                    let all = total * u64::from(chains);
                    let progress = progress
                        .get_or_insert_with(|| Progress::new(&format!("{chains} chains"), 0, all));
                    if made.insert(chain, done).is_none() {
                        progress.made_before(first);
                    }
                    let sum = made.values().sum();
                    progress.at(log, sum, || format!("chain {chain}: {state}"));
                }
            }
        }
    }
}

impl Work<'_> {
    /// Runs one chain after another until none is left.
    fn chains(&self, words: Sender<Word>) -> Result<Vec<(u32, ChainEnd)>> {
        let run = self.run;
        let device = Device::cpu(self.threads)?.with_precision(run.config.precision);
        let mut store = run.open_store()?;
        let mut ends = Vec::new();
        loop {
            let chain = self.next.fetch_add(1, Ordering::Relaxed);
            if chain >= run.config.chains {
                return Ok(ends);
            }
            let mut ctx = Context {
                log: Log::of_chain(chain, words.clone()),
                stop: self.stop.clone(),
            };
            let end = run.chain(chain, &device, &mut store, self.meter, &mut ctx);
            ends.push((chain, end.inspect_err(|_| self.stop.fail())?));
        }
    }
}

/// Returns the ends in the order of the chains, or the error that came first to all of them: not that others were stopped for it.
fn in_order(results: Vec<Result<Vec<(u32, ChainEnd)>>>) -> Result<Vec<ChainEnd>> {
    let (mut ends, mut stopped) = (Vec::new(), false);
    for result in results {
        match result {
            Ok(of_worker) => ends.extend(of_worker),
            Err(Error::Interrupted) => stopped = true,
            Err(e) => return Err(e),
        }
    }
    if stopped {
        return Err(Error::Interrupted);
    }
    ends.sort_by_key(|(chain, _)| *chain);
    Ok(ends.into_iter().map(|(_, end)| end).collect())
}
