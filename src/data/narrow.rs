//! Token ids of 32 bits, as callers have them, as the 16 bits that texts are kept and computed with.

use crate::error::{Error, Result};
use crate::memory;

/// Puts tokens below `vocab_size`, in sequences of `t`, or with 0 in one series, in the place of what is in `to`. Does not allocate where `to` has room. `what` names them in errors.
///
/// # Errors
/// Returns [`Error::OutOfRange`] with the place of the first token that is not below `vocab_size`, and [`Error::OutOfMemory`].
pub fn narrow(
    what: &str,
    tokens: &[u32],
    t: usize,
    vocab_size: usize,
    to: &mut Vec<u16>,
) -> Result<()> {
    to.clear();
    memory::grow(to, tokens.len(), "tokens")?;
    for (i, &id) in tokens.iter().enumerate() {
        match u16::try_from(id)
            .ok()
            .filter(|_| (id as usize) < vocab_size)
        {
            Some(id) => to.push(id),
            None => return Err(out_of_range(what, i, t, vocab_size, id)),
        }
    }
    Ok(())
}

fn out_of_range(what: &str, i: usize, t: usize, vocab_size: usize, id: u32) -> Error {
    let place = match t {
        0 => format!("{what}[{i}]"),
        t => format!("{what}[{}, {}]", i / t, i % t),
    };
    Error::out_of_range(
        place,
        format!("a token below vocab_size = {vocab_size}"),
        id,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_keep_their_values_and_one_out_of_range_is_named_by_its_place() {
        let mut to = vec![7; 9];
        narrow("x", &[0, 65_535, 3], 0, 65_536, &mut to).unwrap();
        assert_eq!(to, [0, 65_535, 3]);
        for (tokens, t, v, words) in [
            (
                &[1, 2, 3, 65_536][..],
                2,
                65_536,
                "x[1, 1]: expected a token below vocab_size = 65536, got 65536",
            ),
            (
                &[1, 2, 3, 4],
                0,
                4,
                "x[3]: expected a token below vocab_size = 4, got 4",
            ),
        ] {
            let e = narrow("x", tokens, t, v, &mut to).unwrap_err();
            assert_eq!(e.to_string(), words);
        }
    }
}
