//! Random numbers: known answers, exactness over instruction sets and threads, and the law of the normals.

#[path = "common/ensure.rs"]
mod ensure;

use bnn::backend::vectors::Random;
use bnn::backend::{Cpu, Vectors};
use bnn::rng::rand::{Rng, RngExt, seq::SliceRandom};
use bnn::rng::rand_distr::{Distribution, StandardNormal};
use bnn::rng::{NORMALS, Stream, StreamTag, philox};

/// A two-sided normal test at this many standard errors raises a false alarm with probability 2.2e-8.
const Z: f64 = 5.6;

#[test]
fn philox_known_answers() {
    // Philox4x32-10 of the counter and key of all zeros, all ones, and the digits of pi (Random123's test vectors).
    let ones = u32::MAX;
    let cases = [
        (
            [0; 4],
            [0; 2],
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        ),
        (
            [ones; 4],
            [ones; 2],
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        ),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];
    for (counter, key, words) in cases {
        assert_eq!(philox(counter, key), words);
    }
}

#[test]
fn numbers_stay_what_they_are() {
    // A change here breaks the resumption of every run that was saved before it.
    let s = Stream::new(42, StreamTag::Noise, 3);
    let bits: Vec<u32> = [0, 1, 17, 40, 63, 64, 1_000_003]
        .map(|i| s.normal(9, i).to_bits())
        .to_vec();
    assert_eq!(bits, PINNED, "{bits:#010x?}");
}

const PINNED: [u32; 7] = [
    0x3d90985f, 0x3eea8b33, 0xbf8c7aa6, 0x3f8daa73, 0xbfb4df7f, 0x3fa31f9a, 0x3da03952,
];

#[test]
fn scalar_block_fill_and_every_instruction_set_agree() {
    let s = Stream::new(7, StreamTag::Noise, 1);
    let n = 3 * 8 * 4096 + 37; // splits over threads, and ends inside a block
    for step in [0, 5, u64::MAX] {
        let scalar: Vec<u32> = (0..n as u64).map(|i| s.normal(step, i).to_bits()).collect();
        let mut out = vec![0.0; n];
        s.fill_normal(step, &mut out);
        assert!(scalar.iter().zip(&out).all(|(a, b)| *a == b.to_bits()));
        for isa in ensure::every_isa() {
            for threads in 1..=3 {
                let cpu = Cpu::with_isa(threads, isa).unwrap();
                let mut out = cpu.zeros(n).unwrap();
                cpu.random(&mut out, Random::Normal, s, step).unwrap();
                let same = scalar.iter().zip(&out).all(|(a, b)| *a == b.to_bits());
                assert!(same, "{isa:?}, {threads} threads, step {step}");
            }
        }
    }
    // Far out, where the counter's second word is in use.
    let block = 1 << 40;
    let z = s.normals(2, block);
    for (i, z) in z.iter().enumerate() {
        assert_eq!(
            z.to_bits(),
            s.normal(2, block * NORMALS as u64 + i as u64).to_bits()
        );
    }
}

#[test]
fn box_muller_is_accurate() {
    // In f64 from the same words. The logarithm and the root are good to a few units in the last place of f32 (6e-8
    // each), cosine and sine to 1e-7 absolute; the radius multiplies the latter.
    let s = Stream::new(11, StreamTag::Noise, 0);
    for i in 0..200_000_u64 {
        let w = s.words(0, i / 64 * 16 + i % 16);
        let (radius, angle) = if i % 64 < 32 {
            (w[0], w[1])
        } else {
            (w[2], w[3])
        };
        let u = radius as f32 * (1.0 / 4_294_967_296.0) + 0.5 / 4_294_967_296.0;
        let r = (-2.0 * (u as f64).ln()).sqrt();
        let quarter = (angle >> 30) as f64 * std::f64::consts::FRAC_PI_2;
        let turn =
            quarter + (angle << 2) as i32 as f64 * (std::f64::consts::FRAC_PI_2 / 4_294_967_296.0);
        let want = if i / 16 % 2 == 0 {
            r * turn.cos()
        } else {
            r * turn.sin()
        };
        let got = s.normal(0, i) as f64;
        assert!(
            (got - want).abs() <= 3e-7 * r + 1e-7 * want.abs(),
            "{i}: {got} {want}"
        );
    }
}

