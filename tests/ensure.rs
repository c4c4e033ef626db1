//! What `BNN_ENSURE` names is there, so no test that needs it was skipped.

#[path = "common/ensure.rs"]
mod ensure;

#[test]
fn every_ensured_part_is_here() {
    for part in ensure::ensured() {
        assert!(ensure::has(part));
    }
}

#[test]
fn a_list_of_parts_is_words_between_commas() {
    assert_eq!(ensure::parse(""), Ok(vec![]));
    let all = ensure::parse("avx512, amx,,thp,");
    assert_eq!(all, Ok(vec!["avx512", "amx", "thp"]));
    let error = ensure::parse("amx,avx1024").unwrap_err();
    assert!(
        error.contains("valgrind") && error.ends_with("got avx1024"),
        "{error}"
    );
}
