//! What a run's samples are called: every kind, every reason and what to try, from facts alone.

use bnn::inference::verdict::SampleKind;
use bnn::inference::{Compared, Facts, NUMBERS, Report, Verdict};

fn compared(name: &str, difference: f64, std_error: f64) -> Compared {
    Compared {
        name: name.into(),
        loss: 1.55,
        models: 25,
        difference,
        std_error,
    }
}

/// Four chains that pass every check.
fn good(temperature: f64) -> Facts {
    Facts {
        sampler: "baoa".into(),
        temperature,
        chains: 4,
        samples: 100,
        sampling_steps: Some(1000.0),
        rhat: Some(1.008),
        ess: Some(412.0),
        kinetic: Some(1.001),
        kinetic_off: Some(false),
        configurational: Some(0.99),
        configurational_off: Some(false),
        over_free: Some(0.4),
        one_ray: Some(false),
        mutual_information: Some(0.08),
        single: Some(compared("the baseline", -0.062, 0.007)),
        control: Some(compared("snapshots", 0.031, 0.006)),
        ..Facts::default()
    }
}

fn says(f: Facts, kind: SampleKind, parts: &[&str]) -> Verdict {
    let v = Verdict::new(f);
    assert_eq!(v.kind, kind, "{}", v.text);
    for part in parts {
        let all = v.text_and_next();
        assert!(all.contains(part), "{all} lacks {part}");
    }
    v
}

#[test]
fn posterior_samples_are_those_of_chains_at_t_1_that_pass() {
    let parts = [
        "100 posterior samples (T = 1)",
        "at most 1.008",
        "412 effective",
    ];
    let v = says(good(1.0), SampleKind::Posterior, &parts);
    assert!(v.passes() && v.next.is_empty(), "{v:?}");
    let tempered = "samples of a tempered chain (T = 0.1;";
    let cold = says(good(0.1), SampleKind::Tempered, &[tempered]);
    assert!(cold.passes() && !cold.text.contains("posterior samples"));
    // Each check by itself takes the name away.
    type Break = fn(&mut Facts);
    let breaks: [(Break, &str); 8] = [
        (|f| f.rhat = Some(1.05), "R-hat 1.05"),
        (|f| f.rhat = None, "whether it has converged is not known"),
        (
            |f| f.ess = Some(399.0),
            "only 399 effective draws where 400 are wanted",
        ),
        (
            |f| (f.kinetic_off, f.kinetic) = (Some(true), Some(1.5)),
            "1.50 times the temperature",
        ),
        (
            |f| (f.configurational_off, f.configurational) = (Some(true), Some(0.1)),
            "have not forgotten the start",
        ),
        (
            |f| (f.configurational_off, f.configurational) = (Some(true), Some(1.4)),
            "hotter than T",
        ),
        (|f| f.one_ray = Some(true), "on one ray"),
        (|f| f.mutual_information = Some(0.0), "predict alike"),
    ];
    for (spoil, reason) in breaks {
        let mut f = good(1.0);
        spoil(&mut f);
        let v = says(f, SampleKind::LocalEnsemble, &["not the posterior", reason]);
        assert!(!v.passes() && !v.text.contains("posterior samples"));
    }
    // Just inside the limits.
    let mut f = good(1.0);
    (f.rhat, f.ess) = (Some(1.0499), Some(400.0));
    says(f, SampleKind::Posterior, &[]);
}

#[test]
fn a_cold_chain_that_diffuses_freely_is_called_so() {
    let f = Facts {
        chains: 1,
        samples: 25,
        rhat: Some(2.03),
        ess: Some(1.5),
        configurational: Some(0.1),
        configurational_off: Some(true),
        over_free: Some(0.99),
        ..good(0.1)
    };
    let v = says(
        f,
        SampleKind::LocalEnsemble,
        &[
            "A cold (T = 0.1) local ensemble, not the posterior: R-hat 2.03, and it moved as far as free diffusion would.",
            "Its average predicts better than the baseline by 0.0620 +- 0.0070 nats per token.",
            "For the same cost snapshots (25 models) has a loss of 1.5500: the average predicts worse than it by 0.0310 +- 0.0060 nats per token.",
            "`--chains 4`",
            "`--sampling-steps 8000`",
        ],
    );
    assert!(!v.text.contains("forgotten"), "{}", v.text);
    let free = |over| {
        let mut f = v.facts.clone();
        f.over_free = Some(over);
        Verdict::new(f).text.contains("as far as free diffusion")
    };
    assert!(free(0.91) && free(1.09) && !free(0.89) && !free(1.11));
    let hot = Facts {
        temperature: 2.0,
        ..v.facts.clone()
    };
    says(
        hot,
        SampleKind::LocalEnsemble,
        &["A hot (T = 2) local ensemble"],
    );
    let one = Facts {
        temperature: 1.0,
        ..v.facts
    };
    says(
        one,
        SampleKind::LocalEnsemble,
        &["A local ensemble (T = 1), not the posterior"],
    );
}

