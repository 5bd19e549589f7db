//! Programs that would break a promise do not compile. Each file in `ui` is one such program, beside the compile
//! error that prevents it.

#[test]
fn vulnerable_programs_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("gates/ui/*.rs");
}
