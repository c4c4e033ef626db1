//! Posteriors that nobody here wrote, of posteriordb: their gradients, and chains of them without anything tuned by hand.

#[path = "posteriordb/models.rs"]
mod models;

#[test]
fn gradients_are_those_of_the_reference() {
    for p in models::all() {
        let base = &p.points[0];
        for (u, log_post, grad) in &p.points {
            let mut got = vec![0.0; u.len()];
            let value = (p.density)(u, &mut got);
            let mut rest = vec![0.0; u.len()];
            let constant = (p.density)(&base.0, &mut rest) - base.1;
            assert!(
                (value - constant - log_post).abs() < 1e-7 * (1.0 + log_post.abs()),
                "{}: {value} {log_post}",
                p.name
            );
            for (g, w) in got.iter().zip(grad) {
                assert!(
                    (g - w).abs() < 1e-7 * (1.0 + w.abs()),
                    "{}: {got:?} {grad:?}",
                    p.name
                );
            }
        }
    }
}
