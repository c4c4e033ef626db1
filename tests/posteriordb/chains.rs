//! Chains of a caller's own model through the C interface, and what their draws say beside reference values.

use super::models::Posterior;
use bnn::capi::*;
use std::ffi::c_char;
use std::ptr::null_mut;

/// What a chain is asked for: options of the C interface by name.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: &'static str,
    pub adapt: &'static str,
    pub warmup: u64,
    pub steps: u64,
    pub chains: u32,
    pub thinning: u64,
    pub seed: u64,
    pub tolerance: Option<f64>,
}

/// Calls a function of the interface and fails with its message.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {{
        let mut err = bnn_error { code: 0, message: [0; 508] };
        // SAFETY: handles are live, and lengths are those of the buffers.
        let status = unsafe { $function($($argument,)* &mut err) };
        if status as i32 != 0 {
            let bytes: Vec<u8> = err.message.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
            Err(format!("{}: {}", stringify!($function), String::from_utf8_lossy(&bytes)))
        } else {
            Ok(())
        }
    }};
}

/// A text with its length.
pub fn name(text: &str) -> (*const c_char, usize) {
    (text.as_ptr().cast(), text.len())
}

/// Draws of a posterior, chain after chain for each parameter, and the step that each chain found.
pub struct Draws {
    pub of: Vec<Vec<f64>>, // (parameters, chains * kept)
    pub kept: usize,
    pub chains: usize,
    pub step: f64,
    /// Gradients of one chain, those of the warm-up counted.
    pub gradients: u64,
}

/// A start in (-2, 2) for each parameter, as Stan has it: drawn again where log density or gradient are not finite.
fn start(p: &Posterior, seed: u64, chain: u32) -> Vec<f32> {
    let n = p.names.len();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(chain + 1);
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mixed = (state ^ (state >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        (mixed >> 40) as f32 / (1 << 24) as f32
    };
    loop {
        let start: Vec<f32> = (0..n).map(|_| 4.0 * uniform() - 2.0).collect();
        let (u, mut grad) = (
            start.iter().map(|&x| x.into()).collect::<Vec<f64>>(),
            vec![0.0; n],
        );
        let log_post = (p.density)(&u, &mut grad);
        if log_post.is_finite() && grad.iter().all(|&g| (g as f32).is_finite()) {
            return start;
        }
    }
}

fn options(ask: &Ask, chain: u32) -> Result<*mut bnn_options, String> {
    let mut o = null_mut();
    call!(bnn_options_new(&mut o))?;
    for (key, value) in [("sampler", ask.method), ("adapt", ask.adapt)] {
        let ((k, kn), (v, vn)) = (name(key), name(value));
        call!(bnn_options_set_str(o, k, kn, v, vn))?;
    }
    let numbers = [
        ("warmup_steps", ask.warmup),
        ("sampling_steps", ask.steps),
        ("thinning", ask.thinning),
        ("seed", ask.seed),
        ("chain", chain.into()),
    ];
    for (key, value) in numbers {
        let (k, kn) = name(key);
        call!(bnn_options_set_u64(o, k, kn, value))?;
    }
    if let Some(tolerance) = ask.tolerance {
        let (k, kn) = name("adapt_tolerance");
        call!(bnn_options_set_f64(o, k, kn, tolerance))?;
    }
    Ok(o)
}

/// Runs one chain; its draws, parameter after parameter.
fn chain(p: &Posterior, ask: &Ask, number: u32) -> Result<(Vec<Vec<f64>>, f64), String> {
    let n = p.names.len();
    let (mut context, mut sampler, mut report) = (null_mut(), null_mut(), null_mut());
    call!(bnn_context_new(1, &mut context))?;
    call!(bnn_report_new(&mut report))?;
    let o = options(ask, number)?;
    let theta0 = start(p, ask.seed, number);
    call!(bnn_sampler_new_with_gradients(
        context,
        o,
        theta0.as_ptr(),
        n,
        &mut sampler
    ))?;
    let mut u: Vec<f64> = theta0.iter().map(|&x| x.into()).collect();
    let (mut grad, mut draws) = (vec![0.0; n], vec![Vec::new(); n]);
    let (mut phase, mut due) = (BNN_PHASE_WARMUP, 0);
    let mut made = Ok(());
    while phase != BNN_PHASE_DONE && made.is_ok() {
        let log_post = (p.density)(&u, &mut grad);
        made = call!(bnn_sampler_step_gradient_f64(
            sampler,
            grad.as_ptr(),
            n,
            log_post,
            u.as_mut_ptr(),
            &mut phase,
            &mut due
        ));
        if due == 1 {
            draws.iter_mut().zip(&u).for_each(|(d, &u)| d.push(u));
        }
    }
    let mut step = f64::NAN;
    let (k, kn) = name("step_size");
    let read = call!(bnn_sampler_step_size(sampler, report))
        .and_then(|()| call!(bnn_report_get_f64(report, k, kn, &mut step)));
    // SAFETY: each handle is freed once.
    unsafe {
        bnn_sampler_free(sampler);
        bnn_options_free(o);
        bnn_report_free(report);
        bnn_context_free(context);
    }
    made.and(read).map(|()| (draws, step))
}

/// Runs all chains that are asked for.
///
/// # Errors
/// What the interface says, with the chain.
pub fn run(p: &Posterior, ask: &Ask) -> Result<Draws, String> {
    let mut all = Draws {
        of: vec![Vec::new(); p.names.len()],
        kept: 0,
        chains: ask.chains as usize,
        step: 0.0,
        gradients: ask.warmup + ask.steps,
    };
    for number in 0..ask.chains {
        let (draws, step) =
            chain(p, ask, number).map_err(|e| format!("{} chain {number}: {e}", p.name))?;
        all.kept = draws[0].len();
        all.step += step / f64::from(ask.chains);
        all.of.iter_mut().zip(draws).for_each(|(a, d)| a.extend(d));
    }
    Ok(all)
}

/// What the draws say of one parameter.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub mean: f64,
    pub mcse_mean: f64,
    pub sd: f64,
    pub mcse_sd: f64,
    pub rhat: f64,
    pub ess: f64, // the smaller of bulk and tail
}

