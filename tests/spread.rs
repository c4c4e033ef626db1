//! Which samples are used where fewer are asked for.

use bnn::inference::{describe, spread};
use bnn::store::SampleId;

/// The samples of chains of these lengths, every tenth step.
fn chains(lens: &[usize]) -> Vec<SampleId> {
    let chain = |(chain, &len): (u32, &usize)| {
        (1..=len as u64).map(move |i| SampleId {
            chain,
            step: 10 * i,
        })
    };
    (0..).zip(lens).flat_map(chain).collect()
}

fn used(lens: &[usize], n: usize) -> Vec<usize> {
    spread(&chains(lens), n).unwrap()
}

#[test]
fn one_chain_is_thinned_evenly_up_to_its_last() {
    assert_eq!(used(&[25], 10), [2, 4, 7, 9, 12, 14, 17, 19, 22, 24]);
    assert_eq!(used(&[25], 5), [4, 9, 14, 19, 24]);
    assert_eq!(used(&[25], 1), [24]);
    assert_eq!(used(&[25], 24)[..3], [1, 2, 3]);
}

#[test]
fn every_chain_gives_its_share() {
    // The review's case: 3 chains of 10, of which 10 are taken.
    assert_eq!(used(&[10; 3], 10), [2, 4, 7, 9, 13, 16, 19, 23, 26, 29]);
    assert_eq!(used(&[25; 3], 6), [12, 24, 37, 49, 62, 74]);
    // A short chain gives one at least; the others by their lengths.
    assert_eq!(used(&[4, 1, 8], 6), [1, 3, 4, 7, 10, 12]);
    assert_eq!(used(&[100, 1], 2), [99, 100]);
    // Fewer than there are chains.
    assert_eq!(used(&[3, 3, 3], 2), [2, 5]);
}

#[test]
fn all_are_used_where_none_or_more_are_asked_for() {
    let all: Vec<usize> = (0..7).collect();
    for n in [0, 7, 8, usize::MAX] {
        assert_eq!(used(&[3, 4], n), all);
    }
    for n in [0, 1, 9] {
        assert!(used(&[], n).is_empty());
    }
}

/// For every number of samples of every set of lengths: ascending, as many as asked for, each chain's last where there are as many as chains, numbers
/// of two chains within one of their shares, and gaps within one sample of each other.
#[test]
fn spread_is_even() {
    for lens in [
        &[1][..],
        &[7],
        &[5, 5],
        &[9, 2],
        &[1, 13, 4],
        &[6, 6, 6, 6, 1],
        &[30, 17, 3],
    ] {
        let total: usize = lens.iter().sum();
        for n in 1..total {
            let used = used(lens, n);
            assert_eq!(used.len(), n);
            assert!(used.is_sorted_by(|a, b| a < b) && used[n - 1] < total);
            let (mut first, mut rest) = (0, &used[..]);
            let mut most: f64 = 0.0; // samples for each that is used
            let mut least = f64::INFINITY; // the same, had the chain given one fewer
            for &len in lens {
                let own = rest.partition_point(|&i| i < first + len);
                let (own, others) = rest.split_at(own);
                if n >= lens.len() {
                    assert_eq!(own.last(), Some(&(first + len - 1)), "{lens:?} {n}");
                    let k = own.len() as f64;
                    most = most.max(len as f64 / k);
                    least = least.min(len as f64 / (k - 1.0));
                }
                let gaps: Vec<usize> = own.windows(2).map(|w| w[1] - w[0]).collect();
                let (shortest, longest) = (gaps.iter().min(), gaps.iter().max());
                assert!(longest.is_none_or(|l| l - shortest.unwrap() <= 1));
                (first, rest) = (first + len, others);
            }
            // No sample of one chain stands for more than one would of another that gave up one.
            assert!(most <= least || n < lens.len(), "{lens:?} {n}");
        }
    }
}

#[test]
fn a_sentence_names_them() {
    assert_eq!(describe(&[0, 1, 2], 3), "all 3 samples");
    assert_eq!(describe(&[4, 9], 10), "2 samples of 10: 4, 9");
    assert_eq!(describe(&[1, 3, 6, 9], 10), "4 samples of 10: 1, 3, 6, 9");
    assert_eq!(
        describe(&[0, 6, 12, 18, 24], 75),
        "5 samples of 75: 0, 6, 12, ... 24"
    );
}