#[test]
fn what_is_no_chain_is_not_judged_as_one() {
    let path = Facts {
        rhat: Some(2.0),
        ..good(0.0)
    };
    let v = says(
        path,
        SampleKind::OptimiserPath,
        &[
            "100 points on an optimiser's path (T = 0)",
            "nothing was sampled",
        ],
    );
    assert!(
        !v.passes() && !v.text.contains("R-hat") && v.next.is_empty(),
        "{v:?}"
    );
    let fit = Facts {
        fit: true,
        sampler: "laplace".into(),
        chains: 0,
        rhat: None,
        ess: None,
        ..good(0.003)
    };
    let v = says(
        fit,
        SampleKind::Fit,
        &[
            "100 draws from the normal that laplace fitted",
            "not samples of the posterior",
        ],
    );
    assert!(!v.passes());
    let several = Facts {
        chains: 3,
        temperature: 1e-30,
        ..v.facts
    };
    let sentence = "100 draws from 3 normals that laplace fitted at T = 1e-30: approximations around 3 points, not samples of the posterior.";
    says(several, SampleKind::Fit, &[sentence]);
    let none = Facts {
        samples: 0,
        ..good(1.0)
    };
    let v = says(none, SampleKind::OneModel, &["There is no sample."]);
    assert!(!v.text.contains("predicts better"), "{}", v.text);
    let one = Facts {
        samples: 1,
        ..good(1.0)
    };
    says(
        one,
        SampleKind::OneModel,
        &["One model", "It predicts better"],
    );
}

#[test]
fn differences_are_named_by_their_size_and_error() {
    let of = |difference, std_error| {
        let single = Some(compared("the baseline", difference, std_error));
        Verdict::new(Facts {
            single,
            ..good(1.0)
        })
        .text
    };
    assert!(of(-0.0002, 1e-5).contains("no practical difference"));
    assert!(of(0.0009, 1e-5).contains("no practical difference"));
    assert!(of(-0.01, 0.006).contains("as far as this text can tell"));
    assert!(of(-0.013, 0.006).contains("better than the baseline by 0.0130 +- 0.0060"));
    assert!(of(0.013, 0.006).contains("worse than the baseline by 0.0130"));
    // The best single model may be the control itself, which is then named once.
    let control = compared("a model of 3200 gradients", -0.139, 0.012);
    let both = Facts {
        single: Some(control.clone()),
        control: Some(control),
        ..good(1.0)
    };
    let said = "Their average predicts better than a model of 3200 gradients by 0.1390 +- 0.0120 nats per token, which cost as much.";
    let v = says(both, SampleKind::Posterior, &[said]);
    assert!(!v.text.contains("For the same cost"), "{}", v.text);
    let f = Facts {
        single: None,
        control: None,
        ..good(1.0)
    };
    let v = says(
        f,
        SampleKind::Posterior,
        &["Nothing of equal cost was compared.", "`bnn eval RUN`"],
    );
    assert!(!v.text.contains("predicts"));
}

#[test]
fn advice_is_for_what_fails() {
    let next = |f: &Facts| Verdict::new(f.clone()).next.join("; ");
    let mut f = good(0.1);
    (f.rhat, f.kinetic, f.kinetic_off) = (Some(1.3), Some(1.6), Some(true));
    let said = next(&f);
    assert!(
        said.contains("--auto-step") && said.contains("--sampling-steps 8000"),
        "{said}"
    );
    assert!(!said.contains("--chains"), "{said}");
    f.kinetic = Some(0.6);
    assert!(!next(&f).contains("--auto-step"));
    f.one_ray = Some(true);
    assert!(next(&f).contains("--momentum"));
    f.rhat = None;
    assert!(next(&f).contains("--probe-tokens"));
    assert!(!next(&f).contains("--learning-rate"));
    f.mutual_information = Some(1e-5);
    assert!(next(&f).contains("a larger `--learning-rate`"));
}

#[test]
fn facts_are_set_by_name_and_reported() {
    let mut f = Facts::default();
    for (i, name) in NUMBERS.iter().enumerate() {
        f.set(name, i as f64 + 1.0).unwrap();
    }
    assert_eq!(
        (f.fit, f.temperature, f.chains, f.samples),
        (true, 2.0, 3, 4)
    );
    assert_eq!(
        (f.rhat, f.ess, f.over_free),
        (Some(8.0), Some(9.0), Some(14.0))
    );
    let (single, control) = (f.single.clone().unwrap(), f.control.clone().unwrap());
    assert_eq!(
        (
            single.loss,
            single.models,
            single.difference,
            single.std_error
        ),
        (17.0, 18, 19.0, 20.0)
    );
    assert_eq!(
        (control.loss, control.models, control.std_error),
        (21.0, 22, 24.0)
    );
    let text = f.set("rhatt", 1.0).unwrap_err().to_string();
    assert!(text.contains("did you mean `rhat`?"), "{text}");
    assert!(f.set("rhat", f64::NAN).is_err());

    let r = Report::from(&Verdict::new(good(1.0)));
    assert_eq!(
        (r.u64("passes").unwrap(), r.f64("check.rhat").unwrap()),
        (1, 1.0)
    );
    assert!(r.str("text").unwrap().starts_with("100 posterior samples"));
    let unknown = Facts {
        rhat: None,
        ..good(1.0)
    };
    let r = Report::from(&Verdict::new(unknown));
    assert!(r.f64("check.rhat").unwrap().is_nan() && r.u64("passes").unwrap() == 0);
}

/// Advice does not repeat what was done.
#[test]
fn advice_names_what_was_not_tried() {
    let hot = |auto_step, recorded, rhat| {
        let facts = Facts {
            kinetic: Some(1.5),
            kinetic_off: Some(true),
            auto_step,
            recorded,
            rhat,
            ess: None,
            ..good(1.0)
        };
        Verdict::new(facts).next.join("; ")
    };
    let (looked, not) = (hot(Some(true), None, None), hot(Some(false), None, None));
    assert!(not.contains("`--auto-step`") && !not.contains("--step-growth"));
    assert!(!looked.contains("`--auto-step`") && looked.contains("`--step-growth`"));
    assert!(not.contains("--probe-tokens"));
    let recorded = hot(None, Some(true), None);
    assert!(!recorded.contains("--probe-tokens") && recorded.contains("--probe-every"));
    assert!(!hot(None, Some(true), Some(1.2)).contains("--probe-every"));
}
