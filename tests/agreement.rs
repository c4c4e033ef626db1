//! Agreement of chains over many quantities: each is diagnosed as if it were alone, the worst counts, and the verdict follows from the numbers.

use bnn::Error;
use bnn::backend::Cpu;
use bnn::inference::Report;
use bnn::inference::agreement::{
    Agreement, Called, Cost, Identity, diagnose_each, judge, rhat_by_chance, too_few, verdict,
};
use bnn::metrics::{ChainDiagnostics, chain_diagnostics};
use bnn::rng::{Stream, StreamTag};

const CALLED: Called = Called {
    one: "number",
    many: "numbers",
};

fn diagnostics(rhat: f64, ess: f64) -> ChainDiagnostics {
    ChainDiagnostics {
        rhat,
        ess_bulk: ess,
        ess_tail: 2.0 * ess,
        ess_mean: ess,
        mcse_mean: 1.0 / ess,
        mean: 0.0,
        sd: 1.0,
        q05: -1.6,
        q50: 0.0,
        q95: 1.6,
    }
}

fn cost(gradients: u64, seconds: Option<f64>) -> Cost {
    Cost { gradients, seconds }
}

/// Three quantities of 20 draws in two chains, doubles and singles.
#[test]
fn each_quantity_is_diagnosed_as_if_it_were_alone() {
    let stream = |chain| Stream::new(5, StreamTag::Evaluate, chain);
    let table = |chain: u32| -> Vec<f32> {
        let of = stream(chain);
        (0..22 * 3)
            .map(|i| of.normal(0, i) + chain as f32 * (i % 3) as f32)
            .collect()
    };
    let singles = [table(0), table(1)];
    let doubles: Vec<Vec<f64>> = (singles.iter())
        .map(|t| t.iter().map(|&v| v.into()).collect())
        .collect();
    let cpu = Cpu::new(2).unwrap();
    let of_singles: Vec<&[f32]> = singles.iter().map(Vec::as_slice).collect();
    let of_doubles: Vec<&[f64]> = doubles.iter().map(Vec::as_slice).collect();
    let got = diagnose_each(&cpu, &of_singles, 20, 3).unwrap();
    assert_eq!(got, diagnose_each(&cpu, &of_doubles, 20, 3).unwrap());
    for (i, got) in got.iter().enumerate() {
        let alone = |t: &Vec<f64>| t.iter().skip(i).step_by(3).take(20).copied().collect();
        let series: Vec<Vec<f64>> = doubles.iter().map(alone).collect();
        assert_eq!(*got, chain_diagnostics(&series).unwrap(), "quantity {i}");
    }
    assert!(got[2].rhat > 1.3 && got[0].rhat < 1.3, "{got:?}");
    assert!(diagnose_each(&cpu, &of_singles, 3, 3).is_err());
    assert!(matches!(
        diagnose_each(&cpu, &of_singles, 23, 3),
        Err(Error::Shape { .. })
    ));

    let judged = judge(&cpu, &of_doubles, 20, 3, cost(44, None), CALLED).unwrap();
    let agreement = Agreement::new(&got, cost(44, None));
    assert_eq!((&judged.each, judged.agreement), (&got, agreement));
    assert_eq!(judged.verdict, verdict(agreement.as_ref(), 2, 20, CALLED));
    let r = Report::from(&judged);
    assert_eq!(r.str("verdict").unwrap(), judged.verdict);
    assert_eq!(r.f64("rhat_by_chance").unwrap(), rhat_by_chance(2, 20));
    assert_eq!(r.f64("rhat.worst").unwrap(), agreement.unwrap().rhat.worst);
    assert!(judge(&cpu, &of_doubles, 20, 0, cost(44, None), CALLED).is_err());
    assert!(judge(&cpu, &of_doubles, 20, 3, cost(0, None), CALLED).is_err());
}

