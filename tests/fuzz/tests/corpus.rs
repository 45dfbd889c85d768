//! Every kept input, through its target: what was found once is not found again. Needs no fuzzer.

use std::fs;
use std::path::Path;

use warren_fuzz::{TARGETS, seeds};

#[test]
fn nothing_in_the_corpus_fails() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let folder = corpus.join(target.name);
        let files =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", target.name));
        let mut count = 0;
        for file in files {
            let path = file.unwrap().path();
            eprintln!("{}", path.display());
            (target.run)(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} has no corpus", target.name);
    }
}

#[test]
fn every_seed_is_for_a_target_and_every_target_has_one() {
    let seeds = seeds::all();
    for target in TARGETS {
        assert!(
            seeds.iter().any(|(name, _)| *name == target.name),
            "{}",
            target.name
        );
    }
    for (name, bytes) in seeds {
        let target = warren_fuzz::find(name).unwrap();
        (target.run)(&bytes);
    }
}
