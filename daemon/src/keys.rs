//! Secret keys in files of their own, mode 0600: `warren-mesh-key 1 HEX`. Secrets are wiped from memory and never
//! printed; the configuration never holds one.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use warren_mesh::identity::MeshIdentity;
use warren_mesh::service::{ServiceKey, ServiceSigner};
use zeroize::Zeroizing;

use crate::error::DaemonError;
use crate::store;

const MESH: &str = "mesh-key";
const SERVICE: &str = "service-key";
const DIRECTORY: &str = "keys";
const GENERATION: &str = "generation";

/// A secret of 32 bytes.
pub type Secret = Zeroizing<[u8; 32]>;

/// Where a state directory keeps its keys.
pub fn directory(state: &Path) -> PathBuf {
    state.join(DIRECTORY)
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, DaemonError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes)
        .map_err(|error| DaemonError::system("random bytes", std::io::Error::other(error)))?;
    Ok(bytes)
}

/// The secret in the bytes of a key file.
pub fn parse(kind: &str, bytes: &[u8]) -> Option<Secret> {
    let value = store::parse_line(kind, bytes)?;
    let mut secret = Zeroizing::new([0; 32]);
    (value.len() == 64).then_some(())?;
    HEXLOWER.decode_mut(value.as_bytes(), &mut *secret).ok()?;
    Some(secret)
}

/// An error if others can read a file.
pub fn closed_to_others(path: &Path) -> Result<(), DaemonError> {
    let mode = std::fs::metadata(path)
        .map_err(|error| DaemonError::file("read", path, error))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(DaemonError::KeyIsOpen(path.to_path_buf()))
    }
}

/// The bytes of a small file with a secret that others cannot read.
pub fn secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, DaemonError> {
    let bytes = store::read(path, store::FILE_MAX)?.ok_or_else(|| DaemonError::missing(path))?;
    let bytes = Zeroizing::new(bytes);
    closed_to_others(path)?;
    Ok(bytes)
}

fn load_or_create(path: &Path, kind: &str) -> Result<(Secret, bool), DaemonError> {
    if let Some(bytes) = store::read(path, store::FILE_MAX)? {
        let bytes = Zeroizing::new(bytes);
        closed_to_others(path)?;
        let secret = parse(kind, &bytes).ok_or_else(|| DaemonError::Format {
            path: path.to_path_buf(),
            expected: "a key file of this version",
        })?;
        return Ok((secret, false));
    }
    if let Some(parent) = path.parent() {
        store::make_dir(parent)?;
    }
    let secret = random::<32>()?;
    let hex = Zeroizing::new(HEXLOWER.encode(&*secret));
    let line = Zeroizing::new(store::line(kind, &hex));
    store::create(path, line.as_bytes())?;
    Ok((secret, true))
}

/// Where the node's mesh key is.
pub fn mesh_file(state: &Path) -> PathBuf {
    directory(state).join("mesh.key")
}

/// Whether this is the text of a mesh key's file.
pub fn is_mesh_key(text: &str) -> bool {
    parse(MESH, text.as_bytes()).is_some()
}

/// The node's mesh key, made on a box that never ran; whether it is new.
pub fn mesh(state: &Path) -> Result<(MeshIdentity, bool), DaemonError> {
    let file = mesh_file(state);
    // What a box has after its first start, and not before: spaces may have been imported earlier.
    for made in [GENERATION, "home", "relay"] {
        not_lost(&file, &state.join(made))?;
    }
    let (secret, new) = load_or_create(&file, MESH)?;
    Ok((MeshIdentity::from_seed(&secret), new))
}

/// Where the service key of a space of the configuration file is.
pub fn service_file(state: &Path, space: &str) -> PathBuf {
    directory(state).join(format!("space-{space}.key"))
}

/// An error if a key's file is gone, and what is made after it is there: another key would be another address.
fn not_lost(file: &Path, data: &Path) -> Result<(), DaemonError> {
    if !file.exists() && data.exists() {
        return Err(DaemonError::KeyMissing {
            path: file.to_path_buf(),
            data: data.to_path_buf(),
        });
    }
    Ok(())
}

/// The service key of what is in a directory; made where there is no such directory yet.
pub fn service_of(directory: &Path, file: &Path) -> Result<ServiceSigner, DaemonError> {
    not_lost(file, directory)?;
    service(file)
}

/// The service key in a file, made if there is none: for what is put together.
pub fn service(file: &Path) -> Result<ServiceSigner, DaemonError> {
    let (secret, _) = load_or_create(file, SERVICE)?;
    Ok(ServiceSigner::master(&secret))
}

/// Puts a new service key in the place of the one in a file: the service gets another name.
pub fn replace_service(file: &Path) -> Result<(), DaemonError> {
    let secret = random::<32>()?;
    let hex = Zeroizing::new(HEXLOWER.encode(&*secret));
    let line = Zeroizing::new(store::line(SERVICE, &hex));
    store::replace(file, line.as_bytes())
}

/// The service whose key the text of a key file holds; `None` if it is none of this version.
pub fn service_in(text: &str) -> Option<ServiceKey> {
    let secret = parse(SERVICE, text.as_bytes())?;
    Some(ServiceSigner::master(&secret).service())
}

/// Takes the next generation number and writes it to disk before anybody hears of it.
pub fn next_generation(state: &Path) -> Result<u32, DaemonError> {
    let path = state.join(GENERATION);
    let last = store::read_number(&path, GENERATION)?.unwrap_or(0);
    // No node lives that long: the file was damaged. Neighbours tell a node that has lost it.
    let next = u32::try_from(last.saturating_add(1))
        .ok()
        .filter(|next| *next < u32::MAX)
        .ok_or_else(|| DaemonError::Format {
            path: path.clone(),
            expected: "a number below 4294967294 (delete the file: neighbours know the last one)",
        })?;
    save_generation(state, next)?;
    Ok(next)
}

/// Writes a generation number to disk; never lowers it.
pub fn save_generation(state: &Path, generation: u32) -> Result<(), DaemonError> {
    let path = state.join(GENERATION);
    let last = store::read_number(&path, GENERATION)?.unwrap_or(0);
    store::write_number(&path, GENERATION, last.max(u64::from(generation)))
}

/// The key made of a mesh passphrase: only nodes that know it become neighbours.
pub fn psk(file: &Path) -> Result<Secret, DaemonError> {
    const ITERATIONS: u32 = 100_000;
    const CONTEXT: &[u8] = b"warren mesh passphrase v1";
    let bytes = store::read(file, store::FILE_MAX)?.ok_or_else(|| DaemonError::missing(file))?;
    let bytes = Zeroizing::new(bytes);
    closed_to_others(file)?;
    let text = bytes.trim_ascii();
    if text.len() < 8 {
        return Err(DaemonError::Format {
            path: file.to_path_buf(),
            expected: "a passphrase of eight characters or more",
        });
    }
    // Stretched, because everybody in reach can collect handshakes and guess: a quarter of a second on a router.
    let mut key = Zeroizing::new(
        *blake3::Hasher::new()
            .update(CONTEXT)
            .update(text)
            .finalize()
            .as_bytes(),
    );
    for _ in 0..ITERATIONS {
        *key = *blake3::keyed_hash(&key, text).as_bytes();
    }
    Ok(key)
}
