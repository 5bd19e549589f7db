# Aliases: everything that matters is a script or a cargo command of its own.

# All tests, as CI runs them.
test:
    tests/run

# All tests but those with real mail programs.
quick:
    tests/run --quick

# Real mail programs only.
interop *ARGS:
    tests/interop/run {{ARGS}}

# Measures beside the peers.
bench *ARGS:
    cargo run --release -p mailwire-benches -- run {{ARGS}}

# Each fuzz target for so many minutes, and a table of what came of it.
fuzz MINUTES="1" *TARGETS:
    fuzz/smoke $(({{MINUTES}} * 60)) {{TARGETS}}

# The command, serving on loopback.
serve:
    cargo run --release -- serve

# The property tests with fresh seeds, so many times.
explore TIMES="10":
    for round in $(seq {{TIMES}}); do PROPTEST_RNG_SEED=$RANDOM$round cargo test -q -p proto-imap -p proto-smtp -p mailmime -p mailstore -p mailwire-tests || exit 1; done