fn diagnostics<const N: usize>(values: &[f64], draws: &Draws, rows: [&str; N]) -> [f64; N] {
    let mut report = null_mut();
    call!(bnn_report_new(&mut report)).expect("a report");
    call!(bnn_chain_diagnostics(
        values.as_ptr(),
        draws.chains,
        draws.kept,
        report
    ))
    .expect("diagnostics");
    let found = rows.map(|row| {
        let (mut value, (k, kn)) = (0.0, name(row));
        call!(bnn_report_get_f64(report, k, kn, &mut value)).expect(row);
        value
    });
    // SAFETY: it is freed once.
    unsafe { bnn_report_free(report) };
    found
}

/// Summarises one parameter's draws.
pub fn found(draws: &Draws, parameter: usize) -> Found {
    let x = &draws.of[parameter];
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let squares: Vec<f64> = x.iter().map(|x| (x - mean).powi(2)).collect();
    let sd = (squares.iter().sum::<f64>() / (n - 1.0)).sqrt();
    let [mcse_mean, rhat, bulk, tail] =
        diagnostics(x, draws, ["mcse_mean", "rhat", "ess_bulk", "ess_tail"]);
    let [of_squares] = diagnostics(&squares, draws, ["mcse_mean"]);
    let (mcse_sd, ess) = (of_squares / (2.0 * sd), bulk.min(tail));
    Found {
        mean,
        mcse_mean,
        sd,
        mcse_sd,
        rhat,
        ess,
    }
}

/// Largest deviations over a posterior's parameters, in combined Monte Carlo standard errors, and what else is worst.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    pub z_mean: f64,
    pub z_sd: f64,
    pub rhat: f64,
    pub ess: f64,
    pub mean_over_sd: f64,
    pub sd_ratio: f64,
}

/// Compares draws with the reference; an sd may be off by the share `bias` besides.
pub fn compare(p: &Posterior, draws: &Draws, bias: f64) -> Worst {
    let mut w = Worst {
        ess: f64::INFINITY,
        ..Worst::default()
    };
    for i in 0..p.names.len() {
        let f = found(draws, i);
        let off = (f.mean - p.mean[i]).abs();
        w.z_mean = w.z_mean.max(off / f.mcse_mean.hypot(p.mcse_mean[i]));
        let wide = ((f.sd - p.sd[i]).abs() - bias * p.sd[i]).max(0.0);
        w.z_sd = w.z_sd.max(wide / f.mcse_sd.hypot(p.mcse_sd[i]));
        w.rhat = w.rhat.max(f.rhat);
        w.ess = w.ess.min(f.ess);
        w.mean_over_sd = w.mean_over_sd.max(off / p.sd[i]);
        w.sd_ratio = w.sd_ratio.max((f.sd / p.sd[i] - 1.0).abs());
    }
    w
}
