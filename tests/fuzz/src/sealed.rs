//! A container of docs/format.md taken apart, changed and put together again with its checksums and lengths mended, so that what is changed is read.

use crate::numbers::Rng;
use sha2::{Digest, Sha256};

/// Names that files give to their tensors, scalars and counters.
const NAMES: &[&str] = &[
    "params",
    "momenta",
    "mass",
    "squares",
    "live.squares",
    "gradient_noise",
    "last_gradient",
    "gradient_before",
    "live",
    "center",
    "thermostat",
    "auto_step",
    "curvature",
    "trace.log_lik",
    "trace.log_prior",
    "trace.kinetic_temperature",
    "trace.configurational_temperature",
    "trace.excess_loss",
    "temperatures",
    "probe.log_prob",
    "probe.projection",
    "chain_format",
    "sampler_step",
    "preconditioned",
    "trace.skipped",
    "probe.skipped",
    "sd",
    "precision",
    "log_sd",
    "adam.0",
    "adam.1",
    "adam.2",
    "adam.3",
    "pairs",
    "outputs",
    "inputs",
    "trace.loss",
    "trace.log_post",
    "trace.epoch_sd",
    "trace.epoch_seconds",
    "train_loss",
    "val_loss",
    "seconds",
    "target",
    "",
];

/// A file's parts, with nothing in the way of nonsense.
#[derive(Clone)]
pub struct Sealed {
    pub kind: u32,
    pub config: Vec<u8>,
    pub model: Vec<u8>,
    pub seed: u64,
    pub chain: u32,
    pub step: u64,
    pub digests: [[u8; 32]; 2],
    pub vocabulary: Vec<u8>,
    /// Name, type, how many elements the header says more than there are, and the elements' bytes.
    pub tensors: Vec<(Vec<u8>, u32, i64, Vec<u8>)>,
    pub scalars: Vec<(Vec<u8>, u64)>,
    pub counters: Vec<(Vec<u8>, u64)>,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(front)
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let n = self.u64()?;
        self.take(n.try_into().ok()?).map(<[u8]>::to_vec)
    }

    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let n = self.u64()?;
        (n < 4096).then(|| (0..n).map(|_| each(self)).collect::<Option<Vec<T>>>())?
    }
}

fn width(dtype: u32) -> usize {
    match dtype {
        0 => 4,
        1 => 2,
        _ => 8,
    }
}

