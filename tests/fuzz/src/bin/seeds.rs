//! Writes the seeds into `corpus/`, beside what is there already: a file for each, named by its hash.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, bytes) in warren_fuzz::seeds::all() {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        let name = blake3::hash(&bytes).to_hex();
        fs::write(folder.join(&name[..16]), bytes)?;
    }
    Ok(())
}
