//! Cost against context, width, batch, samples and threads, with fitted exponents; memory against samples. Writes docs/scaling.md:
//! `cargo bench --bench scaling`.

use bnn::backend::vectors::Vectors;
use bnn::backend::{Cpu, Precision};
use bnn::generate::{Generator, Options};
use bnn::gpt::{Gelu, Gpt, GptConfig, Objective, TokenBatch, Workspace};
use bnn::store::{Dtype, Provenance, Store};
use std::fmt::Write;
use std::time::Instant;

fn shape(n_embd: usize, block_size: usize) -> Gpt {
    Gpt::new(GptConfig {
        vocab_size: 65,
        block_size,
        n_layer: 4,
        n_head: n_embd / 32,
        n_embd,
        bias: false,
        dropout: 0.0,
        gelu: Gelu::Exact,
        tie_weights: true,
    })
    .expect("a model")
}

fn median(mut f: impl FnMut()) -> f64 {
    f();
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.len() < 7 || start.elapsed().as_secs_f64() < 2.0 {
        let t = Instant::now();
        f();
        times.push(t.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn gradient(cpu: &Cpu, gpt: &Gpt, b: usize, t: usize) -> f64 {
    let params = gpt.layout().init(1);
    let x: Vec<u16> = (0..b * t).map(|i| (i * 7 % 65) as u16).collect();
    let mut ws = Workspace::for_gradients(cpu, gpt.config(), b, t).expect("room");
    let mut grad = cpu.zeros(params.len()).expect("room");
    median(|| {
        let batch = TokenBatch::new(&x, &x, t, Objective::All);
        gpt.gradient(cpu, &params, batch, None, &mut ws, &mut grad)
            .expect("a gradient");
    })
}

/// Milliseconds to write 64 tokens after 8, averaged over n samples.
fn generation(cpu: &Cpu, gpt: &Gpt, n: usize) -> f64 {
    let samples = (0..n as u64).map(|s| gpt.layout().init(s)).collect();
    let mut g = Generator::new(cpu, gpt, samples).expect("a generator");
    let options = Options {
        max_new_tokens: 64,
        ..Options::default()
    };
    median(|| {
        g.generate(&[1; 8], &options, 0, |_| true).expect("a text");
    })
}

/// A table of seconds, with the slope of log seconds on log x between the two largest and over all.
fn table(out: &mut String, title: &str, x: &str, rows: &[(usize, f64)]) {
    let slope = |rows: &[(usize, f64)]| {
        let points: Vec<(f64, f64)> = rows.iter().map(|r| ((r.0 as f64).ln(), r.1.ln())).collect();
        let n = points.len() as f64;
        let (mx, my) = (
            points.iter().map(|p| p.0).sum::<f64>() / n,
            points.iter().map(|p| p.1).sum::<f64>() / n,
        );
        let top: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
        top / points.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>()
    };
    writeln!(out, "## {title}\n\n| {x} | ms |\n|---|---|").expect("a string");
    for (n, seconds) in rows {
        writeln!(out, "| {n} | {:.3} |", seconds * 1e3).expect("a string");
    }
    let (all, last) = (slope(rows), slope(&rows[rows.len() - 2..]));
    writeln!(
        out,
        "\nExponent: {all:.2} over all, {last:.2} between the last two.\n"
    )
    .expect("a string");
}

fn resident_kib(what: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find(|l| l.starts_with(what))
        .expect("the field");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("a number")
}

fn main() {
    let (one, two) = (
        Cpu::new(1).expect("a context"),
        Cpu::new(2).expect("two threads"),
    );
    let mut out = String::from(
        "# Scaling\n\nWritten by `cargo bench --bench scaling` on the machine of [performance.md](performance.md): 4 layers, heads of 32 \
         channels, two threads unless said otherwise, medians.\n\n",
    );

    // First, while nothing else has been made: the high-water mark only rises.
    let gpt = shape(128, 64);
    let n = gpt.n_params();
    let folder = tempfile::tempdir().expect("a folder");
    let provenance = Provenance {
        config: String::new(),
        model: String::new(),
        seed: 1,
        corpus_sha256: [0; 32],
        baseline_sha256: [0; 32],
        vocabulary: String::new(),
        dtype: Dtype::F32,
        n_params: n as u64,
    };
    let mut store = Store::create(folder.path().join("samples"), provenance).expect("a store");
    let mut theta = gpt.layout().init(1);
    writeln!(
        out,
        "## Memory against stored samples\n\n{n} parameters ({:.1} MB a sample), drawn, stored and read back one at a time.\n\n\
         | samples | on disk, MB | resident, MB | peak, MB |\n|---|---|---|---|",
        4e-6 * n as f64
    )
    .expect("a string");
    for count in [1, 10, 100, 400] {
        while store.len() < count {
            theta[0] += 1.0;
            store
                .append(0, store.len() as u64, &theta)
                .expect("a sample");
        }
        (0..count).for_each(|i| store.load(i, &mut theta).expect("a sample"));
        let mb = |field| resident_kib(field) as f64 * 1024e-6;
        let disk = 4e-6 * (n * count) as f64;
        let (now, peak) = (mb("VmRSS"), mb("VmHWM"));
        writeln!(out, "| {count} | {disk:.0} | {now:.1} | {peak:.1} |").expect("a string");
    }
    out.push('\n');
    drop(folder);

    let contexts =
        [16, 32, 64, 128, 256, 512].map(|t| (t, gradient(&two, &shape(128, t), 2048 / t, t)));
    table(
        &mut out,
        "A gradient against the context T (2,048 tokens a batch, width 128)",
        "T",
        &contexts,
    );
    let widths = [64, 128, 256, 512].map(|c| (c, gradient(&two, &shape(c, 64), 16, 64)));
    table(
        &mut out,
        "A gradient against the width C (16 sequences of 64)",
        "C",
        &widths,
    );
    let batches = [1, 2, 4, 8, 16, 32, 64].map(|b| (b, gradient(&two, &shape(128, 64), b, 64)));
    table(
        &mut out,
        "A gradient against the sequences of a batch (of 64 tokens, width 128)",
        "B",
        &batches,
    );
    // A sample is 12.7 MB: two lie in a last-level cache of 32 MB, four do not.
    let samples = [1, 2, 4, 8, 16, 32].map(|s| (s, generation(&two, &shape(256, 128), s)));
    table(
        &mut out,
        "64 tokens against the samples that are averaged (width 256, 12.7 MB a sample: the first few lie in a cache)",
        "samples",
        &samples,
    );

    writeln!(
        out,
        "## Two threads over one\n\nThe bits are the same.\n\n| work | one, ms | two, ms | ratio |\n|---|---|---|---|"
    )
    .expect("a string");
    let wide = shape(384, 128);
    for (name, precision) in [
        ("gradient", Precision::Highest),
        ("gradient, medium", Precision::Medium),
    ] {
        let time = |cpu: &Cpu| gradient(&cpu.clone().with_precision(precision), &wide, 16, 128);
        let (a, b) = (time(&one), time(&two));
        writeln!(
            out,
            "| {name}, width 384, (16, 128) | {:.1} | {:.1} | {:.2} |",
            a * 1e3,
            b * 1e3,
            a / b
        )
        .expect("a string");
    }
    let (a, b) = (generation(&one, &wide, 10), generation(&two, &wide, 10));
    writeln!(
        out,
        "| 64 tokens, ten samples, width 384 | {:.1} | {:.1} | {:.2} |",
        a * 1e3,
        b * 1e3,
        a / b
    )
    .expect("a string");

    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling.md");
    std::fs::write(&page, &out).expect("docs can be written");
    print!("{out}");
}