fn put(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

/// Puts magic, version, lengths and checksums around a header and a payload.
pub fn assemble(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = b"BNNSTORE".to_vec();
    out.extend(1u32.to_le_bytes());
    out.extend((header.len() as u64).to_le_bytes());
    out.extend(header);
    out.extend(Sha256::digest(&out));
    out.extend(payload);
    out.extend(Sha256::digest(payload));
    out
}

/// The ends of header and payload in a file, if it is long enough to have them.
fn ends(file: &[u8]) -> Option<(usize, usize)> {
    let header = u64::from_le_bytes(file.get(12..20)?.try_into().ok()?);
    let header = 20usize.checked_add(header.try_into().ok()?)?;
    let payload = file.len().checked_sub(32)?;
    (header.checked_add(32)? <= payload).then_some((header, payload))
}

impl Sealed {
    /// Takes a file apart; none where it is no such file.
    pub fn open(file: &[u8]) -> Option<Self> {
        let (end, payload_end) = ends(file)?;
        let mut b = Bytes(&file[20..end]);
        let kind = b.u32()?;
        let (config, model) = (b.text()?, b.text()?);
        let (seed, chain, step) = (b.u64()?, b.u32()?, b.u64()?);
        let digests = [b.take(32)?.try_into().ok()?, b.take(32)?.try_into().ok()?];
        let vocabulary = b.text()?;
        let mut payload = Bytes(&file[end + 32..payload_end]);
        let tensors = b.list(|b| {
            let (name, dtype, len) = (b.text()?, b.u32()?, b.u64()?);
            let bytes = usize::try_from(len).ok()?.checked_mul(width(dtype))?;
            let there = bytes.min(payload.0.len() / width(dtype) * width(dtype));
            let lie = (len as i64).wrapping_sub((there / width(dtype)) as i64);
            Some((name, dtype, lie, payload.take(there)?.to_vec()))
        })?;
        let scalars = b.list(|b| Some((b.text()?, b.u64()?)))?;
        let counters = b.list(|b| Some((b.text()?, b.u64()?)))?;
        Some(Self {
            kind,
            config,
            model,
            seed,
            chain,
            step,
            digests,
            vocabulary,
            tensors,
            scalars,
            counters,
        })
    }

    /// Puts the file together.
    pub fn seal(&self) -> Vec<u8> {
        let mut h = self.kind.to_le_bytes().to_vec();
        put(&mut h, &self.config);
        put(&mut h, &self.model);
        h.extend(self.seed.to_le_bytes());
        h.extend(self.chain.to_le_bytes());
        h.extend(self.step.to_le_bytes());
        h.extend(self.digests.as_flattened());
        put(&mut h, &self.vocabulary);
        h.extend((self.tensors.len() as u64).to_le_bytes());
        for (name, dtype, lie, data) in &self.tensors {
            put(&mut h, name);
            h.extend(dtype.to_le_bytes());
            h.extend((((data.len() / width(*dtype)) as i64).wrapping_add(*lie)).to_le_bytes());
        }
        for list in [&self.scalars, &self.counters] {
            h.extend((list.len() as u64).to_le_bytes());
            for (name, value) in list {
                put(&mut h, name);
                h.extend(value.to_le_bytes());
            }
        }
        let payload: Vec<u8> = self
            .tensors
            .iter()
            .flat_map(|t| t.3.iter().copied())
            .collect();
        assemble(&h, &payload)
    }

    /// Makes one change; `bytes` changes bytes without knowing what they mean.
    fn change(&mut self, rng: &mut Rng, bytes: &mut dyn FnMut(&mut Vec<u8>)) {
        match rng.below(20) {
            0..=4 => self.number(rng),
            5..=8 => self.element(rng),
            9..=11 => self.shape(rng),
            12 => self.names(rng),
            13 => self.steps(rng),
            14 => match rng.below(4) {
                0 => self.kind = rng.below(4) as u32,
                1 => self.chain = rng.whole(self.chain.into()) as u32,
                2 => self.digests[rng.below(2)][rng.below(32)] ^= 1 << rng.below(8),
                _ => self.step = rng.whole(self.step),
            },
            15..=17 => {
                let text = if rng.once_in(2) {
                    &mut self.model
                } else {
                    &mut self.config
                };
                if !rng.renumber(text) {
                    bytes(text);
                }
            }
            18 => bytes(match rng.below(3) {
                0 => &mut self.vocabulary,
                1 => &mut self.config,
                _ => &mut self.model,
            }),
            _ => {
                if let Some(t) = at(rng, &mut self.tensors) {
                    bytes(&mut t.3);
                }
            }
        }
    }

    /// A counter or a scalar has another value.
    fn number(&mut self, rng: &mut Rng) {
        if rng.once_in(2) {
            if let Some((_, v)) = at(rng, &mut self.counters) {
                *v = rng.whole(*v);
            }
        } else if let Some((_, v)) = at(rng, &mut self.scalars) {
            *v = rng.real(f64::from_bits(*v)).to_bits();
        }
    }

    /// One element of a tensor, or all of them, have another value.
    fn element(&mut self, rng: &mut Rng) {
        let Some((_, dtype, _, data)) = at(rng, &mut self.tensors) else {
            return;
        };
        let (w, n) = (width(*dtype), data.len() / width(*dtype));
        let chosen = rng.below(n);
        let all = rng.once_in(8);
        for (i, element) in data
            .chunks_exact_mut(w)
            .enumerate()
            .filter(|(i, _)| all || *i == chosen)
        {
            let _ = i;
            match w {
                4 => {
                    let old = f32::from_le_bytes(element.try_into().expect("four"));
                    element.copy_from_slice(&(rng.real(old.into()) as f32).to_le_bytes());
                }
                8 => {
                    let old = f64::from_le_bytes(element.try_into().expect("eight"));
                    element.copy_from_slice(&rng.real(old).to_le_bytes());
                }
                _ => element.copy_from_slice(&(rng.next() as u16).to_le_bytes()),
            }
        }
    }

    /// A tensor has another length or type, is gone or is there twice.
    fn shape(&mut self, rng: &mut Rng) {
        let n = self.tensors.len();
        let i = rng.below(n);
        let Some((_, dtype, lie, data)) = self.tensors.get_mut(i) else {
            return;
        };
        let w = width(*dtype);
        match rng.below(8) {
            0 => data.truncate(data.len().saturating_sub(w)),
            1 => data.extend(vec![0; w]),
            2 => {
                let elements = rng.below(64);
                data.resize(elements * w, 0);
            }
            3 => data.extend(data.clone()),
            4 => *dtype = rng.below(4) as u32,
            5 => *lie = rng.whole(0) as i64,
            6 => drop(self.tensors.remove(i)),
            _ => {
                let copy = self.tensors[i].clone();
                self.tensors.insert(rng.below(n), copy);
            }
        }
        for (_, dtype, _, data) in &mut self.tensors {
            data.truncate(data.len() / width(*dtype) * width(*dtype));
        }
    }

    /// Something has the name of something else, is gone or is new.
    fn names(&mut self, rng: &mut Rng) {
        let name = rng.pick(NAMES).as_bytes().to_vec();
        match rng.below(6) {
            0 => at(rng, &mut self.tensors)
                .into_iter()
                .for_each(|t| t.0 = name.clone()),
            1 => at(rng, &mut self.counters)
                .into_iter()
                .for_each(|t| t.0 = name.clone()),
            2 => self.counters.push((name, rng.whole(0))),
            3 => {
                let i = rng.below(self.counters.len());
                self.counters.drain(i..(i + 1).min(self.counters.len()));
            }
            4 => self.scalars.push((name, rng.real(0.0).to_bits())),
            _ => self
                .tensors
                .push((name, 2 * rng.below(2) as u32, 0, vec![0; 8 * rng.below(8)])),
        }
    }

    /// The steps that were made are others, and the counters agree with them.
    fn steps(&mut self, rng: &mut Rng) {
        let new = rng.whole(self.step);
        let of = |name: &str, counters: &[(Vec<u8>, u64)]| {
            counters.iter().position(|(n, _)| n == name.as_bytes())
        };
        if let Some(i) = of("sampler_step", &self.counters) {
            let mass = of("preconditioned", &self.counters).map_or(0, |i| self.counters[i].1);
            self.counters[i].1 = new.wrapping_sub(mass);
        }
        self.step = new;
    }
}

fn at<'a, T>(rng: &mut Rng, list: &'a mut [T]) -> Option<&'a mut T> {
    let i = rng.below(list.len());
    list.get_mut(i)
}

/// Changes the file in the first `size` bytes of `data`, and returns how long it is then. For libFuzzer's custom mutator.
pub fn mutate(data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let mut rng = Rng(seed.into());
    let mut blind = |part: &mut Vec<u8>| {
        let (len, most) = (part.len(), part.len() + 16);
        part.resize(most, 0);
        let len = libfuzzer_sys::fuzzer_mutate(part, len, most);
        part.truncate(len);
    };
    let mut file = data[..size].to_vec();
    match (Sealed::open(&file), rng.below(16)) {
        // As it comes, checksums and all.
        (None, _) | (_, 0) => blind(&mut file),
        // The header's bytes, with checksums.
        (Some(_), 1) => {
            let (end, payload) = ends(&file).expect("it was taken apart");
            let mut header = file[20..end].to_vec();
            blind(&mut header);
            file = assemble(&header, &file[end + 32..payload]);
        }
        (Some(mut parts), _) => {
            for _ in 0..=rng.below(3) {
                parts.change(&mut rng, &mut blind);
            }
            file = parts.seal();
        }
    }
    let len = file.len().min(max);
    data[..len].copy_from_slice(&file[..len]);
    len
}
