//! The fuzzer: libFuzzer over the target that `WARREN_FUZZ_TARGET` names. scripts/fuzz builds it with the counters that
//! libFuzzer follows and runs it.

#![no_main]

use std::sync::OnceLock;

use warren_fuzz::{TARGETS, Target, find};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fn chosen() -> &'static Target {
    CHOSEN.get_or_init(|| {
        let name = std::env::var("WARREN_FUZZ_TARGET").unwrap_or_default();
        find(&name).unwrap_or_else(|| {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("WARREN_FUZZ_TARGET has to be one of {}", names.join(", "));
            std::process::exit(2)
        })
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (chosen().run)(bytes));