/// The largest of the standardised errors of E z, E z^2, E z^3, E z^4, of the frequency of |z| > 4, and of the
/// correlations that Box and Muller's method or the layout could leave.
fn worst(z: &[f32]) -> (f64, String) {
    let n = z.len() as f64;
    let mean = |f: &dyn Fn(usize) -> f64| (0..z.len() - 64).map(f).sum::<f64>() / (n - 64.0);
    let p = |k: i32| move |i: usize| (z[i] as f64).powi(k);
    let tail = 6.334_248_366_623_984e-5; // P(|z| > 4)
    let mut checks = vec![
        ("mean".to_string(), mean(&p(1)), 0.0, 1.0),
        ("E z^2".to_string(), mean(&p(2)), 1.0, 2.0),
        ("E z^3".to_string(), mean(&p(3)), 0.0, 15.0),
        ("E z^4".to_string(), mean(&p(4)), 3.0, 96.0),
        (
            "P(|z| > 4)".to_string(),
            mean(&|i| (z[i].abs() > 4.0) as u8 as f64),
            tail,
            tail * (1.0 - tail),
        ),
    ];
    for lag in [1, 2, 16, 32, 48, 64] {
        let product = |i: usize| z[i] as f64 * z[i + lag] as f64;
        checks.push((format!("E z z, lag {lag}"), mean(&product), 0.0, 1.0));
        let squares =
            |i: usize| ((z[i] as f64).powi(2) - 1.0) * ((z[i + lag] as f64).powi(2) - 1.0);
        checks.push((format!("squares, lag {lag}"), mean(&squares), 0.0, 4.0));
    }
    checks
        .into_iter()
        .map(|(name, got, want, variance)| (((got - want) / (variance / n).sqrt()).abs(), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap()
}

/// Kolmogorov's statistic times the root of n.
fn kolmogorov(z: &[f32]) -> f64 {
    let mut z = z.to_vec();
    z.sort_by(f32::total_cmp);
    let n = z.len() as f64;
    let gap = |(i, z): (usize, &f32)| {
        let f = normal_cdf(*z as f64);
        (f - i as f64 / n).abs().max(((i + 1) as f64 / n - f).abs())
    };
    z.iter().enumerate().map(gap).fold(0.0, f64::max) * n.sqrt()
}

/// To 1.5e-7 (Abramowitz & Stegun 7.1.26), far below the 1e-3 that the test resolves.
fn normal_cdf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs() / 2f64.sqrt());
    let poly = [
        1.061_405_429,
        -1.453_152_027,
        1.421_413_741,
        -0.284_496_736,
        0.254_829_592,
    ]
    .iter()
    .fold(0.0, |p, c| (p + c) * t);
    let upper = 0.5 * poly * (-0.5 * x * x).exp();
    if x > 0.0 { 1.0 - upper } else { upper }
}

#[test]
fn normals_are_normal() {
    // 17 checks: a false alarm with probability below 4e-7. Kolmogorov's at 3: 2 exp(-18) = 3e-8.
    let mut z = vec![0.0; 1 << 22];
    Stream::new(2024, StreamTag::Noise, 0).fill_normal(1, &mut z);
    let (at, name) = worst(&z);
    assert!(at < Z, "{name}: {at} standard errors");
    let d = kolmogorov(&z[..1 << 20]);
    assert!(d < 3.0, "Kolmogorov: {d}");
    // Beyond 5: 2.4 expected; above 24 with probability 1e-15. Some number lies beyond 4.5, all within 6.77.
    let beyond = z.iter().filter(|z| z.abs() > 5.0).count();
    assert!(beyond <= 24, "{beyond} beyond 5");
    let top = z.iter().fold(0f32, |t, z| t.max(z.abs()));
    assert!(top > 4.5 && top < 6.77, "{top}");
    // The same checks see a scale that is off by 1 %, a cut at 3.9, a shared radius, and a shift of 0.01.
    let wrong: [&dyn Fn(usize) -> f32; 4] = [
        &|i| z[i] * 1.01,
        &|i| z[i].clamp(-3.9, 3.9),
        &|i| z[i] * z[i ^ 1].abs().sqrt() * 1.1,
        &|i| z[i] + 0.01,
    ];
    for (i, f) in wrong.iter().enumerate() {
        let bad: Vec<f32> = (0..1 << 20).map(f).collect();
        assert!(worst(&bad).0 > 1.2 * Z, "wrong generator {i} passes");
    }
    let shifted: Vec<f32> = z[..1 << 20].iter().map(|z| z + 0.02).collect();
    assert!(kolmogorov(&shifted) > 6.0);
}

