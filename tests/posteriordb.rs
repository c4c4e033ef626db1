//! Posteriors that nobody here wrote, of posteriordb: their gradients, and chains of them through the C interface without anything tuned by hand.
//!
//! `cargo bench --bench posteriordb` makes the whole table, of longer chains; docs/own-posterior.md has it.

#[path = "posteriordb/chains.rs"]
mod chains;
#[path = "posteriordb/models.rs"]
mod models;

use bnn::capi::*;
use chains::{Ask, Draws, compare, found, run};
use models::Posterior;
use std::ptr::null_mut;

#[test]
fn gradients_are_those_of_the_reference() {
    for p in models::all() {
        let base = &p.points[0];
        let mut grad = vec![0.0; p.names.len()];
        let constant = (p.density)(&base.0, &mut grad) - base.1;
        for (u, log_post, want) in &p.points {
            let value = (p.density)(u, &mut grad) - constant;
            assert!(
                (value - log_post).abs() < 1e-7 * (1.0 + log_post.abs()),
                "{}: {value} {log_post}",
                p.name
            );
            for (g, w) in grad.iter().zip(want) {
                assert!(
                    (g - w).abs() < 1e-7 * (1.0 + w.abs()),
                    "{}: {grad:?} {want:?}",
                    p.name
                );
            }
        }
    }
}

/// The largest deviation in combined Monte Carlo standard errors. Of some 500 comparisons of two sides each, one of normal errors beyond 6 has a chance of 1e-6; half a unit
/// more for errors that are estimated.
const Z: f64 = 6.5;

fn ask(method: &'static str, steps: u64) -> Ask {
    Ask {
        method,
        adapt: "dense",
        warmup: 2000,
        steps,
        chains: 4,
        thinning: 5,
        seed: 1,
        tolerance: None,
    }
}

/// Returns what is wrong with the draws, if anything; a standard deviation may be off by the share `bias` besides.
fn complaint(p: &Posterior, draws: &Draws, bias: f64) -> Option<String> {
    let w = compare(p, draws, bias);
    let wrong = w.z_mean > Z || w.z_sd > Z || w.rhat > 1.01;
    wrong.then(|| format!("{}: {w:?}", p.name))
}

/// A chain that is wrong by a tenth of its spread, or by a quarter of a standard deviation, must not pass.
fn has_teeth(p: &Posterior, draws: Draws) {
    for (stretch, shift) in [(1.1, 0.0), (0.9, 0.0), (1.0, 0.25)] {
        let mut wrong = Draws {
            of: draws.of.clone(),
            ..draws
        };
        for (i, x) in wrong.of.iter_mut().enumerate() {
            let f = found(&draws, i);
            x.iter_mut()
                .for_each(|x| *x = f.mean + stretch * (*x - f.mean) + shift * f.sd);
        }
        assert!(
            complaint(p, &wrong, 0.0).is_some(),
            "{}: {stretch} {shift} passes",
            p.name
        );
    }
}

