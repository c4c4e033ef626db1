//! A safetensors file taken apart, changed and put together again with the length of its header mended.

use crate::numbers::Rng;

/// Changes the file in the first `size` bytes of `data`, and returns how long it is then. For libFuzzer's custom mutator.
pub fn mutate(data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let mut rng = Rng(seed.into());
    let blind = |part: &mut Vec<u8>| {
        let (len, most) = (part.len(), part.len() + 16);
        part.resize(most, 0);
        let len = libfuzzer_sys::fuzzer_mutate(part, len, most);
        part.truncate(len);
    };
    let mut file = data[..size].to_vec();
    let len = file
        .first_chunk()
        .map_or(u64::MAX, |b| u64::from_le_bytes(*b));
    let end = usize::try_from(len)
        .ok()
        .and_then(|n| n.checked_add(8))
        .filter(|&n| n <= size);
    match (end, rng.below(16)) {
        (None, 0..8) => _ = rng.renumber(&mut file),
        (None, _) | (_, 0) => blind(&mut file),
        (Some(end), choice) => {
            let (mut header, mut payload) = (file[8..end].to_vec(), file[end..].to_vec());
            match choice {
                1 => blind(&mut header),
                2 => swap(&mut rng, &mut header),
                3..=6 => blind(&mut payload),
                7 | 8 if !payload.is_empty() => {
                    let at = rng.below(payload.len() / 4) * 4;
                    let value = (rng.real(1.0) as f32).to_le_bytes();
                    payload[at..]
                        .iter_mut()
                        .zip(value)
                        .for_each(|(to, from)| *to = from);
                }
                9 => {
                    let len = rng.below(payload.len() + 64);
                    payload.resize(len, 0);
                }
                _ => {
                    for _ in 0..=rng.below(3) {
                        rng.renumber(&mut header);
                    }
                }
            }
            file = (header.len() as u64).to_le_bytes().to_vec();
            file.extend(header);
            file.extend(payload);
        }
    }
    let len = file.len().min(max);
    data[..len].copy_from_slice(&file[..len]);
    len
}

/// Puts one quoted word in the place of another.
fn swap(rng: &mut Rng, text: &mut Vec<u8>) {
    let quotes: Vec<usize> = (0..text.len()).filter(|&i| text[i] == b'"').collect();
    let words: Vec<(usize, usize)> = quotes.chunks_exact(2).map(|q| (q[0], q[1])).collect();
    if words.is_empty() {
        return;
    }
    let (from, to) = (rng.pick(&words), rng.pick(&words));
    let word = text[from.0..from.1].to_vec();
    text.splice(to.0..to.1, word);
}
