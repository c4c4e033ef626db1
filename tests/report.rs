//! Reports: rows by name, in order, with what they mean; what is asked for wrongly is answered with what there is.

use bnn::inference::{Report, ReportValue};

fn report() -> Report {
    Report::new()
        .row("loss", 1.5, "mean loss, nats per token")
        .row("tokens", 7_usize, "tokens that were scored")
        .row("verdict", "good", "one sentence")
        .row("each", vec![1.0, 2.5], "losses, nats per token")
        .row("unknown", None, "what nobody knows")
}

#[test]
fn rows_are_found_by_name_and_keep_their_order() {
    let r = report();
    let names: Vec<&str> = r.rows().iter().map(|row| &*row.name).collect();
    assert_eq!(names, ["loss", "tokens", "verdict", "each", "unknown"]);
    assert_eq!(r.f64("loss").unwrap(), 1.5);
    assert_eq!(
        (r.u64("tokens").unwrap(), r.f64("tokens").unwrap()),
        (7, 7.0)
    );
    assert_eq!(r.str("verdict").unwrap(), "good");
    assert_eq!(r.f64s("each").unwrap(), [1.0, 2.5]);
    assert!(r.f64("unknown").unwrap().is_nan());
    assert_eq!(r.get("loss").unwrap().meaning, "mean loss, nats per token");
    assert_eq!(ReportValue::from(true), ReportValue::U64(1));
}

#[test]
fn a_group_has_its_name_before_its_rows_and_a_name_stands_once() {
    let r = report().group("base", report()).row("loss", 3.0, "another");
    assert_eq!(r.rows().len(), 10);
    assert_eq!(
        (r.f64("base.loss").unwrap(), r.f64("loss").unwrap()),
        (1.5, 3.0)
    );
    assert_eq!(r.rows()[0].meaning, "another");
}

#[test]
fn errors_name_the_row_and_the_nearest_one() {
    let r = report();
    let says = |e: bnn::Error, words: &[&str]| {
        let text = e.to_string();
        assert!(words.iter().all(|w| text.contains(w)), "{text}");
    };
    says(
        r.f64("los").unwrap_err(),
        &["`los`", "did you mean `loss`?"],
    );
    says(r.f64("token").unwrap_err(), &["did you mean `tokens`?"]);
    // Nothing is like it.
    let far = r.f64("zzzzzzzz").unwrap_err().to_string();
    assert!(
        far.contains("`zzzzzzzz`") && !far.contains("mean `"),
        "{far}"
    );
    says(
        r.u64("loss").unwrap_err(),
        &["`loss`", "a count", "a number"],
    );
    says(r.f64("verdict").unwrap_err(), &["a number", "text"]);
    says(r.str("each").unwrap_err(), &["text", "a series"]);
    says(r.f64s("tokens").unwrap_err(), &["a series", "a count"]);
    says(Report::new().f64("loss").unwrap_err(), &["`loss`"]);
}

#[test]
fn a_report_is_shown_a_line_per_row() {
    let text = report().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], "loss     1.5  (mean loss, nats per token)");
    assert_eq!(lines[3], "each     1 2.5  (losses, nats per token)");
}