#[test]
fn the_worst_and_the_median_leave_out_what_never_changed() {
    let each = [
        diagnostics(1.0, 400.0),
        diagnostics(f64::NAN, 9.0),
        diagnostics(1.2, 50.0),
        diagnostics(1.03, 100.0),
        diagnostics(1.005, 200.0),
    ];
    let a = Agreement::new(&each, cost(1000, Some(4.0))).unwrap();
    assert_eq!((a.quantities, a.constant), (5, 1));
    assert_eq!((a.rhat.worst, a.rhat.median), (1.2, (1.005 + 1.03) / 2.0));
    assert_eq!(
        (a.share_under_1_01, a.share_under_1_05, a.share_under_1_1),
        (0.5, 0.75, 0.75)
    );
    assert_eq!(
        (a.ess_bulk.draws.worst, a.ess_bulk.draws.median),
        (50.0, 150.0)
    );
    assert_eq!(
        (a.ess_tail.draws.worst, a.ess_tail.per_gradient.worst),
        (100.0, 0.1)
    );
    assert_eq!(a.ess_bulk.per_second.unwrap().median, 37.5);
    assert_eq!(a.mcse_mean.worst, 0.02);
    let r = Report::from(&a);
    assert_eq!(r.f64("rhat.worst").unwrap(), 1.2);
    assert_eq!(r.f64("ess_tail.draws.worst").unwrap(), 100.0);
    assert_eq!(r.f64("ess_bulk.per_second.median").unwrap(), 37.5);
    assert_eq!(r.u64("constant").unwrap(), 1);

    let timeless = Agreement::new(&each, cost(1000, None)).unwrap();
    assert!(timeless.ess_bulk.per_second.is_none());
    assert!(
        Report::from(&timeless)
            .f64("ess_bulk.per_second.worst")
            .unwrap()
            .is_nan()
    );
    assert!(Agreement::new(&each[1..2], cost(1, None)).is_none());
}

#[test]
fn the_verdict_follows_from_the_numbers() {
    let of = |each: &[ChainDiagnostics], chains, draws| {
        let a = Agreement::new(each, cost(1, None));
        verdict(a.as_ref(), chains, draws, CALLED)
    };
    // 100 effective draws per chain are enough.
    let good = of(&[diagnostics(1.009, 200.0)], 2, 5000);
    assert_eq!(
        good,
        "the chains agree on every number, and each is known by 200 effective draws or more"
    );
    let few = of(&[diagnostics(1.009, 199.0)], 2, 5000);
    assert!(
        few.contains("by 199 effective draws alone, fewer than 200"),
        "{few}"
    );
    let nearly = of(&[diagnostics(1.049, 500.0)], 2, 5000);
    assert!(
        nearly.contains("nearly agree") && nearly.contains("1.049"),
        "{nearly}"
    );
    let mut many = vec![diagnostics(1.0, 500.0); 19];
    many.push(diagnostics(1.06, 500.0));
    let most = of(&many, 2, 5000);
    assert!(
        most.contains("on most numbers") && most.contains("95.0 %"),
        "{most}"
    );
    many.push(diagnostics(1.06, 500.0));
    let no = of(&many, 2, 5000);
    assert!(
        no.starts_with("not converged") && no.contains("9.5 % of the numbers"),
        "{no}"
    );
    // What is said beside it.
    many[0].rhat = f64::NAN;
    let beside = of(&many, 1, 50);
    assert!(beside.contains("; 1 numbers never changed"), "{beside}");
    assert!(beside.contains("with one chain") && beside.contains("50 draws per chain are few"));
    assert!(beside.contains(&format!("{:.3}", rhat_by_chance(1, 50))));
    let still = of(&[diagnostics(f64::NAN, 1.0)], 2, 5000);
    assert!(still.starts_with("the chains have not moved"), "{still}");
    assert!(too_few(3).contains("3 draws per chain"));
}

#[test]
fn draws_of_other_targets_are_not_compared() {
    let of = |path: &str, t: &str| Identity {
        path: path.into(),
        settings: vec![("model", "{}".into()), ("temperature", t.into())],
    };
    of("a", "1").check_same(&of("b", "1")).unwrap();
    match of("a", "1").check_same(&of("b", "0.1")).unwrap_err() {
        Error::Mismatch {
            path,
            what,
            expected,
            got,
        } => {
            assert_eq!((path.to_str(), &*what), (Some("b"), "temperature"));
            assert_eq!((&*expected, &*got), ("1 as in a", "0.1"));
        }
        other => panic!("{other}"),
    }
}
