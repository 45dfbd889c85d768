//! `warrend`: see `warrend --help`. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(warrend::cli::main(std::env::args_os().skip(1)))
}