#[test]
fn streams_are_independent() {
    // Seeds, purposes, chains and steps that are neighbours: correlations of numbers and of their squares, 12 checks.
    let n = 1 << 19;
    let draw = |seed, purpose, chain, step| {
        let mut z = vec![0.0; n];
        Stream::new(seed, purpose, chain).fill_normal(step, &mut z);
        z
    };
    let base = draw(5, StreamTag::Noise, 0, 8);
    let others = [
        draw(6, StreamTag::Noise, 0, 8),
        draw(5, StreamTag::Momenta, 0, 8),
        draw(5, StreamTag::Noise, 1, 8),
        draw(5, StreamTag::Noise, 0, 9),
        draw(5 + (1 << 32), StreamTag::Noise, 0, 8),
        draw(5, StreamTag::Noise, 0, 8 + (1 << 32)),
    ];
    for (k, other) in others.iter().enumerate() {
        let pairs = || base.iter().zip(other).map(|(a, b)| (*a as f64, *b as f64));
        let linear: f64 = pairs().map(|(a, b)| a * b).sum();
        let square: f64 = pairs().map(|(a, b)| (a * a - 1.0) * (b * b - 1.0)).sum();
        let root = (n as f64).sqrt();
        assert!(linear.abs() < Z * root, "{k}: {}", linear / root);
        assert!(
            square.abs() < Z * 2.0 * root,
            "{k}: {}",
            square / root / 2.0
        );
    }
}

#[test]
fn uniforms_and_integers() {
    let s = Stream::new(3, StreamTag::Batch, 0);
    let n = 1_000_000;
    let u: Vec<f64> = (0..n).map(|i| s.uniform(4, i)).collect();
    assert!(u.iter().all(|u| (0.0..1.0).contains(u)));
    let mean = u.iter().sum::<f64>() / n as f64;
    assert!(
        (mean - 0.5).abs() < Z * (1.0 / 12.0 / n as f64).sqrt(),
        "{mean}"
    );
    let neighbours: f64 = u.windows(2).map(|u| (u[0] - 0.5) * (u[1] - 0.5)).sum();
    assert!(neighbours.abs() < Z * (n as f64).sqrt() / 12.0);
    // Integers below 7: each count is binomial.
    let mut counts = [0u64; 7];
    (0..n).for_each(|i| counts[s.below(7, 5, i) as usize] += 1);
    for c in counts {
        let p = 1.0 / 7.0;
        let sd = (n as f64 * p * (1.0 - p)).sqrt();
        assert!((c as f64 - n as f64 * p).abs() < Z * sd, "{counts:?}");
    }
    assert_eq!(s.below(1, 0, 0), 0);
    assert!((0..1000).any(|i| s.below(u64::MAX, 0, i) > u64::MAX / 2));
}

/// The words at an address in order, whatever they are taken as; and 64-bit ones make the stream's own uniforms.
#[test]
fn a_generator_gives_the_words_of_its_address() {
    let stream = Stream::new(11, StreamTag::Caller, 3);
    let words: Vec<u32> = (0..5).flat_map(|block| stream.words(9, block)).collect();
    let mut rng = stream.rng(9);
    assert_eq!([(); 20].map(|()| rng.next_u32()).to_vec(), words);
    let mut rng = stream.rng(9);
    assert_eq!(rng.next_u32(), words[0]);
    let wide = (words[1] as u64) << 32 | words[2] as u64;
    assert_eq!(rng.next_u64(), wide);
    let mut bytes = [0; 6];
    rng.fill_bytes(&mut bytes);
    let want = [words[3].to_le_bytes(), words[4].to_le_bytes()].concat();
    assert_eq!(bytes[..], want[..6]);
    let mut rng = stream.rng(u64::MAX);
    for i in 0..100 {
        assert_eq!(rng.random::<f64>(), stream.uniform(u64::MAX, i));
    }
}

/// Blocks of 128 bits: of a million of independent streams two agree with probability 1e-27.
#[test]
fn generators_of_different_addresses_share_no_words() {
    let mut seen = std::collections::BTreeSet::new();
    let mut streams = 0;
    for purpose in [StreamTag::Noise, StreamTag::Prior, StreamTag::Caller] {
        for (seed, chain, step) in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, 1 << 32)] {
            let mut rng = Stream::new(seed, purpose, chain).rng(step);
            streams += 1;
            for _ in 0..1000 {
                let block: [u64; 2] = [rng.next_u64(), rng.next_u64()];
                assert!(seen.insert(block), "{purpose:?} {seed} {chain} {step}");
            }
        }
    }
    assert_eq!(seen.len(), 1000 * streams);
}

