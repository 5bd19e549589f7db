//! Programs that would break a promise do not compile. Each file in `ui` tries one, and the error that stops it
//! stands beside it.

#[test]
fn what_would_be_a_vulnerability_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("gates/ui/*.rs");
}