#[test]
fn baoa_has_the_reference_moments_of_every_posterior() {
    let complaints = models::all().into_iter().filter_map(|p| {
        let draws = run(&p, &ask("baoa", 20_000)).unwrap_or_else(|e| panic!("{e}"));
        let found = complaint(&p, &draws, 0.0);
        has_teeth(&p, draws);
        found
    });
    let complaints: Vec<_> = complaints.collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// SGHMC's variances are too large by h^2 lambda / (2 (2 - gamma h)) in the stiffest direction, 0.011 at a tolerance of 0.01: its standard deviations by 0.0055.
#[test]
fn sghmc_and_sgnht_have_the_reference_moments() {
    const SOME: [&str; 4] = ["kidiq-kidscore_momiq", "mesquite", "arma", "gp_pois"];
    let mut complaints = Vec::new();
    for p in models::all()
        .iter()
        .filter(|p| SOME.iter().any(|s| p.name.starts_with(s)))
    {
        for (method, steps, bias) in [("sghmc", 40_000, 0.0055), ("sgnht", 20_000, 0.0)] {
            let draws = run(p, &ask(method, steps)).unwrap_or_else(|e| panic!("{method} {e}"));
            complaints.extend(complaint(p, &draws, bias).map(|c| format!("{method} {c}")));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Without a mass kidiq's 3 parameters have some 3 effective draws in 20,000 gradients; the test is of the warm-up that finds one.
#[test]
fn a_warm_up_is_worth_a_thousand_times_as_many_draws() {
    let p = models::all()
        .into_iter()
        .find(|p| p.name == "kidiq-kidscore_momiq")
        .expect("kidiq");
    let one = Ask {
        chains: 1,
        thinning: 1,
        steps: 18_000,
        ..ask("baoa", 0)
    };
    let draws = run(&p, &one).expect("a chain");
    let ess = (0..3)
        .map(|i| found(&draws, i).ess)
        .fold(f64::INFINITY, f64::min);
    assert_eq!(draws.gradients, 20_000);
    assert!(ess > 1000.0, "{ess}");
}

/// A factor goes in and comes out, of a chain that was given one, of one with a diagonal mass, and not of one that finds its own or has begun to sample.
#[test]
fn a_dense_mass_goes_in_and_comes_out() {
    const L: [f64; 4] = [2.0, 0.0, -0.5, 0.25];
    let mut err = bnn_error {
        code: 0,
        message: [0; 508],
    };
    let (mut context, mut options, mut chain) = (null_mut(), null_mut(), null_mut());
    let (mut back, mut mass, mut theta) = ([9.0; 4], [0.0; 2], [1.0f32, 2.0]);
    let (mut phase, mut due) = (0, 0);
    // SAFETY: handles are live until they are freed, once; lengths are those of the buffers.
    unsafe {
        let e: *mut bnn_error = &mut err;
        assert_eq!(bnn_context_new(1, &mut context, e), BNN_OK);
        assert_eq!(bnn_options_new(&mut options, e), BNN_OK);
        let new = |chain: &mut *mut bnn_sampler| {
            bnn_sampler_new_with_gradients(context, options, [1.0f32, 2.0].as_ptr(), 2, chain, e)
        };
        assert_eq!(new(&mut chain), BNN_OK);
        assert_eq!(
            bnn_sampler_set_mass(chain, [4.0f32, 0.25].as_ptr(), 2, e),
            BNN_OK
        );
        assert_eq!(
            bnn_sampler_get_mass_cholesky(chain, back.as_mut_ptr(), 2, e),
            BNN_OK
        );
        assert_eq!(back, [0.5, 0.0, 0.0, 2.0]);
        assert_eq!(
            bnn_sampler_set_mass_cholesky(chain, L.as_ptr(), 3, e),
            BNN_ERR_SHAPE
        );
        assert_eq!(
            bnn_sampler_set_mass_cholesky(chain, [1.0, 1.0, 0.0, 1.0].as_ptr(), 2, e),
            BNN_ERR_INVALID
        );
        assert_eq!(
            bnn_sampler_set_mass_cholesky(chain, L.as_ptr(), 2, e),
            BNN_OK
        );
        assert_eq!(
            bnn_sampler_get_mass_cholesky(chain, back.as_mut_ptr(), 2, e),
            BNN_OK
        );
        assert_eq!(back, L);
        assert_eq!(bnn_sampler_get_mass(chain, mass.as_mut_ptr(), 2, e), BNN_OK);
        assert_eq!(mass, [0.25, 3.2]);
        assert_eq!(
            bnn_sampler_get_params(chain, theta.as_mut_ptr(), 2, e),
            BNN_OK
        );
        assert_eq!(theta, [1.0, 2.0]);
        assert_eq!(
            bnn_sampler_watch(chain, 1, [0].as_ptr(), [1].as_ptr(), 1, e),
            BNN_ERR_INVALID
        );
        for _ in 0..101 {
            let grad = theta.map(|t| -t);
            let t = theta.as_mut_ptr();
            assert_eq!(
                bnn_sampler_step_gradient(chain, grad.as_ptr(), 2, 0.0, t, &mut phase, &mut due, e),
                BNN_OK
            );
        }
        assert_eq!(
            bnn_sampler_set_mass_cholesky(chain, L.as_ptr(), 2, e),
            BNN_ERR_INVALID
        );
        bnn_sampler_free(chain);
        let ((k, kn), (v, vn)) = (chains::name("adapt"), chains::name("dense"));
        assert_eq!(bnn_options_set_str(options, k, kn, v, vn, e), BNN_OK);
        assert_eq!(new(&mut chain), BNN_OK);
        assert_eq!(
            bnn_sampler_set_mass_cholesky(chain, L.as_ptr(), 2, e),
            BNN_ERR_INVALID
        );
        bnn_sampler_free(chain);
        bnn_options_free(options);
        bnn_context_free(context);
    }
}