/// What `rand` and `rand_distr` make of a generator: normals by 17 checks and Kolmogorov's, as our own have; orders of three, each of six as likely
/// as any other (chi^2 of 5 degrees of freedom is above 45 with probability 1.5e-8).
#[test]
fn rands_distributions_are_as_they_should_be() {
    let rng = Stream::new(12, StreamTag::Caller, 0).rng(4);
    let z: Vec<f32> = StandardNormal.sample_iter(rng).take(1 << 20).collect();
    let (at, name) = worst(&z);
    assert!(at < Z, "{name}: {at} standard errors");
    let d = kolmogorov(&z);
    assert!(d < 3.0, "Kolmogorov: {d}");
    let mut rng = Stream::new(12, StreamTag::Caller, 0).rng(5);
    let mut counts = [0f64; 27];
    for _ in 0..60_000 {
        let mut order = [0, 1, 2];
        order.shuffle(&mut rng);
        counts[9 * order[0] + 3 * order[1] + order[2]] += 1.0;
    }
    let seen = counts.iter().filter(|&&c| c > 0.0);
    let chi: f64 = seen.clone().map(|c| (c - 1e4).powi(2) / 1e4).sum();
    assert!(seen.count() == 6 && chi < 45.0, "{chi}");
}

/// A billion draws: moments, tails out to 6, the largest, and Kolmogorov's distance over 2^16 bins.
///
/// Nine checks at Z and Kolmogorov's at 3 (3e-8): a false alarm with probability below 4e-7.
#[test]
fn a_billion_normals() {
    const BLOCK: usize = 1 << 18;
    const BLOCKS: u64 = 3815; // 1.00006e9
    const BINS: usize = 1 << 16;
    const BEYOND: [f32; 4] = [3.0, 4.0, 5.0, 6.0];
    #[derive(Clone)]
    struct Counts {
        moments: [f64; 4],
        beyond: [u64; 4],
        bins: Vec<u64>,
        top: f32,
    }
    let stream = Stream::new(7, StreamTag::Noise, 1);
    let count = |blocks: std::ops::Range<u64>| {
        let cpu = Cpu::new(1).unwrap();
        let mut z = cpu.zeros(BLOCK).unwrap();
        let mut c = Counts {
            moments: [0.0; 4],
            beyond: [0; 4],
            bins: vec![0; BINS],
            top: 0.0,
        };
        for block in blocks {
            cpu.random(&mut z, Random::Normal, stream, block).unwrap();
            for &z in &z {
                let (x, square) = (z as f64, z as f64 * z as f64);
                c.moments[0] += x;
                c.moments[1] += square;
                c.moments[2] += x * square;
                c.moments[3] += square * square;
                c.top = c.top.max(z.abs());
                for (n, limit) in c.beyond.iter_mut().zip(BEYOND) {
                    *n += (z.abs() > limit) as u64;
                }
                c.bins[((z + 8.0) * (BINS as f32 / 16.0)) as usize] += 1;
            }
        }
        c
    };
    let [mut all, other] = std::thread::scope(|s| {
        let other = s.spawn(|| count(BLOCKS / 2..BLOCKS));
        [count(0..BLOCKS / 2), other.join().unwrap()]
    });
    for i in 0..4 {
        all.moments[i] += other.moments[i];
        all.beyond[i] += other.beyond[i];
    }
    all.bins
        .iter_mut()
        .zip(&other.bins)
        .for_each(|(a, b)| *a += b);
    let n = BLOCKS as f64 * BLOCK as f64;
    let moments = [(0.0, 1.0), (1.0, 2.0), (0.0, 15.0), (3.0, 96.0)];
    for (i, (want, variance)) in moments.into_iter().enumerate() {
        let off = (all.moments[i] / n - want) / (variance / n).sqrt();
        assert!(off.abs() < Z, "moment {}: {off} standard errors", i + 1);
    }
    // P(|z| > 3, 4, 5, 6); the last expects 2 and is Poisson, above 18 with probability 1e-11
    let tails = [2.699_796_063e-3, 6.334_248_367e-5, 5.733_031_438e-7];
    for (i, p) in tails.into_iter().enumerate() {
        let off = (all.beyond[i] as f64 - n * p) / (n * p).sqrt();
        assert!(off.abs() < Z, "beyond {}: {off} standard errors", BEYOND[i]);
    }
    assert!(all.beyond[3] <= 18, "{} beyond 6", all.beyond[3]);
    let top = all.top.max(other.top);
    assert!(top > 5.5 && top < 6.77, "{top}");
    let (mut below, mut d) = (0, 0f64);
    for (i, count) in all.bins.iter().enumerate() {
        below += count;
        let edge = (i + 1) as f64 * 16.0 / BINS as f64 - 8.0;
        d = d.max((below as f64 / n - normal_cdf(edge)).abs());
    }
    // A number at an edge may be counted on either side of it: f32 has 24 bits, which is 1e-7 of them, and the reference is off
    // by as much; a hundredth of what is asked.
    assert!(d * n.sqrt() < 3.0, "Kolmogorov: {}", d * n.sqrt());
}
